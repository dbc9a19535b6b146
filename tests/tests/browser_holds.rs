//! What somebody holds in Chromium is let go, by the emulators' own log, whatever becomes of the page and of the browser.
//!
//! The PC's time is real, so that the times in the journal are those of the stories.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

use std::time::Duration;

use autobench_sim::bench as sim;
use autobench_sim::bench::{Device, Entry};
use autobench_sim::keyboard::KeyAction;
use autobench_sim::pc::machine::{Contact, Switch};
use e2e::{Bench, Browser, Daemon, DeviceEntry, Relay, eventually};

/// How long a hold stands without its client; it has to be over by then.
const HOLD: Duration = Duration::from_millis(1500);

/// What can become of a page that holds something.
#[derive(Debug, Clone, Copy)]
enum Fate {
    OtherWindow,
    Hidden,
    Reloaded,
    Cut,
    /// The last one: there is no page any more.
    Closed,
}

const FATES: [Fate; 5] = [
    Fate::OtherWindow,
    Fate::Hidden,
    Fate::Reloaded,
    Fate::Cut,
    Fate::Closed,
];

impl Fate {
    fn strike(self, browser: &mut Browser, wire: &Relay) {
        match self {
            Self::OtherWindow => browser.use_another_window(),
            Self::Hidden => browser.hide(),
            Self::Reloaded => browser.reload(),
            Self::Cut => wire.cut(),
            Self::Closed => browser.close_page(),
        }
    }
}

/// A PC's front panel and keyboard behind a daemon.
struct Desk {
    sim: sim::Bench,
    daemon: Daemon,
    _bench: Bench,
}

impl Desk {
    fn new() -> Self {
        let bench = Bench::new();
        let sim = bench.simulate_pc(|options| options);
        let link = |device| sim.link(device).expect("its link");
        bench.configure(&[
            DeviceEntry {
                slice: "frontPanel".to_owned(),
                // Without a rest a button can be held anew at once.
                more: "[devices.panel.settings]\ndead-ms = 50\n[devices.panel.grants]\ndangerous-commands = [\"hold\", \"on\"]\n"
                    .to_owned(),
                ..DeviceEntry::new("panel", "atx", link(Device::Atx))
            },
            DeviceEntry {
                slice: "ps2Keyboard".to_owned(),
                more: "[devices.keyboard.grants]\nread-slices = [\"frontPanel\"]\n".to_owned(),
                ..DeviceEntry::new("keyboard", "keyboard", link(Device::Keyboard))
            },
        ]);
        let daemon = bench.start();
        Self {
            sim,
            daemon,
            _bench: bench,
        }
    }

    /// A browser with the page, on which both boards are ready.
    fn browser(&self, url: &str) -> Browser {
        let mut browser = Browser::open(url);
        for phase in ["panel-phase", "keyboard-phase"] {
            browser.until_said(phase, "ready");
        }
        browser
    }

    /// The PC's time.
    fn now(&self) -> Duration {
        let stats = self.sim.control().stats().expect("the simulated bench runs");
        Duration::from_millis(stats.t_ms)
    }

    fn journal<T>(&self, pick: impl Fn(&Entry) -> Option<T>) -> Vec<T> {
        let journal = self.sim.control().journal().expect("the simulated bench runs");
        journal.iter().filter_map(pick).collect()
    }

    /// When the power button went down or up: what it does, in order.
    fn button(&self) -> Vec<(bool, Duration)> {
        self.journal(|entry| {
            let edge = entry.edge()?;
            assert_eq!(edge.switch, Switch::Power, "nobody touches the other button");
            Some((edge.contact == Contact::Closed, edge.at))
        })
    }

    /// The same of the one key that is struck.
    fn key(&self) -> Vec<(bool, Duration)> {
        self.journal(|entry| entry.key().map(|edge| (edge.action == KeyAction::Make, edge.at)))
    }
}

/// Looks at a contact until it has moved so often, and gives the newest move.
async fn until_moved(times: usize, look: impl Fn() -> Vec<(bool, Duration)>) -> (bool, Duration) {
    let moves = eventually(&format!("{times} moves"), async || {
        let moves = look();
        (moves.len() >= times).then_some(moves)
    })
    .await;
    assert_eq!(moves.len(), times, "{moves:?}");
    moves[times - 1]
}

/// Waits until something is held for longer than it would stand if the page did not say so again and again.
async fn until_renewed(desk: &Desk, since: Duration) {
    eventually("a hold that was renewed", async || {
        (desk.now() > since + HOLD + Duration::from_millis(500)).then_some(())
    })
    .await;
}

