//! The driver on the native bench, against lines of the board: every chunking gives the same slice, the identification goes as the README says,
//! and nothing that is refused writes a byte.

#![expect(clippy::expect_used, clippy::panic, reason = "test helpers")]

mod asking;
mod chunks;
mod holds;
mod identification;
mod presses;
mod refusals;
mod soft_off;

use atx::Atx;
use autobench_sdk::bench::Bench;

const IDENTIFY: &[u8] = b"identify\n";
const IDENTIFIED: &[u8] = b"identify_complete\n";
const COMPLETE: &[u8] =
    b"debug: front panel identification complete, sending client power state\r\nPOWER_LED_OFF\r\nHDD_ACTIVE_OFF\r\n";
const COMPLETE_ON: &[u8] =
    b"debug: front panel identification complete, sending client power state\r\nPOWER_LED_ON\r\nHDD_ACTIVE_OFF\r\n";
const HELD: &[u8] = b"debug: front panel power button held\r\n";
const RELEASED: &[u8] = b"debug: front panel power button released\r\n";

fn bench() -> Bench<Atx> {
    Bench::start().expect("the driver starts")
}

/// A board that obeys, on a PC that is off.
fn ready() -> Bench<Atx> {
    let mut bench = bench();
    bench.feed("main", b"FP\r\n");
    bench.feed("main", COMPLETE);
    bench.settle();
    bench.written("main");
    assert_eq!(bench.slice()["phase"], "ready");
    bench
}

/// The same on a PC that is on.
fn running() -> Bench<Atx> {
    let mut bench = ready();
    bench.feed("main", b"POWER_LED_ON\r\n");
    bench.settle();
    assert_eq!(bench.slice()["powerSense"], "on");
    bench
}
