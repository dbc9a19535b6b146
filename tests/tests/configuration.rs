//! The configuration as an engineer meets it: all mistakes at once, each with its place and what to write instead; a bad edit that changes
//! nothing; a good edit that touches only its driver.
#![expect(clippy::unwrap_used, reason = "helpers of a story: what is missing fails it")]

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{Artifacts, Bench, DeviceEntry, Neighbours, Probe, Sim, Terminal, variant_of};
use serde_json::{Value, json};

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let bench = Bench::new();
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    let text = "\
[daemon]
listen = \"127.0.0.1:0\"
plugins-dir = \"plugins\"
lisen = \"127.0.0.1:1\"

[devices.meter]
plugin = \"power-metr\"
[devices.meter.ports.main]
path = \"/dev/ttyUSB0\"

[devices.other]
plugin = \"power-meter\"
slice = \"meter\"
[devices.other.ports.main]
path = \"/dev/ttyUSB0\"
baud-rate = \"fast\"
";
    std::fs::write(bench.config(), text).unwrap();
    let output = Command::new(&bench.artifacts.binary)
        .arg("check-config")
        .arg(bench.config())
        .output()
        .expect("the check runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for (place, words) in [
        ("plugins.toml:4", "lisen"),
        ("plugins.toml:7", "power-meter"),
        ("plugins.toml:13", "slice"),
        ("plugins.toml:15", "a line of its own"),
        ("plugins.toml:16", "baud-rate"),
    ] {
        let found = said
            .lines()
            .any(|line| line.contains(place) && line.contains(words));
        assert!(found, "{place} with {words:?} is not in:\n{said}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let bench = Bench::new();
    bench.configure(&[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(&bench.artifacts.binary)
        .args(["serve", "--listen", &address, "--config"])
        .arg(bench.config())
        .output()
        .expect("the daemon runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is in use") && said.contains("--listen"), "{said}");
}

#[tokio::test]
async fn what_a_plugin_has_against_its_entry_is_told_before_anything_runs() {
    let bench = Bench::new();
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    let config = bench.config().display().to_string();
    let folder = bench.folder().display().to_string();
    bench.configure(&[
        DeviceEntry {
            more: "[devices.meter.settings]\ninterval-s = \"often\"\n".to_owned(),
            ..DeviceEntry::without_port("meter", "power-meter")
        },
        DeviceEntry::new("other", "power-meter", bench.folder()),
    ]);
    let checked = bench.run(&["check-config", &config]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let told = |text: &str, device: &str, words: &str| {
        let is_it = |line: &str| line.contains(&format!("\"{device}\"")) && line.contains(words);
        assert!(text.lines().any(is_it), "{device} {words}: {text}");
    };
    told(&checked.errors, "meter", "it needs the port \"main\"");
    told(&checked.errors, "meter", "its settings are refused: /interval-s");
    told(&checked.errors, "other", "is a folder");
    let json = bench.run(&["--json", "check-config", &config]).await;
    let problems = json.lines()[0]["problems"].clone();
    assert_eq!(problems.as_array().map(Vec::len), Some(3), "{problems}");
    assert_eq!(problems[0]["code"], "misfit");

    bench.configure(&[]);
    let before = std::fs::read_to_string(bench.config()).unwrap();
    let enable = async |ports: &[&str]| {
        let command = ["plugin", "enable", "power-meter", "--device", "meter"];
        bench
            .run(&[&command, ports, &["--config", &config]].concat())
            .await
    };
    let in_a_folder = format!("main={folder}");
    for (ports, words) in [
        (&[][..], "it needs the port \"main\""),
        (
            &["--port", "aux=/dev/null"],
            "names a port that power-meter does not have",
        ),
        (&["--port", &in_a_folder], "is a folder"),
    ] {
        let refused = enable(ports).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.errors.contains(words), "{refused:?}");
        assert_eq!(std::fs::read_to_string(bench.config()).unwrap(), before);
    }
    // A line that is away may come.
    let good = enable(&["--port", "main=/dev/ttyUSB77"]).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    let checked = bench.run(&["check-config", &config]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn wrong_usage_ends_with_two() {
    let artifacts = Artifacts::find();
    let status = Command::new(&artifacts.binary)
        .arg("srve")
        .output()
        .expect("it runs")
        .status;
    assert_eq!(status.code(), Some(2));
}

#[tokio::test]
async fn an_edit_touches_only_the_driver_whose_entry_changed() {
    let Neighbours {
        bench,
        sim: _sim,
        mut line,
        meter,
        probe,
        daemon: _daemon,
        mut client,
    } = Neighbours::start("counter", 5).await;
    let generation = client.member("/devices/meter/driver/generation").cloned();

    // A bad edit changes nothing, and says so.
    let good = std::fs::read_to_string(bench.config()).unwrap();
    bench.write_config(&good.replace("plugin =", "plugn ="));
    client
        .until("the refusal", |client| {
            client
                .member("/message")?
                .as_str()?
                .contains("not used")
                .then_some(())
        })
        .await;
    client
        .until("the reason", |client| client.has_logged("plugn").then_some(()))
        .await;
    line.send(b"1\n");
    client.until_member("/probe/bytes", &json!(2)).await;
    bench.write_config(&good);
    client.until_member("/message", &json!("")).await;

    // A device goes, another has new settings, and the meter notices neither.
    bench.configure(&[DeviceEntry {
        more: "[devices.meter.settings]\ninterval-s = 2\n".to_owned(),
        ..meter.clone()
    }]);
    client
        .until_member("/devices/probe/status", &json!("stopped"))
        .await;
    client
        .until("the new settings", |client| {
            client.has_logged("has new settings").then_some(())
        })
        .await;
    assert_eq!(
        client.member("/devices/meter/driver/generation"),
        generation.as_ref()
    );
    bench.configure(&[meter, probe]);
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
    assert_eq!(
        client.member("/devices/meter/driver/generation"),
        generation.as_ref()
    );
    // A swap after all this behaves like any other.
    bench.install(
        "power-meter",
        &variant_of(&bench.artifacts.plugin("power-meter"), 1),
    );
    client
        .until_member("/devices/meter/driver/lastReload/verdict", &json!("swapped"))
        .await;
    assert!(
        client
            .member("/devices/meter/driver/generation")
            .and_then(Value::as_u64)
            > generation.as_ref().and_then(Value::as_u64)
    );
}

#[tokio::test]
async fn slices_that_change_hands_in_one_edit_are_their_new_drivers_alone() {
    let bench = Bench::new();
    bench.install("counter", &bench.artifacts.fixture("counter"));
    let link = |id: &str| bench.folder().join(id);
    let (mut left, mut right) = (Terminal::create(&link("left")), Terminal::create(&link("right")));
    let mut devices = ["left", "right"].map(|id| DeviceEntry::new(id, "counter", &link(id)));
    bench.configure(&devices);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    for slice in ["left", "right"] {
        client
            .until_member(&format!("/{slice}/attached"), &json!(true))
            .await;
    }
    devices[0].slice = "right".to_owned();
    devices[1].slice = "left".to_owned();
    bench.configure(&devices);
    for (device, slice) in [("left", "right"), ("right", "left")] {
        client
            .until_member(&format!("/devices/{device}/slice"), &json!(slice))
            .await;
        client
            .until_member(&format!("/devices/{device}/phase"), &json!("ready"))
            .await;
    }
    // Nothing has come from either device: what is there is what its driver said when it started.
    for slice in ["left", "right"] {
        client
            .until_member(&format!("/{slice}/attached"), &json!(true))
            .await;
    }
    left.send(b"one\n");
    right.send(b"two\ntwo\n");
    client.until_member("/right/lastLine", &json!("one")).await;
    client.until_member("/left/lines", &json!(2)).await;
    assert_eq!(client.member("/right/lines"), Some(&json!(1)));
    assert_eq!(client.member("/left/lastLine"), Some(&json!("two")));
}

#[tokio::test]
async fn an_edit_is_noticed_by_whatever_name_the_file_was_given() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let _line = Terminal::create(&link);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.configure(&[]);
    let daemon = bench.start_in_folder();
    let mut client = daemon.client().await;
    bench.configure(&[DeviceEntry::new("probe", "counter", &link)]);
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
    client
        .until("its pane", |client| {
            let panes = client.member("/layout/panes")?.as_array()?;
            panes.iter().any(|pane| pane["device"] == "probe").then_some(())
        })
        .await;
    // A folder of further files that comes while the daemon runs is read like one that was there.
    let more = bench.folder().join("plugins.d");
    std::fs::create_dir(&more).unwrap();
    client
        .until("the folder is noticed", |client| {
            client.has_logged("configuration is read").then_some(())
        })
        .await;
    let second = bench.folder().join("second");
    let _second = Terminal::create(&second);
    let text = format!(
        "[devices.second]\nplugin = \"counter\"\n[devices.second.ports.main]\npath = \"{}\"\n",
        second.display()
    );
    std::fs::write(more.join("second.toml"), text).unwrap();
    client
        .until_member("/devices/second/status", &json!("running"))
        .await;
}

#[tokio::test]
async fn a_file_that_is_being_written_stops_nothing() {
    // A file that is empty for longer than that is taken at its word: a machine that needed as long to write it says nothing, and tries once more.
    const AT_ITS_WORD: Duration = Duration::from_secs(1);
    for _ in 0..20 {
        let probe = Probe::start("counter").await;
        if write_in_pieces(probe, AT_ITS_WORD).await {
            return;
        }
    }
    panic!("the machine is too slow for this");
}

/// False if the file was empty for too long.
async fn write_in_pieces(probe: Probe, at_its_word: Duration) -> bool {
    let Probe {
        bench,
        mut line,
        daemon: _daemon,
        mut client,
    } = probe;
    line.send(b"1\n");
    client.until_member("/probe/bytes", &json!(2)).await;
    let generation = client.member("/devices/probe/driver/generation").cloned();
    let good = std::fs::read_to_string(bench.config()).unwrap();
    // A tool that empties the file and takes its time to write it, as seen by a daemon that reads in between.
    let begin = Instant::now();
    std::fs::write(bench.config(), "").unwrap();
    client
        .until("the doubt", |client| {
            client.has_logged("may be half written").then_some(())
        })
        .await;
    std::fs::write(bench.config(), &good).unwrap();
    if begin.elapsed() >= at_its_word {
        return false;
    }
    client
        .until("the file is read again", |client| {
            client.has_logged("configuration is read").then_some(())
        })
        .await;
    line.send(b"2\n");
    client.until_member("/probe/bytes", &json!(4)).await;
    assert_eq!(
        client.member("/devices/probe/driver/generation"),
        generation.as_ref()
    );
    true
}

#[tokio::test]
async fn settings_that_are_refused_are_named_at_once_and_the_driver_starts_when_they_are_corrected() {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 6, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    let meter = DeviceEntry::meter(sim.link());
    bench.configure(&[DeviceEntry {
        more: "[devices.meter.settings]\ninterval-s = \"often\"\n".to_owned(),
        ..meter.clone()
    }]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client
        .until_member("/devices/meter/status", &json!("refused"))
        .await;
    let reason = client
        .member("/devices/meter/reason")
        .and_then(Value::as_str)
        .unwrap();
    assert!(
        reason.contains("its settings are refused") && reason.contains("[devices.meter] in plugins.toml"),
        "{reason}"
    );
    client
        .until("the log says so too", |client| {
            client.has_logged("driver does not start").then_some(())
        })
        .await;
    assert!(
        !client.has_logged("started again in"),
        "another start would end the same"
    );
    bench.configure(&[meter]);
    client
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
}
