use std::sync::Arc;

use autobench_core::deflate::Pass;
use autobench_core::driver::{LogLevel, Sample};
use autobench_core::outbox::View;
use autobench_core::state::Store;
use autobench_core::wire::{Alarm, AppState, CommandStatus, OneOrMany, SeriesKind};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;
use tracing_subscriber::layer::SubscriberExt;

use super::super::channels::PIECE_BYTES;
use super::super::metrics::Tally;
use super::super::{EndpointInfo, Hub, HubConfig};
use super::*;
use crate::config::LogConfig;
use crate::logs::{LogHandle, LogLayer, LogRecord};
use crate::state::{StateConfig, StateHandle};

/// What happens under a lock that somebody holds may take this long; nothing here takes a hundredth of it.
const PATIENCE: Duration = Duration::from_secs(5);

struct Bench {
    runtime: Runtime,
    state: StateHandle,
    logs: LogHandle,
    hub: Hub,
}

fn bench() -> Bench {
    bench_with_log(10)
}

fn bench_with_log(capacity: usize) -> Bench {
    bench_with(capacity, HubConfig::default())
}

fn bench_with(log_capacity: usize, hub: HubConfig) -> Bench {
    bench_of(log_capacity, hub, Duration::from_millis(10))
}

fn bench_of(log_capacity: usize, hub: HubConfig, broadcast_interval: Duration) -> Bench {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let inside = runtime.enter();
    let config = StateConfig {
        counters_interval: Duration::from_millis(1),
        broadcast_interval,
        ..StateConfig::new("00112233aabbccdd")
    };
    let state = StateHandle::start(Store::new(&AppState::default()).unwrap(), config);
    let logs = LogHandle::new(LogConfig::silent(log_capacity));
    let hub = Hub::start(hub, state.clone(), logs.clone());
    drop(inside);
    Bench {
        runtime,
        state,
        logs,
        hub,
    }
}

#[test]
fn the_counters_run_while_somebody_holds_the_list_of_clients() {
    let bench = bench();
    let mut changes = bench.state.changes();
    let held = bench.hub.shared.clients.lock();
    let _watching = bench.state.watch();
    bench
        .logs
        .append(LogRecord::new("app", LogLevel::Info, "something to count"));
    let counted = bench
        .runtime
        .block_on(async { tokio::time::timeout(PATIENCE, changes.changed()).await });
    drop(held);
    assert!(
        counted.is_ok(),
        "the counters, which hold the store, wait for the list of clients"
    );
}

#[test]
fn what_its_own_writer_began_is_not_cut_into_by_the_loop() {
    let bench = bench();
    let (stream, accepted) = bench.runtime.block_on(connected());
    let small = "small buffers";
    socket2::SockRef::from(&stream)
        .set_send_buffer_size(4096)
        .expect(small);
    socket2::SockRef::from(&accepted.0)
        .set_recv_buffer_size(4096)
        .expect(small);
    let client = client_of(&bench, stream);
    let channels = &bench.hub.shared.channels;
    let inside = bench.runtime.enter();
    let begin = Instant::now();
    while client.pump(channels).unwrap() != Pumped::CaughtUp {
        assert!(begin.elapsed() < PATIENCE, "it takes its snapshot");
        std::thread::yield_now();
    }
    assert!(!client.out.lock().has_own_writer);
    // More than the system's buffers hold, before the loop comes by: the client is not in its list.
    for n in 10..50_u64 {
        let text = n.to_string().repeat(50_000);
        bench.state.replace_slice("filler", text.into()).unwrap();
        bench.state.snapshot();
    }
    while client.pump(channels).unwrap() != Pumped::Blocked {
        assert!(begin.elapsed() < PATIENCE, "nobody reads");
    }
    drop(inside);
    let out = client.out.lock();
    assert!(
        out.has_own_writer,
        "the loop would write into the middle of a frame"
    );
}

async fn connected() -> (TcpStream, (TcpStream, SocketAddr)) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (stream, listener.accept().await.unwrap())
}

