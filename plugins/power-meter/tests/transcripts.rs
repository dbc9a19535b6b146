//! The driver on the native bench, fed with recorded transcripts: every chunking gives the same samples, every swap gives each sample once,
//! and the conversation with the meter goes as the README says.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "test helpers")]

use autobench_sdk::bench::{Bench, Interruption, Transcript};
use autobench_sdk::{Level, Refusal, Sample, StopReason};
use power_meter::PowerMeter;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

const IDENTIFY: &[u8] = b"\x18#V,R,0;";
const ASK: &[u8] = b"#L,W,3,E,_,1;";
const ASK_AGAIN: &[u8] = b"#L,W,3,E,0,1;";
const VERSION: &[u8] = b"#v,-,8,1,65206,5,2,3,14,200612211910,0;\r\n";
const ROW: &[u8] = b"#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n";

/// Real records with everything that meters and lines were seen to do to them.
const TRANSCRIPT: Transcript<'_> = Transcript::new(
    "main",
    b"EED05F01 $Revision: 4.41 $ 200612212301 60Hz 120V\r\n\
    #d,-,18,0,1203,0,79,0,34,2,0,1203,0,0,1200,0,100,0,0,600,0;\r\n\
    #d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n\
    \0\0#d,-,18,97\x002,2277,433,5,0,70035,5602,973,2280,435,972,2274,432,95,0,0,500,1020\0;\0\r\n\
    #d,-,18,124,1191,97,0,_,_,_,124,_,_,_,_,_,100,_,_,_,_;#d,-,18,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n\
    -,18,611,1186,546,46,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n\
    ,-,18,612,1186,547,47,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n\
    d,-,18,613,1186,548,48,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n\
    #d,-,18,614,1186,54#d,-,18,615,1186,549,49,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n\
    4,1186,549,50,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n\
    #s,-,3,_,1,1;\r\n~~\xff,,;;#;#x;\r\n\
    #d,-,16,616,1186,550,51,_,_,_,610,_,_,_,_,_,93,_,_;\r\n\
    #d,-,18,99999,1186,550,51,_,_,_,610,_,_,_,_,_,93,_,_,_,_;\r\n\
    #c,-,18,1,1,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0;\r\n\
    #d,-,18,617,1186,551,52,0,0,0,617,1186,551,0,1186,0,94,0,0,500,654;\r\n",
);

const WATTS: [f64; 11] = [0.0, 96.5, 97.2, 12.4, 61.0, 61.1, 61.2, 61.3, 61.5, 61.6, 61.7];
const BAD_ROWS: u64 = 3;

fn values(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.value).collect()
}

fn bench() -> Bench<PowerMeter> {
    Bench::start().expect("the driver starts")
}

fn streaming() -> Bench<PowerMeter> {
    let mut bench = bench();
    bench.feed("main", VERSION);
    bench.feed("main", ROW);
    bench.settle();
    bench.written("main");
    assert_eq!(bench.slice()["phase"], "streaming");
    bench
}

/// What the transcript has to come to, however it was fed.
fn check_transcript(bench: &mut Bench<PowerMeter>) {
    bench.settle();
    assert_eq!(values(bench.samples("watts")), WATTS);
    assert_eq!(values(bench.samples("energy")).len(), WATTS.len());
    assert_eq!(values(bench.samples("frequency")), [60.0, 50.0, 50.0, 50.0]);
    assert_eq!(values(bench.samples("apparentPower")), [0.0, 96.5, 102.0, 65.4]);
    let stats = &bench.slice()["stats"];
    assert_eq!(stats["totalSamples"], WATTS.len());
    assert_eq!(stats["badRows"], BAD_ROWS);
    assert_eq!(stats["bytesReceived"], TRANSCRIPT.length_bytes());
    assert_eq!(bench.slice()["lastSample"]["watts"], 61.7);
}

#[test]
fn a_transcript_in_one_chunk_gives_its_rows() {
    TRANSCRIPT.whole(bench, check_transcript);
}

#[test]
fn every_split_in_two_gives_the_same_samples() {
    TRANSCRIPT.split_everywhere(bench, check_transcript);
}

#[test]
fn byte_by_byte_gives_the_same_samples() {
    TRANSCRIPT.byte_by_byte(bench, check_transcript);
}

#[test]
fn a_swap_at_every_byte_gives_every_sample_once() {
    TRANSCRIPT.swapped_everywhere(bench, check_transcript);
}

