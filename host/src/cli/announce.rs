//! What a running command says on standard output.

use std::io::Write;

use serde_json::{Value, json};

/// Says where things are, for a person or as one JSON object per line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcer {
    json: bool,
}

impl Announcer {
    /// With `json`, one object per line.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// The daemon serves.
    pub fn listening(self, url: &str) {
        self.tell(
            &json!({ "event": "listening", "url": url }),
            &format!("The bench is at {url}"),
        );
    }

    /// An emulator is there.
    pub fn sim(self, device: &str, link: &str) {
        self.tell(
            &json!({ "event": "sim", "device": device, "link": link }),
            &format!("The device {device} is simulated on {link}"),
        );
    }

    /// An order for the load was obeyed: whoever gave it waits for that.
    pub fn obeyed(self, order: &str) {
        self.tell(&json!({ "event": "obeyed", "order": order }), order);
    }

    /// One event, whatever the form: as JSON or as its text.
    pub fn tell(self, event: &Value, text: &str) {
        if self.json { self.say(event) } else { line(text) }
    }

    /// One JSON object on one line.
    pub fn say(self, event: &Value) {
        line(&event.to_string());
    }
}

/// Whoever reads may be gone; that is no reason to stop a bench.
fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
