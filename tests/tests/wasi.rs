//! A driver that brings WASI along: what it prints stands in the log, and what it could reach anything with ends the call, by name.

use e2e::Probe;
use serde_json::json;

/// What sets the fixtures' mischief off.
const TRIGGER: u8 = 0x07;

#[tokio::test]
async fn a_runtime_may_print_and_gets_nothing_else_of_wasi() {
    let Probe {
        bench: _bench,
        mut line,
        daemon,
        mut client,
    } = Probe::start("speaks-wasi").await;
    for printed in ["the runtime is up", "and has not ended this line"] {
        client
            .until(printed, |client| client.has_logged(printed).then_some(()))
            .await;
    }
    line.send(b"1\n");
    client.until_member("/probe/lines", &json!(1)).await;
    line.send(&[TRIGGER]);
    client
        .until("the fault", |client| {
            client
                .has_logged("it called wasi:clocks/wall-clock@0.2.6#now, and a driver has nothing of WASI")
                .then_some(())
        })
        .await;
    client
        .until("the skip", |client| {
            client.has_logged("are skipped").then_some(())
        })
        .await;
    line.send(b"2\n");
    client.until_member("/probe/lines", &json!(2)).await;
    assert!(daemon.stop().success());
}