#[test]
fn a_swap_after_each_byte_gives_every_sample_once() {
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
        pieces in prop::collection::vec((1..90_usize, 0..120_u64, select(&Interruption::ALL[..])), 0..60),
    ) {
        TRANSCRIPT.interrupted(bench, pieces, check_transcript);
    }

    /// Whatever comes, the driver stands, and each row afterwards is read.
    #[test]
    fn garbage_never_stops_it(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bench = streaming();
        let before = bench.samples("watts").len();
        bench.feed("main", &garbage);
        bench.feed("main", ROW);
        prop_assert!(bench.samples("watts").len() > before);
        prop_assert_eq!(bench.samples("watts").last().map(|sample| sample.value), Some(96.5));
    }
}

#[test]
fn the_slice_has_the_form_that_the_mirror_knows() {
    let mut bench = bench();
    let at_start = json!({
        "phase": "connecting",
        "stats": { "totalSamples": 0, "badRows": 0, "bytesReceived": 0, "lastSampleAt": null, "lastErrorAt": null },
        "lastSample": null,
    });
    assert_eq!(*bench.slice(), at_start);

    bench.advance_ms(100);
    bench.feed("main", VERSION);
    bench.advance_ms(400);
    bench.feed("main", ROW);
    let streaming = json!({
        "phase": "streaming",
        "stats": {
            "totalSamples": 1, "badRows": 0, "bytesReceived": VERSION.len() + ROW.len(),
            "lastSampleAt": 1_767_225_600_500_u64, "lastErrorAt": null,
        },
        "lastSample": {
            "ts": "2026-01-01T00:00:00.500Z",
            "watts": 96.5, "volts": 120.4, "amps": 0.792, "frequencyHz": 50.0, "powerFactor": 1.0, "energyWh": 0.1,
        },
    });
    assert_eq!(*bench.slice(), streaming);
    assert_eq!(bench.phases(), ["connecting", "connecting", "streaming"]);
}

#[test]
fn what_is_not_logged_is_absent() {
    let mut bench = streaming();
    bench.advance_ms(1000);
    bench.feed("main", b"#d,-,18,124,1191,_,,_,_,_,124,_,_,_,_,_,_,_,_,_,_;\r\n");
    bench.settle();
    assert_eq!(
        bench.slice()["lastSample"],
        json!({ "ts": "2026-01-01T00:00:01.050Z", "watts": 12.4, "volts": 119.1 })
    );
    assert_eq!(bench.samples("amps").len(), 1);
    assert_eq!(bench.samples("energy").len(), 1);
}

#[test]
fn a_sample_bears_the_time_of_the_bytes_that_complete_it() {
    let mut bench = streaming();
    let (front, back) = ROW.split_at(20);
    bench.feed("main", front);
    bench.advance_ms(250);
    bench.feed("main", back);
    assert_eq!(
        bench.samples("watts").last().map(|sample| sample.timestamp_ms),
        Some(1_767_225_600_300.0)
    );
}

#[test]
fn rows_come_faster_than_the_slice() {
    let mut bench = streaming();
    let before = bench.publications();
    for _ in 0..1000 {
        bench.feed("main", ROW);
        bench.advance_ms(1);
    }
    bench.settle();
    let published = bench.publications() - before;
    assert!(
        (20..=22).contains(&published),
        "{published} publications in a second"
    );
    assert_eq!(bench.slice()["stats"]["totalSamples"], 1001);
    assert_eq!(bench.samples("watts").len(), 1001);
}

#[test]
fn a_row_costs_only_the_fields_that_changed() {
    let mut bench = streaming();
    bench.advance_ms(1000);
    bench.feed("main", ROW);
    // totalSamples, bytesReceived, lastSampleAt, ts.
    assert_eq!(bench.last_operations().len(), 4, "{:?}", bench.last_operations());
}

#[test]
fn identification_asks_three_times_and_then_waits() {
    let mut bench = bench();
    for _ in 0..3 {
        assert_eq!(bench.written("main"), IDENTIFY);
        bench.advance_ms(1999);
        assert_eq!(bench.written("main"), b"");
        assert_eq!(bench.slice()["phase"], "connecting");
        bench.advance_ms(1);
    }
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "error");
    assert!(
        bench.slice()["message"]
            .as_str()
            .is_some_and(|text| text.contains("does not answer"))
    );
    assert_ne!(bench.slice()["stats"]["lastErrorAt"], Json::Null);

    // Then it asks again without end, with one line of log for the whole of it.
    bench.advance_ms(500);
    assert_eq!(bench.written("main"), IDENTIFY);
    bench.advance_ms(600_000);
    let warnings = bench
        .logs()
        .iter()
        .filter(|line| line.level == Level::Warn)
        .count();
    assert_eq!(warnings, 1, "{:?}", bench.logs());

    bench.written("main");
    bench.feed("main", VERSION);
    assert_eq!(bench.written("main"), ASK);
    assert_eq!(bench.slice()["phase"], "error", "until there are rows");
    bench.feed("main", ROW);
    assert_eq!(bench.slice()["phase"], "streaming");
    assert_eq!(bench.slice().get("message"), None);
}

