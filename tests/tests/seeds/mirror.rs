//! A mirror that holds the whole state and computes nothing of its own: `replaceSnapshot` and `applyPatch`, a list of log entries, and a pane
//! that shows the power meter and keeps averages while it records.

use e2e::{call, canonical, eventually};
use serde_json::{Value, json};

use super::common::{Socket, with_meter};

/// `useMirror`.
#[derive(Default)]
struct Mirror {
    version: u64,
    data: Value,
}

impl Mirror {
    fn replace_snapshot(&mut self, message: &Value) {
        self.version = message["stateVersion"].as_u64().expect("stateVersion");
        self.data = message["data"].clone();
    }

    fn apply_patch(&mut self, message: &Value) {
        assert_eq!(message["fromVersion"].as_u64(), Some(self.version));
        let patch: json_patch::Patch = serde_json::from_value(message["patch"].clone()).expect("RFC 6902");
        json_patch::patch(&mut self.data, &patch).expect("the patch applies");
        self.version = message["toVersion"].as_u64().expect("toVersion");
    }
}

/// The page: bootstrap, mirror, logs.
struct Page {
    ws: Socket,
    mirror: Mirror,
    logs: Vec<Value>,
    types: Vec<String>,
}

impl Page {
    async fn bootstrap(url: &str) -> Self {
        let mut ws = Socket::open(url).await.expect("the socket opens");
        ws.send(&json!({"type": "hello"})).await;
        ws.send(&json!({"type": "subscribe", "payload": {"includeSnapshot": true, "logsHistory": 100}}))
            .await;
        Self {
            ws,
            mirror: Mirror::default(),
            logs: Vec::new(),
            types: Vec::new(),
        }
    }

    async fn on_message(&mut self) {
        let message = self.ws.next().await;
        let kind = message["type"].as_str().expect("a type").to_owned();
        match kind.as_str() {
            "state.snapshot" => self.mirror.replace_snapshot(&message),
            "state.patch" => self.mirror.apply_patch(&message),
            "logs.history" | "logs.append" => self
                .logs
                .extend(message["entries"].as_array().expect("entries").clone()),
            _ => {}
        }
        self.types.push(kind);
    }

    /// What the pane of the power meter reads.
    fn power_meter(&self) -> &Value {
        &self.mirror.data["powerMeter"]
    }
}

#[tokio::test]
async fn a_mirror_shows_the_meter_and_is_the_daemons_document() {
    let (bench, mut sim) = with_meter(31);
    let daemon = bench.start();
    let mut page = Page::bootstrap(&format!("ws://{}/ws", daemon.address())).await;

    // The pane records ten readings, with live averages.
    let mut recorded: Vec<f64> = Vec::new();
    let mut last = Value::Null;
    while recorded.len() < 10 {
        page.on_message().await;
        let meter = page.power_meter();
        if meter["phase"] == "streaming" && !meter["lastSample"].is_null() && meter["lastSample"] != last {
            last = meter["lastSample"].clone();
            let watts = last["watts"].as_f64().expect("watts");
            assert!(last["volts"].is_number() && last["amps"].is_number(), "{last}");
            assert!(last["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')), "{last}");
            recorded.push(watts);
            let average = recorded.iter().sum::<f64>() / recorded.len() as f64;
            assert!((20.0..200.0).contains(&average), "{average} W");
        }
    }
    let stats = &page.power_meter()["stats"];
    assert!(stats["totalSamples"].as_u64() >= Some(10), "{stats}");
    assert!(stats["bytesReceived"].as_u64() > Some(100), "{stats}");
    assert!(
        stats["lastSampleAt"].as_u64() > Some(1_700_000_000_000),
        "{stats}"
    );
    assert!(
        stats["lastErrorAt"].is_null() || stats["lastErrorAt"].is_u64(),
        "{stats}"
    );

    // welcome first, then the whole state, then the log; and the answer to `subscribe` is once more both.
    let first = |kind: &str| page.types.iter().position(|known| known == kind).expect(kind);
    assert!(first("welcome") < first("state.snapshot") && first("state.snapshot") < first("logs.history"));
    assert_eq!(
        page.types.iter().filter(|kind| *kind == "state.snapshot").count(),
        2
    );
    assert!(
        page.logs
            .iter()
            .all(|entry| entry["seq"].is_u64() && entry["message"].is_string())
    );
    for member in [
        "version",
        "meta",
        "layout",
        "message",
        "serverConfig",
        "powerMeter",
    ] {
        assert!(page.mirror.data.get(member).is_some(), "{member}");
    }

    // A text and a layout for everybody are the daemon's too: they are mirrored like the meter, by nobody's computation.
    let panes = page.mirror.data["layout"]["panes"].clone();
    let layout = json!({"rows": 3, "cols": 2, "panes": panes});
    for (path, body) in [
        ("/api/v1/message", &json!({"message": "calibrated"})),
        ("/api/v1/layout", &layout),
    ] {
        let answer = call(daemon.address(), "PUT", path, "", Some(body)).await;
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    }
    while page.mirror.data["message"] != "calibrated" || page.mirror.data["layout"]["rows"] != 3 {
        page.on_message().await;
    }

    // The meter is unplugged: the phase says so.
    sim.ask("unplug");
    while page.power_meter()["phase"] != "disconnected" {
        page.on_message().await;
    }
    eventually("the mirror and the daemon at one version", async || {
        let state = daemon.state().await;
        while Some(page.mirror.version) < state["version"].as_u64() {
            page.on_message().await;
        }
        (Some(page.mirror.version) == state["version"].as_u64())
            .then(|| assert_eq!(canonical(&page.mirror.data), canonical(&state)))
    })
    .await;
    assert!(daemon.stop().success());
}
