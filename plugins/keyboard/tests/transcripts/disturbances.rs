//! No garbage stops the driver, and nothing between the answers changes what is typed.

use proptest::prelude::*;
use serde_json::json;

use crate::adapter::ready;
use crate::{count, succeeded};

fn cases() -> ProptestConfig {
    let long = std::env::var_os("AUTOBENCH_LONG").is_some();
    ProptestConfig::with_cases(if long { 2000 } else { 30 })
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever the adapter says, the driver stands, and goes on.
    #[test]
    fn garbage_never_stops_it(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut rig = ready();
        rig.bench_mut().feed("main", &garbage);
        rig.bench_mut().feed("main", b"\r\n");
        rig.advance_ms(10_000);
        prop_assert_eq!(rig.run("type", &json!({ "text": "a" })), succeeded(1));
    }

    /// Swaps, pauses and pieces in any order: each character is typed once.
    #[test]
    fn nothing_between_the_answers_changes_what_is_typed(
        chunk in 1..50_usize,
        pauses in prop::collection::vec(1..200_u64, 0..20),
        text in "[a-zA-Z0-9 !?]{1,12}",
    ) {
        let mut rig = ready();
        rig.chunk_bytes = chunk;
        let id = rig.command("type", &json!({ "text": text }));
        for pause_ms in pauses {
            rig.advance_ms(pause_ms);
            rig.swap();
        }
        prop_assert_eq!(rig.end_of(&id), succeeded(count(&text)));
        prop_assert_eq!(rig.device.text(), text);
        prop_assert_eq!(rig.device.down(), []);
    }
}