fn client_of(bench: &Bench, stream: TcpStream) -> Arc<Client> {
    let peer = stream.peer_addr().unwrap();
    let welcome = bench.hub.shared.welcome(1, false, false);
    let opening = Opening {
        resumed: None,
        history_entries: 0,
        begins_with: Vec::new(),
        says_connected: false,
    };
    Arc::new(Client::new(
        1,
        peer,
        stream,
        &welcome,
        Some(Actor::local()),
        opening,
        &bench.hub.shared.channels,
    ))
}

#[test]
fn closing_holds_no_list_while_it_waits_for_a_client() {
    let bench = bench();
    let (stream, _accepted) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    bench
        .hub
        .shared
        .change_clients(|clients| clients.push(Arc::clone(&client)));
    assert_eq!(bench.hub.clients(), 1);

    let held = client.out.lock();
    let hub = bench.hub.clone();
    let closing = bench.runtime.spawn(async move { hub.close(PATIENCE).await });
    // Closing clones the list once; from then on it waits for `held` alone.
    let begin = Instant::now();
    while Arc::strong_count(&bench.hub.shared.clients.try_lock_for(PATIENCE).unwrap()) < 2 {
        assert!(begin.elapsed() < PATIENCE, "closing has not begun");
        std::thread::yield_now();
    }
    assert!(bench.hub.shared.clients.try_lock_for(PATIENCE).is_some());
    drop(held);
    bench.runtime.block_on(closing).unwrap();
}

#[test]
fn a_hub_that_nobody_holds_any_more_says_goodbye_and_ends() {
    let Bench { runtime, hub, .. } = bench();
    let (stream, accepted) = runtime.block_on(connected());
    let shared = Arc::downgrade(&hub.shared);
    let inside = runtime.enter();
    let seat = hub.take_seat().unwrap();
    hub.clone().adopt(super::super::Arrival {
        stream,
        peer: accepted.1,
        early: Bytes::new(),
        seat,
        actor: Some(Actor::local()),
        resume: None,
        begins_with: Vec::new(),
        speaks_ours: true,
    });
    drop(inside);
    assert_eq!(hub.clients(), 1);
    drop(hub);
    let begin = Instant::now();
    while shared.strong_count() > 0 {
        assert!(
            begin.elapsed() < 4 * PATIENCE,
            "{} hold it",
            shared.strong_count()
        );
        std::thread::yield_now();
    }
    let bytes = runtime.block_on(read_all(accepted.0));
    let goodbye = frame::close(CloseCode::GoingAway, "the daemon is stopping");
    assert!(bytes.ends_with(&goodbye), "the client was told");
}

async fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("it ends");
    bytes
}

/// A client that reads nothing, with small buffers on both sides.
fn slow_client(bench: &Bench) -> (Arc<Client>, TcpStream) {
    let (stream, accepted) = bench.runtime.block_on(connected());
    let small = "small buffers";
    socket2::SockRef::from(&stream)
        .set_send_buffer_size(4096)
        .expect(small);
    socket2::SockRef::from(&accepted.0)
        .set_recv_buffer_size(4096)
        .expect(small);
    (client_of(bench, stream), accepted.0)
}

fn pump_until(bench: &Bench, client: &Client, wanted: Pumped) {
    let _inside = bench.runtime.enter();
    let begin = Instant::now();
    while client.pump(&bench.hub.shared.channels).unwrap() != wanted {
        assert!(begin.elapsed() < PATIENCE, "it does not come to {wanted:?}");
        std::thread::yield_now();
    }
}

