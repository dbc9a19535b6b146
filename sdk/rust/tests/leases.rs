//! What a driver holds is undone on the bench as by the host: in its place among what a call writes, in its time, and whatever becomes of the
//! driver.

#![expect(clippy::expect_used, reason = "test helpers")]

use autobench_sdk::bench::Bench;
use autobench_sdk::{
    Bytes, Command, Context, Driver, LeaseEnd, LeaseError, Level, Lost, Manifest, NoSettings, PortWish,
    Refusal, Slice, Snapshot, Start, StopReason,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// What it was told, in order.
#[derive(Debug, Clone, Default, JsonSchema, Slice)]
struct Told {
    #[slice(json)]
    told: Vec<String>,
}

#[derive(Deserialize)]
struct Acquire {
    id: u32,
    port: String,
    release: String,
    ms: u32,
}

/// Does what its commands say, and takes a lease for each byte.
struct Holder;

impl Driver for Holder {
    type Settings = NoSettings;
    type Slice = Told;

    fn manifest() -> Manifest {
        Manifest::new("holder", "1.0.0", "Holds.")
            .port(PortWish::new("main", "One."))
            .port(PortWish::new("other", "Another."))
    }

    fn start(cx: &mut Context<'_, Told>, start: Start<NoSettings>) -> Result<Self, Refusal> {
        cx.set_now(|told| told.told.push(format!("start {:?}", start.leases)));
        Ok(Self)
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, Told>, bytes: Bytes) {
        for &byte in &bytes.data {
            acquire(cx, byte.into(), &bytes.port, &[byte], 1000);
        }
    }

    fn on_command(&mut self, cx: &mut Context<'_, Told>, command: Command) {
        match command.name.as_str() {
            "acquire" => {
                let arguments: Acquire = command.arguments().expect("the test has written them");
                let Acquire {
                    id,
                    port,
                    release,
                    ms,
                } = arguments;
                acquire(cx, id, &port, release.as_bytes(), ms);
            }
            "release" => cx.release_lease(command.arguments().expect("a number")),
            // `pulse`: a hold that is over as soon as it has begun, and begins anew.
            _ => {
                write(cx, b"<");
                acquire(cx, 1, "main", b"1", 1000);
                acquire(cx, 2, "main", b"2", 1000);
                cx.release_lease(1);
                write(cx, b">");
                acquire(cx, 1, "main", b"3", 1000);
            }
        }
    }

    fn on_lost(&mut self, cx: &mut Context<'_, Told>, lost: Lost) {
        cx.set_now(|told| told.told.push(format!("lost {}", lost.port)));
    }

    fn on_timer(&mut self, cx: &mut Context<'_, Told>, id: u32) {
        cx.set_now(|told| told.told.push(format!("timer {id}")));
    }

    fn on_lease_ended(&mut self, cx: &mut Context<'_, Told>, end: LeaseEnd) {
        let ms = cx.monotonic_ns() / 1_000_000 - 1000;
        cx.set_now(|told| told.told.push(format!("{} {} at {ms}", end.id, end.reason)));
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&())
    }

    fn stop(&mut self, cx: &mut Context<'_, Told>, _reason: StopReason) {
        write(cx, b"bye");
    }
}

fn acquire(cx: &mut Context<'_, Told>, id: u32, port: &str, release: &[u8], ms: u32) {
    if let Err(error) = cx.acquire_lease(id, port, release, ms) {
        let text = match error {
            LeaseError::Invalid(text) => text,
            error => format!("{error:?}"),
        };
        cx.log(Level::Warn, format_args!("{text}"));
    }
}

fn write(cx: &mut Context<'_, Told>, data: &[u8]) {
    cx.write("main", data).expect("the line takes it");
}

fn bench() -> Bench<Holder> {
    Bench::start().expect("it starts")
}

fn take(bench: &mut Bench<Holder>, id: u32, port: &str, release: &str, ms: u32) {
    let arguments = json!({ "id": id, "port": port, "release": release, "ms": ms });
    bench.command("acquire", &arguments);
}

fn open(bench: &Bench<Holder>) -> Vec<u32> {
    bench.leases().iter().map(|lease| lease.id).collect()
}

/// What it was told since its start.
fn told(bench: &Bench<Holder>) -> Vec<&str> {
    let told = bench.slice()["told"].as_array().expect("an array");
    told.iter().filter_map(|text| text.as_str()).collect()
}

fn refusals(bench: &Bench<Holder>) -> Vec<&str> {
    bench.logs().iter().map(|line| line.message.as_str()).collect()
}

#[test]
fn the_bytes_of_a_lease_that_is_given_back_go_out_in_their_place() {
    let mut bench = bench();
    bench.command("pulse", &json!({}));
    assert_eq!(bench.written("main"), b"<1>");
    assert_eq!(open(&bench), [2, 1]);
    bench.command("release", &json!(1));
    bench.command("release", &json!(1));
    assert_eq!(
        bench.written("main"),
        b"3",
        "once, and one that is not open is no error"
    );
    assert_eq!(told(&bench), ["start []"], "it has asked for that itself");
}

