//! The adapter is identified when it comes, and no other board is taken for one.

use autobench_sdk::Outcome;
use autobench_sdk::bench::Bench;
use keyboard::Keyboard;
use serde_json::json;

#[test]
fn old_news_before_the_token_are_passed_over() {
    let mut bench: Bench<Keyboard> = Bench::start().expect("starts");
    assert_eq!(bench.written("main"), b"identify\n");
    bench.feed(
        "main",
        b"debug: acknowledge\r\nsuccess: press command for scan code 1C\r\nKB",
    );
    assert_eq!(bench.written("main"), b"");
    let mut bench = bench.swap().expect("the successor starts");
    bench.feed("main", b"\r\n");
    assert_eq!(bench.written("main"), b"identify_complete\n");
    assert_eq!(bench.slice()["phase"], "ready");
    assert_eq!(bench.phases(), ["identifying", "identifying", "ready"]);
}

#[test]
fn another_board_is_not_taken_for_a_keyboard() {
    let mut bench: Bench<Keyboard> = Bench::start().expect("starts");
    bench.written("main");
    bench.feed("main", b"FP\r\n");
    bench.advance_ms(100);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "error");
    assert!(
        bench.slice()["message"]
            .as_str()
            .is_some_and(|text| text.contains("says FP"))
    );
    bench.advance_ms(500);
    assert_eq!(bench.written("main"), b"identify\n");
}

#[test]
fn it_may_start_before_the_adapter_is_there() {
    let mut bench = Bench::<Keyboard>::setup()
        .detached("main")
        .start()
        .expect("starts");
    assert_eq!(bench.slice()["phase"], "disconnected");
    let id = bench.command("press", &json!({ "key": "KeyA" }));
    assert_eq!(
        bench.outcome(&id),
        Some(&Outcome::Blocked(
            "the adapter is not ready: disconnected".to_owned()
        ))
    );
    bench.advance_ms(10_000);
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), b"identify\n");
}

#[test]
fn half_a_line_from_before_does_not_spoil_a_later_answer() {
    let mut bench: Bench<Keyboard> = Bench::start().expect("starts");
    bench.feed("main", b"debug: ackn");
    bench.advance_ms(1500);
    assert_eq!(bench.written("main"), b"identify\nidentify\n");
    bench.feed("main", b"KB\r\n");
    assert_eq!(bench.written("main"), b"identify_complete\n");
}