#[test]
fn whoever_takes_nothing_of_a_replay_or_a_history_holds_one_piece_of_it() {
    let bench = bench_with_log(10_000);
    for n in 0..10_000 {
        let text = format!("{n} {}", "x".repeat(300));
        bench.logs.append(LogRecord::new("app", LogLevel::Info, text));
    }
    let (client, _unread) = slow_client(&bench);
    pump_until(&bench, &client, Pumped::CaughtUp);
    client.push(Item::Logs(LogStart::After(0))).unwrap();
    pump_until(&bench, &client, Pumped::Blocked);
    // Nothing, where it goes on in what everybody shares.
    let held = client.out.lock().rest.len();
    assert!(held <= PIECE_BYTES + 1024, "{held} bytes of a replay of 3 MiB");

    let (client, _unread) = slow_client(&bench);
    pump_until(&bench, &client, Pumped::CaughtUp);
    bench.hub.register_endpoint(EndpointInfo {
        id: 1,
        name: "meter.watts".to_owned(),
        unit: "W".to_owned(),
        kind: SeriesKind::Measurement,
    });
    let samples: Vec<Sample> = (0..60_000)
        .map(|n| Sample {
            timestamp_ms: 1e12 + f64::from(n),
            value: f64::from(n),
        })
        .collect();
    bench.hub.push_samples(1, &samples);
    client
        .want(Channel::Series(1), &bench.hub.shared.channels)
        .unwrap();
    pump_until(&bench, &client, Pumped::Blocked);
    let held = client.out.lock().rest.len();
    assert!(held <= PIECE_BYTES + 1024, "{held} bytes of a history of 1.5 MiB");
}

#[test]
fn nobody_waits_for_a_client_while_a_large_answer_is_made_for_it() {
    let bench = bench();
    let (stream, _accepted) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    pump_until(&bench, &client, Pumped::CaughtUp);
    let end = bench.state.end();
    bench.state.replace_slice("filler", 1.into()).unwrap();
    let begin = Instant::now();
    while bench.state.end() == end {
        assert!(
            begin.elapsed() < PATIENCE,
            "what was shared is dropped by a flush"
        );
        std::thread::yield_now();
    }
    client.push(Item::Snapshot).unwrap();
    // The snapshot is made under the store's lock, which is held here until everybody was there.
    std::thread::scope(|scope| {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (hold, held) = std::sync::mpsc::channel();
        let state = &bench.state;
        scope.spawn(move || {
            state.update(|_| {
                hold.send(()).unwrap();
                // It ends at the latest when this test does.
                let _ = released.recv();
            });
        });
        held.recv().unwrap();
        let making = scope.spawn(|| {
            let _inside = bench.runtime.enter();
            client.pump(&bench.hub.shared.channels).unwrap()
        });
        let begin = Instant::now();
        // It has taken the item, and cannot be done with it.
        loop {
            let out = client.out.try_lock_for(PATIENCE);
            if out.expect("the client's lock is free").personal.is_empty() {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "it takes the item");
            std::thread::yield_now();
        }
        let stage = Stage {
            at: At::Segment(0),
            frame: frame::text(b"{}"),
        };
        client.tell_stage("a", stage);
        let view = View::new();
        client.write_shared(&view, &mut None, &mut Pass::default(), &mut Tally::default());
        assert!(!making.is_finished());
        drop(release);
    });
}

#[test]
fn what_comes_while_a_client_reads_the_log_by_itself_goes_out_with_it() {
    let bench = bench();
    let (stream, _accepted) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    pump_until(&bench, &client, Pumped::CaughtUp);
    let errors = LogFilter {
        text: Some(OneOrMany(vec!["short circuit".to_owned()])),
        ..LogFilter::default()
    };
    client.filter_logs(errors).unwrap();
    pump_until(&bench, &client, Pumped::CaughtUp);
    let held = bench.logs.hold();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let _inside = bench.runtime.enter();
            client.pump(&bench.hub.shared.channels).unwrap()
        });
        let begin = Instant::now();
        // It has seen that no channel has news, and waits for the log.
        while !client.out.lock().has_own_writer {
            assert!(begin.elapsed() < PATIENCE, "it begins");
            std::thread::yield_now();
        }
        bench.state.replace_slice("filler", 1.into()).unwrap();
        bench.state.snapshot();
        let view = View::new();
        client.write_shared(&view, &mut None, &mut Pass::default(), &mut Tally::default());
        drop(held);
        assert_eq!(reading.join().unwrap(), Pumped::CaughtUp);
    });
    let out = client.out.lock();
    let told = out.positions.get(Channel::State).unwrap().covered;
    assert_eq!(
        told,
        bench.state.version(),
        "the loop leaves it to the client's own writer"
    );
}