/// Puts the pointer down on the button that holds the power button.
async fn hold_power(desk: &Desk, browser: &mut Browser) {
    // A hold does not wait for what is under way.
    eventually("a panel that does nothing", async || {
        let member = desk.daemon.member("/frontPanel/currentOp").await;
        member.is_none_or(|operation| operation.is_null()).then_some(())
    })
    .await;
    if browser.texts("unlock") == ["Unlock holding"] {
        browser.press("Unlock holding");
    }
    browser.pointer_down("Hold power while pressed");
}

/// Switches the PC on: nothing is typed at one that is off.
fn switch_on(browser: &mut Browser) {
    browser.press("On …");
    browser.press("On now");
    browser.until_said("panel-asked", "succeeded");
}

/// Puts a key down in the box that captures keys.
fn hold_key(browser: &mut Browser) {
    browser.until_said("capture-box", "Click here");
    browser.click("capture-box");
    browser.until_said("capture-box", "Every key goes to the PC");
    browser.key_down("KeyA");
}

fn tell(what: &str, after: Duration) {
    println!("{what}: let go {} ms later", after.as_millis());
    assert!(after <= HOLD, "{what}: {after:?}");
}

#[tokio::test]
async fn a_button_that_a_killed_browser_holds_is_let_go() {
    let desk = Desk::new();
    let mut browser = desk.browser(&desk.daemon.url());
    hold_power(&desk, &mut browser).await;
    let (down, since) = until_moved(1, || desk.button()).await;
    assert!(down);
    until_renewed(&desk, since).await;
    assert_eq!(desk.button().len(), 1, "it is held");
    let killed = desk.now();
    browser.kill();
    let (down, at) = until_moved(2, || desk.button()).await;
    assert!(!down);
    tell("the power button, by kill -9", at - killed);
    assert!(desk.daemon.stop().success());
}

#[tokio::test]
async fn a_key_that_a_killed_browser_holds_is_let_go() {
    let desk = Desk::new();
    let mut browser = desk.browser(&desk.daemon.url());
    switch_on(&mut browser);
    hold_key(&mut browser);
    let (down, since) = until_moved(1, || desk.key()).await;
    assert!(down);
    until_renewed(&desk, since).await;
    assert_eq!(desk.key().len(), 1, "it is held");
    let killed = desk.now();
    browser.kill();
    let (down, at) = until_moved(2, || desk.key()).await;
    assert!(!down);
    tell("a key, by kill -9", at - killed);
    assert!(desk.daemon.stop().success());
}

// The wire passes bytes on while the browser is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_is_let_go_with_the_pointer_the_window_the_tab_the_page_and_the_socket() {
    let desk = Desk::new();
    let wire = Relay::to(desk.daemon.address()).await;
    let mut browser = desk.browser(&format!("http://{}/", wire.address()));

    hold_power(&desk, &mut browser).await;
    until_moved(1, || desk.button()).await;
    let let_go = desk.now();
    browser.pointer_up_elsewhere();
    let (_, at) = until_moved(2, || desk.button()).await;
    tell("the power button, by the pointer outside of it", at - let_go);

    let mut moves = 2;
    for fate in FATES {
        hold_power(&desk, &mut browser).await;
        moves += 1;
        until_moved(moves, || desk.button()).await;
        let struck = desk.now();
        fate.strike(&mut browser, &wire);
        moves += 1;
        let (down, at) = until_moved(moves, || desk.button()).await;
        assert!(!down);
        tell(&format!("the power button, by {fate:?}"), at - struck);
        if !matches!(fate, Fate::Closed) {
            // The page has seen it, too.
            browser.until_said("unlock", "Unlock holding");
            browser.pointer_up();
        }
    }
    assert!(desk.daemon.stop().success());
}

// The same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_let_go_with_the_window_the_tab_the_page_and_the_socket() {
    let desk = Desk::new();
    let wire = Relay::to(desk.daemon.address()).await;
    let mut browser = desk.browser(&format!("http://{}/", wire.address()));
    switch_on(&mut browser);
    let mut moves = 0;
    for fate in FATES {
        hold_key(&mut browser);
        moves += 1;
        until_moved(moves, || desk.key()).await;
        let struck = desk.now();
        fate.strike(&mut browser, &wire);
        moves += 1;
        let (down, at) = until_moved(moves, || desk.key()).await;
        assert!(!down);
        tell(&format!("a key, by {fate:?}"), at - struck);
    }
    assert!(desk.daemon.stop().success());
}