#[test]
fn a_lease_ends_at_its_time_which_a_new_one_moves() {
    let mut bench = bench();
    take(&mut bench, 7, "main", "a", 100);
    take(&mut bench, 8, "main", "b", 60);
    bench.advance_ms(50);
    take(&mut bench, 7, "main", "c", 100);
    bench.advance_ms(99);
    assert_eq!(bench.written("main"), b"b");
    let [lease] = bench.leases() else {
        panic!("one is open")
    };
    assert_eq!(
        (lease.id, lease.port.as_str(), lease.release.as_slice()),
        (7, "main", b"c".as_slice())
    );
    assert_eq!(lease.ends_ns, bench.now_ns() + 1_000_000);
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), b"c");
    assert_eq!(told(&bench), ["start []", "8 maximum at 60", "7 maximum at 150"]);
    assert_eq!(bench.leases(), []);
}

#[test]
fn a_lease_that_moves_to_another_port_ends_on_the_first() {
    let mut bench = bench();
    take(&mut bench, 1, "main", "m", 100);
    take(&mut bench, 1, "other", "o", 100);
    assert_eq!(bench.written("main"), b"m");
    bench.end_lease(1, "client-gone");
    assert_eq!(
        (bench.written("main"), bench.written("other")),
        (vec![], b"o".to_vec())
    );
    assert_eq!(told(&bench), ["start []", "1 client-gone at 0"]);
}

#[test]
fn what_is_out_of_range_is_refused() {
    let mut bench = Bench::<Holder>::setup()
        .detached("other")
        .start()
        .expect("it starts");
    take(&mut bench, 1, "third", "", 0);
    take(&mut bench, 1, "other", "", 1);
    take(&mut bench, 1, "main", &"x".repeat(1025), 1);
    take(&mut bench, 1, "main", "x", 0);
    take(&mut bench, 1, "main", "x", 600_001);
    take(&mut bench, 1, "other", "x", 1);
    assert_eq!(
        refusals(&bench),
        [
            "LeaseError::NotGranted",
            "1 to 1024 bytes undo a hold, not 0",
            "1 to 1024 bytes undo a hold, not 1025",
            "a lease lasts 1 to 600000 ms, not 0",
            "a lease lasts 1 to 600000 ms, not 600001",
            "LeaseError::NotAttached"
        ]
    );
    assert_eq!(bench.leases(), []);
    take(&mut bench, 1, "main", &"x".repeat(1024), 600_000);
    take(&mut bench, 2, "main", "x", 1);
    assert_eq!(open(&bench), [1, 2]);
}

#[test]
fn sixteen_leases_are_open_or_wait_for_their_line() {
    let mut bench = bench();
    let all: Vec<u8> = (0..17).collect();
    bench.feed("other", &all);
    assert_eq!(open(&bench).len(), 16, "all in one call");
    take(&mut bench, 5, "main", "x", 1000);
    assert_eq!(
        refusals(&bench),
        ["LeaseError::Full"],
        "one that is open needs no room"
    );
    assert_eq!(
        bench.written("other"),
        [5],
        "what it left there is written by nobody else"
    );
    bench.lose("other", "unplugged");
    assert_eq!(open(&bench), [5]);
    take(&mut bench, 17, "main", "x", 1000);
    assert_eq!(refusals(&bench).len(), 2, "the bytes of 15 wait, and one is open");
    bench.attach("other");
    take(&mut bench, 17, "main", "x", 1000);
    assert_eq!(open(&bench), [5, 17]);
}

#[test]
fn a_line_that_is_lost_ends_its_leases_and_gets_their_bytes_when_it_is_back() {
    let mut bench = bench();
    take(&mut bench, 1, "main", "a", 1000);
    take(&mut bench, 2, "other", "b", 1000);
    take(&mut bench, 3, "main", "c", 1000);
    bench.lose("main", "unplugged");
    assert_eq!(
        told(&bench),
        ["start []", "lost main", "1 port-lost at 0", "3 port-lost at 0"]
    );
    assert_eq!(open(&bench), [2]);
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), b"ac");
}

#[test]
fn a_swap_ends_no_lease() {
    let mut bench = bench();
    take(&mut bench, 1, "main", "a", 1000);
    bench.advance_ms(600);
    let mut bench = bench.swap().expect("it goes on");
    assert_eq!(told(&bench), ["start []", "start [1]"]);
    bench.advance_ms(399);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), b"a");
    assert_eq!(told(&bench).last(), Some(&"1 maximum at 1000"));
}

#[test]
fn a_breakdown_undoes_what_is_held_and_the_driver_is_told_of_what_it_takes_for_open() {
    let mut bench = bench();
    take(&mut bench, 65, "main", "A", 1000);
    take(&mut bench, 66, "main", "B", 1000);
    let checkpoint = bench.checkpoint();
    bench.command("release", &json!(66));
    bench.feed("main", b"C");
    take(&mut bench, 1, "main", "d", 1000);
    assert_eq!(bench.written("main"), b"B");
    let mut bench = bench.restart(Some(&checkpoint)).expect("it starts again");
    assert_eq!(bench.written("main"), b"ACd");
    assert_eq!(bench.leases(), []);
    // It has heard of the byte once more, and of the commands it has not.
    let ends = [
        "65 driver-failed at 0",
        "66 driver-failed at 0",
        "67 driver-failed at 0",
    ];
    assert_eq!(told(&bench)[1..], [["start [65, 66]"].as_slice(), &ends].concat());

    take(&mut bench, 1, "main", "e", 1000);
    let mut bench = bench.restart(None).expect("it starts again");
    assert_eq!(bench.written("main"), b"e");
    assert_eq!(told(&bench), ["start []"]);
}

#[test]
fn a_stop_undoes_what_is_held_behind_the_last_words() {
    let mut bench = bench();
    take(&mut bench, 1, "main", "a", 1000);
    assert_eq!(bench.stop(StopReason::Removed, "main"), b"byea");
}
