//! What is asked for is done once, for its time, and said.

use std::time::Duration;

use autobench_sim::frontpanel::Cause;
use autobench_sim::pc::machine::{Contact, Switch};
use e2e::eventually;
use serde_json::json;

use super::{Desk, command, end_of, succeeds};

#[tokio::test]
async fn a_swap_in_the_middle_of_a_press_ends_it_once_at_its_time() {
    const PRESS: Duration = Duration::from_secs(5);
    let desk = Desk::new(1.0);
    let (daemon, mut client) = desk.start().await;
    // The version that is to come in mid-press has run before, so that nobody waits for a compiler meanwhile.
    for (version, generation) in [(1, 2), (0, 3)] {
        desk.install("atx", version);
        client
            .until_member("/devices/panel/driver/generation", &json!(generation))
            .await;
    }
    let press = json!({"button": "power", "ms": PRESS.as_millis() as u64});
    let id = command(&mut client, "panel", "press", press).await;
    desk.until_edges(1).await;
    desk.install("atx", 1);
    client
        .until_member("/devices/panel/driver/generation", &json!(4))
        .await;
    assert_eq!(desk.edges().len(), 1, "it is held over the swap");
    assert_eq!(end_of(&mut client, &id).await["status"], "succeeded");
    let edges = desk.edges();
    let moved: Vec<_> = edges
        .iter()
        .map(|edge| (edge.switch, edge.contact, edge.cause))
        .collect();
    let expected = [Contact::Closed, Contact::Open].map(|contact| (Switch::Power, contact, Cause::Command));
    assert_eq!(moved, expected);
    let length = edges[1].at - edges[0].at;
    // Two lines go out, each through two threads and a terminal.
    assert!(length.abs_diff(PRESS) < Duration::from_millis(500), "{length:?}");
    assert!(daemon.stop().success());
    assert_eq!(desk.edges().len(), 2);
}

#[tokio::test]
async fn the_pc_is_switched_on_typed_at_and_switched_off() {
    let desk = Desk::new(4.0);
    let (daemon, mut client) = desk.start().await;
    succeeds(&mut client, "panel", "on", json!({})).await;
    client.until_member("/frontPanel/powerSense", &json!("on")).await;
    // What is on stays as it is.
    let edges = desk.edges().len();
    succeeds(&mut client, "panel", "on", json!({})).await;
    assert_eq!(desk.edges().len(), edges);

    eventually("the prompt", async || desk.screen().contains('>').then_some(())).await;
    let text = json!({"text": "echo Hello\n"});
    succeeds(&mut client, "keyboard", "type", text).await;
    eventually("the echo", async || {
        desk.screen().contains("\nHello").then_some(())
    })
    .await;

    // A text that is under way when the power goes is withdrawn.
    let long = command(
        &mut client,
        "keyboard",
        "type",
        json!({"text": "x".repeat(400), "layout": "us"}),
    )
    .await;
    client
        .until_member("/ps2Keyboard/currentOp/kind", &json!("type"))
        .await;
    succeeds(&mut client, "panel", "force-off", json!({})).await;
    let end = end_of(&mut client, &long).await;
    assert_eq!(end["status"], "cancelled", "{end}");
    let keys = desk.sim.control().stats().unwrap().counts.key_edges;
    succeeds(&mut client, "panel", "off", json!({})).await;
    assert_eq!(
        desk.sim.control().stats().unwrap().counts.key_edges,
        keys,
        "nothing is typed any more"
    );
    assert!(daemon.stop().success());
}