#[test]
fn a_meter_that_sends_no_rows_is_asked_in_the_other_form_and_then_identified_again() {
    let mut bench = bench();
    bench.written("main");
    bench.feed("main", VERSION);
    assert_eq!(bench.written("main"), ASK);
    bench.advance_ms(2499);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), ASK_AGAIN);
    bench.advance_ms(2500);
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["phase"], "error");

    // The log is told once, however often it answers.
    for _ in 0..10 {
        bench.feed("main", VERSION);
        bench.advance_ms(5000);
    }
    let count = |level| bench.logs().iter().filter(|line| line.level == level).count();
    assert_eq!(
        (count(Level::Warn), count(Level::Info)),
        (1, 0),
        "{:?}",
        bench.logs()
    );
    bench.feed("main", VERSION);
    bench.feed("main", ROW);
    assert_eq!(bench.slice()["phase"], "streaming");
    assert_eq!(bench.slice().get("message"), None);
}

#[test]
fn a_silent_meter_is_asked_again_and_then_identified_again() {
    let mut bench = streaming();
    // Counted from the row, which came 50 ms ago.
    bench.advance_ms(2949);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), ASK);
    assert_eq!(bench.slice()["phase"], "streaming");
    assert_eq!(bench.slice()["message"], "no row for 3 s; asked for them again");
    bench.advance_ms(1000);
    bench.feed("main", ROW);
    assert_eq!(bench.slice().get("message"), None);

    bench.advance_ms(3000);
    assert_eq!(bench.written("main"), ASK);
    bench.advance_ms(3000);
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["phase"], "connecting");
}

#[test]
fn rows_keep_the_watchdog_quiet() {
    let mut bench = streaming();
    for _ in 0..100 {
        bench.advance_ms(2900);
        bench.feed("main", ROW);
    }
    assert_eq!(bench.written("main"), b"");
}

#[test]
fn chatter_does_not_keep_the_watchdog_quiet() {
    let mut bench = streaming();
    for _ in 0..4 {
        bench.advance_ms(1000);
        bench.feed("main", b"\0\0noise\r\n#s,-,3,_,1,1;");
    }
    assert_eq!(bench.written("main"), ASK);
}

#[test]
fn a_long_interval_is_waited_for() {
    let mut bench = Bench::<PowerMeter>::setup()
        .settings(json!({ "interval-s": 10 }))
        .start()
        .expect("starts");
    bench.feed("main", VERSION);
    bench.written("main");
    bench.advance_ms(11_499);
    assert_eq!(bench.written("main"), b"");
    bench.feed("main", ROW);
    bench.advance_ms(29_999);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), b"#L,W,3,E,_,10;");
}

#[test]
fn nothing_is_sent_after_a_swap_or_a_restart_from_a_checkpoint() {
    let mut bench = streaming().swap().expect("the successor starts");
    bench.advance_ms(1000);
    assert_eq!(bench.written("main"), b"");
    let checkpoint = bench.checkpoint();
    bench.feed("main", ROW);
    let mut bench = bench.restart(Some(&checkpoint)).expect("starts again");
    bench.advance_ms(2900);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "streaming");
    assert_eq!(bench.slice()["stats"]["totalSamples"], 2);
    // The watchdog went with it.
    bench.advance_ms(200);
    assert_eq!(bench.written("main"), ASK);
}

#[test]
fn a_swap_in_the_middle_of_the_conversation_goes_on_with_it() {
    let mut bench = bench();
    bench.written("main");
    bench.advance_ms(1000);
    let mut bench = bench.swap().expect("the successor starts");
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1000);
    assert_eq!(
        bench.written("main"),
        IDENTIFY,
        "the second question comes at its time"
    );
    let mut bench = bench.swap().expect("the successor starts");
    bench.feed("main", VERSION);
    assert_eq!(bench.written("main"), ASK);
}

#[test]
fn a_restart_without_a_checkpoint_identifies_again() {
    let mut bench = streaming().restart(None).expect("starts again");
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["phase"], "connecting");
}

#[test]
fn a_meter_that_comes_back_is_identified_again_and_half_rows_are_not_joined() {
    let mut bench = streaming();
    let (front, back) = ROW.split_at(30);
    bench.feed("main", front);
    bench.lose("main", "unplugged");
    assert_eq!(bench.slice()["phase"], "disconnected");
    assert_eq!(bench.slice()["message"], "the line is away: unplugged");
    bench.advance_ms(60_000);
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["phase"], "connecting");
    assert_eq!(bench.slice().get("message"), None);
    bench.feed("main", back);
    bench.feed("main", VERSION);
    bench.feed("main", ROW);
    bench.settle();
    assert_eq!(bench.samples("watts").len(), 2);
    assert_eq!(bench.slice()["stats"]["totalSamples"], 2);
    assert_eq!(bench.slice()["lastSample"]["watts"], 96.5);
}

