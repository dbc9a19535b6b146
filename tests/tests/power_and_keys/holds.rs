//! What is held is let go, by the emulators' own log.

use std::time::Duration;

use autobench_sim::bench::Entry;
use autobench_sim::frontpanel::Cause;
use autobench_sim::keyboard::KeyAction;
use autobench_sim::pc::machine::Contact;
use e2e::{Client, eventually};
use serde_json::json;

use super::{Desk, command, end_of, succeeds};

const HOLD: Duration = Duration::from_millis(1500);

impl Desk {
    /// What happened to keys, in order.
    fn key_actions(&self) -> Vec<KeyAction> {
        let keys = self.journal();
        keys.iter()
            .filter_map(Entry::key)
            .map(|edge| edge.action)
            .collect()
    }

    /// Switches the PC on, and then holds its reset button and a key.
    async fn hold_both(&self, client: &mut Client) {
        succeeds(client, "panel", "on", json!({})).await;
        client.until_member("/ps2Keyboard/power", &json!("on")).await;
        let button = command(client, "panel", "hold", json!({"button": "reset"})).await;
        let key = command(client, "keyboard", "hold", json!({"key": "KeyA"})).await;
        for hold in [&button, &key] {
            let end = end_of(client, hold).await;
            assert_eq!(end["status"], "succeeded", "{end}");
            for held in [&button, &key] {
                client
                    .send(&json!({"type": "lease.renew", "commandId": held}))
                    .await;
            }
        }
        assert_eq!((self.edges().len(), self.key_actions().len()), (3, 1));
    }
}

#[tokio::test]
async fn a_button_and_a_key_are_let_go_when_their_client_is_gone() {
    let desk = Desk::new(1.0);
    let (daemon, mut witness) = desk.start().await;
    let mut client = daemon.client().await;
    desk.hold_both(&mut client).await;
    let gone_ms = desk.sim.control().stats().unwrap().t_ms;
    drop(client);
    let edges = desk.until_edges(4).await;
    assert_eq!(
        (edges[3].contact, edges[3].cause),
        (Contact::Open, Cause::Command)
    );
    let after = edges[3].at.saturating_sub(Duration::from_millis(gone_ms));
    assert!(after < HOLD, "{after:?}");
    eventually("the key is up", async || {
        (desk.key_actions().len() == 2).then_some(())
    })
    .await;
    witness.until_member("/ps2Keyboard/heldKeys", &json!([])).await;
    assert!(daemon.stop().success());
    assert_eq!((desk.edges().len(), desk.key_actions().len()), (4, 2));
}

#[tokio::test]
async fn a_button_is_let_go_at_once_when_its_driver_breaks_down() {
    let desk = Desk::new(1.0);
    desk.bench
        .install("atx", &desk.bench.artifacts.fixture("presser"));
    let (daemon, mut client) = desk.start().await;
    succeeds(&mut client, "panel", "hold", json!({})).await;
    desk.until_edges(1).await;
    // So that it cannot end by not being renewed.
    let hold = client.stages.iter().rev().find(|stage| stage["name"] == "hold");
    let hold = hold.expect("it was taken")["commandId"].clone();
    let renewed = client
        .ask(json!({"type": "lease.renew", "commandId": hold}))
        .await;
    assert_eq!(renewed["ok"], true);
    let told_ms = desk.sim.control().stats().unwrap().t_ms;
    let trap = command(&mut client, "panel", "trap", json!({})).await;
    assert_eq!(end_of(&mut client, &trap).await["status"], "failed");
    let edges = desk.until_edges(2).await;
    assert_eq!(
        (edges[1].contact, edges[1].cause),
        (Contact::Open, Cause::Command)
    );
    let after = edges[1].at.saturating_sub(Duration::from_millis(told_ms));
    assert!(after < HOLD, "{after:?}");
    client
        .until("its reason", |client| {
            let mut messages = client.logs.values().filter_map(|entry| entry["message"].as_str());
            messages
                .find(|message| message.contains("ends (driver-failed)"))
                .map(drop)
        })
        .await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn of_a_killed_daemon_the_board_lets_the_button_go_and_the_next_start_the_key() {
    // Ten seconds of the board's pass in one.
    let desk = Desk::new(10.0);
    let (daemon, mut client) = desk.start().await;
    desk.hold_both(&mut client).await;
    daemon.kill();
    let edges = desk.until_edges(4).await;
    assert_eq!(
        (edges[3].contact, edges[3].cause),
        (Contact::Open, Cause::AutoRelease)
    );
    let held = edges[3].at - edges[2].at;
    assert!(
        held.abs_diff(Duration::from_secs(10)) < Duration::from_millis(500),
        "{held:?}"
    );
    assert_eq!(desk.key_actions().len(), 1, "nobody lets the key go meanwhile");

    let (daemon, mut client) = desk.start().await;
    eventually("the key is up", async || {
        (desk.key_actions().len() == 2).then_some(())
    })
    .await;
    client
        .until("both are reported", |client| {
            let undone = client.logs.values().filter(|entry| {
                let message = entry["message"].as_str().unwrap_or_default();
                message.contains("of an earlier run is written")
            });
            (undone.count() == 2).then_some(())
        })
        .await;
    assert!(daemon.stop().success());
    assert_eq!((desk.edges().len(), desk.key_actions().len()), (4, 2));
}