#[test]
fn each_stage_is_told_once_while_a_client_begins_and_ends_to_follow_all() {
    let bench = bench();
    let (stream, accepted) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    let channels = &bench.hub.shared.channels;
    const STAGES: u64 = 2_000;
    assert!(bench.hub.shared.following.follow(&client, "7f3a0000-1"));
    std::thread::scope(|scope| {
        let telling = scope.spawn(|| (0..STAGES).for_each(|n| bench.hub.publish_command(&stage(n))));
        let _inside = bench.runtime.enter();
        let mut wants_all = false;
        while !telling.is_finished() {
            if wants_all {
                bench.hub.shared.end(&client, Channel::Commands);
            } else {
                bench.hub.shared.begin(&client, Channel::Commands).unwrap();
            }
            wants_all = !wants_all;
            let _ = client.pump(channels).unwrap();
        }
    });
    pump_until(&bench, &client, Pumped::CaughtUp);
    client.close(CloseCode::Normal, "");
    pump_until(&bench, &client, Pumped::Closed(CloseCode::Normal));
    bench.hub.shared.following.leave_all(&client);
    drop(client);
    let text = String::from_utf8_lossy(&bench.runtime.block_on(read_all(accepted.0))).into_owned();
    let told: Vec<u64> = text
        .split("\"actor\":\"n")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect();
    assert!(told.is_sorted_by(|a, b| a < b), "each once, and in order");
    assert_eq!(
        told.last(),
        Some(&(STAGES - 1)),
        "how it ended is told in any case"
    );
}

