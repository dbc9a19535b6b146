//! A secret text is nowhere but on the line and in the snapshot.

use autobench_sdk::bench::{blocked, failed};
use serde_json::json;

use crate::adapter::{Fate, ready};

#[test]
fn a_secret_is_nowhere_but_on_the_line_and_in_the_snapshot() {
    let secret = "Sesame99";
    let mut rig = ready();
    let id = rig.command("type", &json!({ "text": secret, "secret": true }));
    let missing = rig.command("type", &json!({ "text": "Sesame99€", "secret": true }));
    rig.advance_ms(600);
    rig.swap();
    rig.device.inbound = |_, _| Fate::IsLost;
    let ended = failed(&rig.end_of(&id));
    let refused = blocked(&rig.end_of(&missing));
    assert!(refused.ends_with("has no keys for 9"), "{refused}");
    rig.advance_ms(100);
    let bench = rig.bench();
    let seen = format!(
        "{:?}{:?}{:?}{ended}{refused}{}",
        bench.logs(),
        bench.events(),
        bench.replies(),
        bench.slice()
    );
    for part in ["Sesame", "esam", "e99", "€", "press 0", "scan code"] {
        assert!(!seen.contains(part), "{part:?} is in {seen}");
    }
}