#[test]
fn a_driver_may_start_before_its_meter_is_there() {
    let mut bench = Bench::<PowerMeter>::setup()
        .detached("main")
        .start()
        .expect("starts");
    assert_eq!(bench.slice()["phase"], "disconnected");
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), IDENTIFY);
}

#[test]
fn a_swap_while_the_meter_is_away_stays_away() {
    let mut bench = streaming();
    let checkpoint = bench.checkpoint();
    bench.lose("main", "unplugged");
    let bench = bench.restart(Some(&checkpoint)).expect("starts again");
    assert_eq!(bench.slice()["phase"], "disconnected");
    let mut bench = bench.swap().expect("the successor starts");
    assert_eq!(bench.slice()["phase"], "disconnected");
    bench.advance_ms(10_000);
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), IDENTIFY);
}

#[test]
fn an_overrun_costs_the_row_it_falls_into_and_no_other() {
    let mut bench = streaming();
    let (front, _) = ROW.split_at(30);
    bench.feed("main", front);
    bench.overrun("main", 500);
    bench.feed("main", b",0,0,500,965;\r\n");
    bench.feed("main", ROW);
    bench.settle();
    assert_eq!(bench.samples("watts").len(), 2);
    let stats = &bench.slice()["stats"];
    assert_eq!(stats["totalSamples"], 2);
    assert_eq!(stats["bytesReceived"], VERSION.len() + 2 * ROW.len() + 30 + 15);
}

#[test]
fn a_new_interval_is_asked_for_at_once() {
    let mut bench = streaming();
    bench.change_settings(json!({ "interval-s": 5 }));
    assert_eq!(bench.written("main"), b"#L,W,3,E,_,5;");
    assert_eq!(bench.slice()["phase"], "streaming");
    bench.feed("main", ROW);
    bench.advance_ms(14_900);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(100);
    assert_eq!(bench.written("main"), b"#L,W,3,E,_,5;");
    assert_eq!(bench.stop(StopReason::Shutdown, "main"), b"#L,W,3,I,_,5;");
}

#[test]
fn settings_that_stay_the_same_send_nothing() {
    let mut bench = streaming();
    bench.change_settings(json!({ "interval-s": 1 }));
    assert_eq!(bench.written("main"), b"");
}

#[test]
fn wrong_settings_are_refused_with_what_is_wrong() {
    let refusal = |settings| match Bench::<PowerMeter>::setup().settings(settings).start() {
        Err(Refusal::InvalidSettings(text)) => text,
        other => panic!("not refused for its settings: {:?}", other.err()),
    };
    assert!(refusal(json!({ "interval-s": 0 })).contains("from 1 to 3600"));
    assert_eq!(
        refusal(json!({ "interval": 1 })),
        "unknown field `interval`, expected `interval-s`"
    );
}

#[test]
fn the_last_words_stop_the_rows() {
    assert_eq!(streaming().stop(StopReason::Removed, "main"), b"#L,W,3,I,_,1;");
    let away = Bench::<PowerMeter>::setup()
        .detached("main")
        .start()
        .expect("starts");
    assert_eq!(away.stop(StopReason::Removed, "main"), b"");
}

#[test]
fn the_manifest_is_the_same_each_time_and_has_the_series_in_their_order() {
    let manifest = Bench::<PowerMeter>::manifest();
    assert_eq!(manifest, Bench::<PowerMeter>::manifest());
    let series: Vec<_> = manifest
        .series
        .iter()
        .map(|series| (series.name.as_str(), series.unit.as_str()))
        .collect();
    let expected = [
        ("watts", "W"),
        ("volts", "V"),
        ("amps", "A"),
        ("powerFactor", "1"),
        ("frequency", "Hz"),
        ("energy", "Wh"),
        ("apparentPower", "VA"),
    ];
    assert_eq!(series, expected);
    assert_eq!(
        (manifest.slice.as_str(), manifest.device_type.as_str()),
        ("powerMeter", "power-meter")
    );
    let schema: Json =
        serde_json::from_str(manifest.slice_schema.as_deref().unwrap_or_default()).expect("JSON");
    assert_eq!(schema["properties"]["stats"]["$ref"], "#/$defs/Stats");
}

/// The file is what the same driver in Python writes and takes, too: its tests read it (`sdk/python/examples/power-meter`).
#[test]
fn the_snapshot_is_what_the_driver_in_python_writes_and_takes() {
    let written = include_str!("snapshot.json").trim_end();
    let snapshot = streaming().checkpoint().snapshot().clone();
    assert_eq!(std::str::from_utf8(&snapshot.data), Ok(written));
    assert_eq!(snapshot.schema_version, 1);
}