/// A stage whose actor is its number.
fn stage(n: u64) -> CommandStatus {
    let json = serde_json::json!({
        "commandId": "7f3a0000-1", "device": "relay", "name": "on", "actor": format!("n{n}"),
        "status": "acked", "queuedAt": "2026-01-01T00:00:00.000Z", "deadlineAt": "2026-01-01T00:00:30.000Z",
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn while_a_client_is_held_the_loop_leaves_it_alone_and_its_answer_comes_before_the_first_stage() {
    let bench = bench();
    let (stream, accepted) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    let channels = &bench.hub.shared.channels;
    client.want(Channel::Commands, channels).unwrap();
    pump_until(&bench, &client, Pumped::CaughtUp);
    client.hold();
    bench.hub.publish_command(&stage(0));
    let positions = client.out.lock().positions.clone();
    let view = channels.view_for(&positions, usize::MAX);
    let mut tally = Tally::default();
    client.write_shared(&view, &mut None, &mut Pass::default(), &mut tally);
    assert_eq!(tally.writes, 0);
    client
        .say(&ServerMessage::Pong(autobench_core::wire::Pong {
            ts: 1,
            id: None,
        }))
        .unwrap();
    pump_until(&bench, &client, Pumped::CaughtUp);
    drop(client);
    let text = String::from_utf8_lossy(&bench.runtime.block_on(read_all(accepted.0))).into_owned();
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(place("\"pong\"") < place("\"command_status\""));
}

#[test]
fn clients_that_fall_behind_all_the_time_are_told_of_in_a_few_lines() {
    let config = HubConfig {
        ring_bytes: 1024,
        ..HubConfig::default()
    };
    let bench = bench_with(10_000, config);
    let (stream, _unread) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    client.want(Channel::Alarms, &bench.hub.shared.channels).unwrap();
    pump_until(&bench, &client, Pumped::CaughtUp);
    let alarm: Alarm = serde_json::from_value(serde_json::json!({
        "alarmId": 1, "severity": "warning", "message": "too warm", "timestamp": "2026-01-01T00:00:00.000Z", "state": "raised",
    }))
    .unwrap();
    let lines = tracing_subscriber::registry().with(LogLayer::new(bench.logs.clone()));
    tracing::subscriber::with_default(lines, || {
        for _ in 0..500 {
            for _ in 0..20 {
                bench.hub.publish_alarm(alarm.clone());
            }
            pump_until(&bench, &client, Pumped::CaughtUp);
        }
    });
    assert!(bench.hub.metrics().missed.get() >= 500);
    let said = bench.logs.encoded_since(0, usize::MAX).entries;
    let told = said
        .iter()
        .filter(|entry| entry.message().contains("fell behind"));
    let told = told.count();
    assert!((1..=50).contains(&told), "{told} lines");
}

#[test]
fn a_snapshot_that_waits_for_a_flush_comes_with_it_and_what_was_asked_for_later_behind_it() {
    let bench = bench();
    let (stream, accepted) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    let channels = &bench.hub.shared.channels;
    pump_until(&bench, &client, Pumped::CaughtUp);
    // Two changes of which one is out: the next flush is some milliseconds away, unless this thread sleeps so long. Then it tries again.
    let begin = Instant::now();
    let end = loop {
        assert!(begin.elapsed() < PATIENCE, "a client waits for a flush");
        for _ in 0..2 {
            let n = begin.elapsed().as_nanos() as u64;
            bench.state.replace_slice("filler", n.into()).unwrap();
        }
        let end = bench.state.end();
        client.push(Item::Snapshot).unwrap();
        let _inside = bench.runtime.enter();
        if client.pump(channels).unwrap() == Pumped::AwaitsFlush {
            break end;
        }
    };
    let pong = ServerMessage::Pong(autobench_core::wire::Pong { ts: 1, id: None });
    client.say(&pong).unwrap();
    pump_until(&bench, &client, Pumped::CaughtUp);
    assert!(bench.state.end() > end, "it has waited");
    drop(client);
    let text = String::from_utf8_lossy(&bench.runtime.block_on(read_all(accepted.0))).into_owned();
    let last = |what: &str| text.rfind(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(last("\"state.snapshot\"") < last("\"pong\""));
}

#[test]
fn where_flushes_are_far_apart_a_snapshot_does_not_wait_for_one() {
    let bench = bench_of(10, HubConfig::default(), Duration::from_secs(3600));
    let (stream, _accepted) = bench.runtime.block_on(connected());
    let client = client_of(&bench, stream);
    pump_until(&bench, &client, Pumped::CaughtUp);
    let end = bench.state.end();
    bench.state.replace_slice("filler", 1.into()).unwrap();
    let begin = Instant::now();
    while bench.state.end() == end {
        assert!(begin.elapsed() < PATIENCE, "the first change goes out at once");
        std::thread::yield_now();
    }
    // This one would go out in an hour, and with it everything that this client is owed.
    bench.state.replace_slice("filler", 2.into()).unwrap();
    client.push(Item::Snapshot).unwrap();
    pump_until(&bench, &client, Pumped::CaughtUp);
}

#[test]
fn whoever_reads_a_little_is_not_given_up_before_the_system_takes_more() {
    let bench = bench();
    let (client, mut peer) = slow_client(&bench);
    pump_until(&bench, &client, Pumped::CaughtUp);
    let text = "x".repeat(200_000);
    bench.state.replace_slice("filler", text.into()).unwrap();
    client.push(Item::Snapshot).unwrap();
    pump_until(&bench, &client, Pumped::Blocked);
    let timeout = Duration::from_secs(10);
    let patience = Patience {
        heartbeat_interval: Duration::MAX,
        heartbeat_timeout: Duration::MAX,
        stall_timeout: timeout,
        close_timeout: timeout,
        auth_timeout: timeout,
    };
    let tend = |now| client.tend(now, patience, &Guard::open());
    let begin = Instant::now();
    tend(begin);
    let held = unacknowledged_bytes(&client.stream);
    let mut some = [0; 1024];
    while unacknowledged_bytes(&client.stream) >= held {
        assert!(begin.elapsed() < PATIENCE, "the peer's system says what was read");
        let read = bench
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, peer.read(&mut some)).await });
        assert!(read.expect("there is something").unwrap() > 0);
    }
    // Nothing was written meanwhile: all that is known of the reader is what its system acknowledged.
    let later = begin + timeout + timeout / 2;
    tend(later);
    assert_eq!(client.out.lock().phase, Phase::Open, "it reads, slowly");
    tend(later + timeout / 2);
    assert_eq!(client.out.lock().phase, Phase::Open, "half of its time is over");
    tend(later + timeout);
    let phase = client.out.lock().phase;
    assert_eq!(phase, Phase::Aborted(CloseCode::Stalled), "it takes nothing more");
}
