//! Panes in Chromium that nobody wrote for their device: the page knows a driver from its manifest alone.
//!
//! Covered: a device that the layout does not name is shown, with its values, chart, port and phase; a swap, a version that waits for consent and an
//! unplugged line are said;
//! commands are sent from forms, followed, cancelled, refused, listed,
//! and not sent to a device that is away.
//!
//! With `AUTOBENCH_SCREENSHOTS=<absolute folder>` the stories leave pictures there.
#![expect(clippy::expect_used, reason = "helpers of a story: what is missing fails it")]

use std::path::PathBuf;

use e2e::{Bench, Browser, DeviceEntry, Terminal};

/// A layout that names no device.
const LOG_ALONE: &str = "[layout]\nrows = 1\ncols = 1\n[[layout.panes]]\npane = \"logs\"\n";

const SHAPES: [(&str, u32, u32, &str); 4] = [
    ("360-light", 360, 780, "light"),
    ("1280-dark", 1280, 800, "dark"),
    ("1280-light", 1280, 800, "light"),
    ("2560-dark", 2560, 1440, "dark"),
];

/// Nothing sticks out and nothing is cut off, at any width.
fn fits(browser: &mut Browser, story: &str) {
    let pictures = std::env::var_os("AUTOBENCH_SCREENSHOTS").map(PathBuf::from);
    for (name, width, height, scheme) in SHAPES {
        browser.shape(width, height, scheme);
        assert_eq!(browser.overflow(), [""; 0], "{name}");
        if let Some(folder) = &pictures {
            browser.screenshot(&folder.join(format!("{story}-{name}.png")));
        }
    }
}

#[tokio::test]
async fn a_device_that_no_pane_was_written_for_is_shown_from_its_manifest() {
    let bench = Bench::new();
    let link = bench.folder().join("tally");
    let mut line = Terminal::create(&link);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.configure(&[DeviceEntry {
        more: LOG_ALONE.to_owned(),
        ..DeviceEntry::new("tally", "counter", &link)
    }]);
    let daemon = bench.start();
    let mut browser = Browser::open(&daemon.url());
    browser.until_said("device-phase", "ready");
    line.send(b"7\n");
    browser.until_said("series-value", "7");
    line.send(b"8\n");
    browser.until_said("series-value", "8");
    browser.until_said("field", "Lines2");
    browser.until_said("port", "attached");
    browser.until_said("reload", "none");

    bench.install("counter", &bench.artifacts.fixture("counter-next"));
    browser.until_said("reload", "swapped at");
    browser.until_said("driver", "counter 2.0.0, generation 2");
    line.send(b"9\n");
    browser.until_said("field", "Lines3");
    browser.until_said("series-value", "9");
    fits(&mut browser, "device");

    // One that wants more waits for consent, with what it wants, and the one that runs goes on.
    bench.install("counter", &bench.artifacts.fixture("curious"));
    browser.until_said("plugin-status", "waiting for consent: version 3.0.0");
    browser.until_said("wants", "to read the slice \"meter\"");
    browser.until_said("device-banner", "autobench plugin grant counter");
    browser.until_said("driver", "counter 2.0.0, generation 2");
    fits(&mut browser, "consent");

    line.close();
    browser.until_said("device-notice", "port main not attached");
    assert_eq!(browser.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}

/// Waits for a line of the driver such as `on ID`, and gives the id.
fn hear(board: &mut Terminal, word: &str) -> String {
    let line = board.next_line();
    let (heard, id) = line.split_once(' ').expect("a word and an id");
    assert_eq!(heard, word, "{line:?}");
    id.to_owned()
}

#[tokio::test]
async fn commands_are_sent_from_forms_and_followed_to_their_end() {
    let bench = Bench::new();
    let link = bench.folder().join("board");
    let mut board = Terminal::create(&link);
    bench.install("relay", &bench.artifacts.fixture("relay"));
    bench.configure(&[DeviceEntry::new("relay", "relay", &link)]);
    let daemon = bench.start();
    let mut browser = Browser::open(&daemon.url());
    browser.until_said("device-phase", "ready");

    browser.press("On");
    let id = hear(&mut board, "on");
    board.send(format!("ack {id}\n").as_bytes());
    browser.until_said("command-result", "acked");
    board.send(format!("at {id} 0.5 halfway\n").as_bytes());
    browser.until_said("command-result", "halfway");
    board.send(format!("done {id} true\n").as_bytes());
    browser.until_said("command-result", "succeeded");
    browser.until_said("command-outcome", "now true");
    browser.until_said("field", "Onyes");

    // Nothing is sent while an argument is missing, or beyond its limits.
    browser.press("Pulse");
    browser.until_said("command-input", "ms is needed");
    browser.fill("ms", "60001");
    browser.until_said("command-input", "ms has to be 1 to 60000");
    browser.fill("ms", "60000");
    browser.press("Pulse");
    let id = hear(&mut board, "on");
    browser.until_said("command-result", "closed for 60000 ms");
    browser.press("Cancel");
    assert_eq!(hear(&mut board, "cancel"), id);
    browser.until_said("command-result", "cancelled");

    // A dangerous one asks first; the daemon refuses it, because the bench does not grant it.
    browser.press("Reset …");
    browser.press("Reset now");
    browser.until_said("command-result", "not-granted");
    // The bench's list has the two that were taken, and not the one that was refused.
    browser.until_said("commands-count", "2 of 2 shown");
    browser.until_said("command-row", "Pulse");
    browser.until_said("command-row", "now true");
    fits(&mut browser, "commands");

    board.close();
    browser.until_said("commands-blocked", "port main not attached");
    assert_eq!(browser.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}
