//! A whole bench in Chromium: a PC is switched on, put to work and cut off by somebody who has nothing but the page.
//!
//! The bench is that of `cargo demo`, only that its time is faster. With `AUTOBENCH_SCREENSHOTS=<absolute folder>` the story leaves pictures there, and the bench
//! has the time of a real one: they are those of `docs/simulator.md`.
#![expect(clippy::unwrap_used, reason = "helpers of a story: what is missing fails it")]

use std::path::{Path, PathBuf};

use e2e::{Bench, Browser};

/// Where pictures go, if there are to be any.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("AUTOBENCH_SCREENSHOTS").map(PathBuf::from)
}

/// The bench of the demo.
fn bench() -> Bench {
    // How much faster than a real one the PC is.
    let speed = if pictures().is_some() { 1.0 } else { 2.0 };
    let bench = Bench::new();
    for plugin in ["power-meter", "atx", "keyboard"] {
        bench.install(plugin, &bench.artifacts.plugin(plugin));
    }
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins.toml");
    let demo = std::fs::read_to_string(demo).unwrap();
    let (_, devices) = demo.split_once("\n[devices.meter]\n").unwrap();
    let faster = format!("sim = {{ device = \"power-meter\", speed = {speed:.1} }}");
    assert_eq!(devices.matches("sim = \"power-meter\"").count(), 1);
    // A press has to be as long for the PC as it would be in its own time.
    let settings = format!(
        "[devices.panel.settings]\nforce-off-ms = {}\n",
        (5500.0 / speed) as u64
    );
    let devices = devices.replace("sim = \"power-meter\"", &faster);
    bench.configure_with("", &[]);
    let daemon = std::fs::read_to_string(bench.config()).unwrap();
    bench.write_config(&format!("{daemon}\n[devices.meter]\n{devices}\n{settings}"));
    bench
}

fn picture(browser: &mut Browser, name: &str) {
    if let Some(folder) = pictures() {
        browser.screenshot(&folder.join(format!("bench-{name}.png")));
    }
}

fn until_watts(browser: &mut Browser, what: &str, are: impl Fn(f64) -> bool) {
    browser.until(what, |look| look.number().filter(|watts| are(*watts)).map(drop));
}

#[tokio::test]
async fn a_pc_is_switched_on_put_to_work_and_cut_off_from_the_page_alone() {
    let bench = bench();
    let daemon = bench.start();
    let mut browser = Browser::open_sized(&daemon.url(), 1280, 1200);
    browser.until_said("panel-phase", "ready");
    browser.until_said("keyboard-phase", "ready");
    until_watts(&mut browser, "a PC that is off", |watts| watts < 10.0);
    // Nothing is typed at a PC that is off.
    browser.until_said("keyboard-blocked", "off");
    browser.until("a chart of it", |look| (look.chart_samples >= 8).then_some(()));
    picture(&mut browser, "off");

    browser.press("On …");
    browser.press("On now");
    until_watts(&mut browser, "the boot", |watts| watts > 55.0);
    browser.until_said("lamp", "active");
    picture(&mut browser, "boot");
    browser.until_said("panel-asked", "succeeded");
    until_watts(&mut browser, "the prompt", |watts| (40.0..50.0).contains(&watts));

    browser.fill("Text", "bench\n");
    browser.press("Type it");
    browser.until_said("keyboard-asked", "succeeded");
    until_watts(&mut browser, "the benchmark", |watts| watts > 95.0);
    if pictures().is_some() {
        // The chart of the picture has the first part and what comes behind it.
        until_watts(&mut browser, "the end of its first part", |watts| watts < 75.0);
        until_watts(&mut browser, "a scene", |watts| watts > 105.0);
    }
    picture(&mut browser, "load");

    browser.press("Force off …");
    browser.press("Force off now");
    until_watts(&mut browser, "a PC that is off again", |watts| watts < 10.0);
    browser.until_said("panel-asked", "succeeded");
    picture(&mut browser, "cut");
    // The demo's layout suits a phone, a desk and a wall.
    for (width, height, scheme) in [(360, 780, "light"), (1280, 800, "dark"), (2560, 1440, "light")] {
        browser.shape(width, height, scheme);
        assert_eq!(browser.overflow(), [""; 0], "{width} px");
        picture(&mut browser, &width.to_string());
    }
    assert_eq!(browser.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}
