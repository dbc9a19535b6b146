use std::sync::Arc;

use autobench_core::driver::LogLevel;
use autobench_core::state::Store;
use autobench_core::wire::AppState;
use tokio::runtime::Runtime;

use super::super::{Hub, HubConfig};
use super::*;
use crate::config::{LogConfig, TerminalConfig};
use crate::logs::{LogHandle, LogRecord};
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let inside = runtime.enter();
    let config = StateConfig {
        counters_interval: Duration::from_millis(1),
        ..StateConfig::new("00112233aabbccdd")
    };
    let state = StateHandle::start(Store::new(&AppState::default()).unwrap(), config);
    let logs = LogHandle::new(LogConfig {
        capacity: 10,
        allowed_channels: Vec::new(),
        min_level: LogLevel::Debug,
        redact: None,
        heartbeat: false,
        terminal: TerminalConfig {
            level: LogLevel::Error,
            is_pretty: None,
            no_color: true,
        },
    });
    let hub = Hub::start(HubConfig::default(), state.clone(), logs.clone());
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
