//! Every chunking gives the same slice, whatever comes between the chunks, and no garbage stops the driver.

use atx::Atx;
use autobench_sdk::bench::{Bench, Interruption, Transcript};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::{IDENTIFIED, IDENTIFY, bench, ready};

/// Old news, the identification, telemetry by all its names, noise, and a board that lets go by itself.
const TRANSCRIPT: Transcript<'_> = Transcript::new(
    "main",
    b"HDD_ACTIVE_ON\r\nPOWER_LED_ON\r\ndebug: POWER_HOLD auto-released (timeout)\r\nXFP\r\nFP\r\n\
    debug: front panel identification complete, sending client power state\r\nPOWER_LED_OFF\r\nHDD_ACTIVE_OFF\r\n\
    POWER_LED_ON\r\nHDD_ACTIVE_ON\r\nHDD:0\r\nPWR=0\r\n\r\nFP\r\n\
    ~~~\xff\x00~~~\r\ndebug: anything else\r\nPOWER_SENSE_ON\nHDD=1\n\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789POWER_LED_OFF\r\n\
    debug: RESET_HOLD auto-released (timeout)\r\nPOWER_LED",
);
const LINES: u64 = 19;
const UNKNOWN_LINES: u64 = 3;

fn check_transcript(bench: &mut Bench<Atx>) {
    bench.settle();
    let slice = bench.slice();
    assert_eq!(
        (&slice["phase"], &slice["identified"], &slice["powerSense"]),
        (&json!("ready"), &json!(true), &json!("on"))
    );
    assert_eq!(
        (&slice["hddActive"], &slice["powerButtonHeld"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        slice["stats"],
        json!({ "lines": LINES, "unknownLines": UNKNOWN_LINES, "autoReleases": 2 })
    );
    let written = bench.written("main");
    assert_eq!(written, [IDENTIFY, IDENTIFIED].concat());
}

#[test]
fn every_split_in_two_gives_the_same_slice() {
    TRANSCRIPT.split_everywhere(bench, check_transcript);
}

#[test]
fn byte_by_byte_gives_the_same_slice() {
    TRANSCRIPT.byte_by_byte(bench, check_transcript);
}

#[test]
fn a_swap_at_every_byte_gives_the_same_slice() {
    TRANSCRIPT.swapped_everywhere(bench, check_transcript);
}

#[test]
fn a_swap_after_each_byte_gives_the_same_slice() {
    TRANSCRIPT.swapped_after_each_byte(bench, check_transcript);
}

fn cases() -> ProptestConfig {
    let long = std::env::var_os("AUTOBENCH_LONG").is_some();
    ProptestConfig::with_cases(if long { 20_000 } else { 200 })
}

proptest! {
    #![proptest_config(cases())]

    /// Chunks, pauses, checkpoints, swaps and restarts from an old checkpoint in any order.
    #[test]
    fn nothing_between_the_bytes_changes_what_they_say(
        pieces in prop::collection::vec((1..90_usize, 0..60_u64, select(&Interruption::ALL[..])), 0..40),
    ) {
        TRANSCRIPT.interrupted(bench, pieces, check_transcript);
    }

    /// Whatever comes, the driver stands, presses nothing, and reads what comes behind it.
    #[test]
    fn garbage_never_stops_it(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bench = ready();
        bench.feed("main", &garbage);
        bench.feed("main", b"\nPOWER_LED_ON\r\n");
        bench.settle();
        prop_assert_eq!(&bench.slice()["powerSense"], "on");
        prop_assert_eq!(bench.written("main"), b"");
    }
}
