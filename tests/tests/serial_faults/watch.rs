//! One device as a client of the daemon sees it: its phases, and the lines of log that it is worth.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use autobench_sim::bench::Device;
use e2e::{Client, PATIENCE};
use serde_json::Value;

use super::fault::{Good, Kind, Line};

/// How often the emulator is asked whether its board has been identified.
const LOOK: Duration = Duration::from_millis(10);

/// A client that follows one device.
pub(crate) struct Watch {
    client: Client,
    id: &'static str,
    goal: &'static str,
    phase: String,
    /// How often the line was seen to be away.
    losses: usize,
}

/// A fault and what came of it.
#[derive(Debug)]
pub(crate) struct Window {
    #[expect(dead_code, reason = "for whoever reads of one that failed")]
    pub(crate) id: &'static str,
    pub(crate) kind: Kind,
    #[expect(dead_code, reason = "for whoever reads of one that failed")]
    pub(crate) number: usize,
    /// From the moment when the line was good.
    pub(crate) back: Duration,
    /// Of this, how long the machine stood still, as far as this story can tell.
    pub(crate) stalled: Duration,
}

impl Watch {
    pub(crate) fn new(client: Client, id: &'static str, goal: &'static str) -> Self {
        let mut watch = Self {
            client,
            id,
            goal,
            phase: LOST.to_owned(),
            losses: 0,
        };
        watch.note();
        watch
    }

    pub(crate) fn id(&self) -> &'static str {
        self.id
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Takes what the daemon tells while something else goes on.
    pub(crate) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        loop {
            tokio::select! {
                biased;
                outcome = &mut other => return outcome,
                _ = self.client.next() => self.note(),
            }
        }
    }

    pub(crate) async fn until_back(&mut self, line: &Line) {
        self.until_back_since(line, Good::now()).await;
    }

    /// Waits until the device is back, and says how long after the line was good that was.
    pub(crate) async fn until_back_since(&mut self, line: &Line, good: Good) -> Duration {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.phase == self.goal && self.is_live(line, good) {
                return good.at.elapsed();
            }
            assert!(
                Instant::now() < deadline,
                "{} is not back: {:#}",
                self.id,
                self.client.mirror.document
            );
            self.beside(tokio::time::sleep(LOOK)).await;
        }
    }

    /// Whether the phase is true: a row has come since, or the board knows that it is identified.
    fn is_live(&self, line: &Line, good: Good) -> bool {
        if line.device == Device::PowerMeter {
            let last = self.client.member("/powerMeter/stats/lastSampleAt");
            return last.and_then(Value::as_u64).is_some_and(|at| at > good.wall_ms);
        }
        line.is_identified()
    }

    /// Ends the client, which nobody would read any more, and keeps what it has heard.
    pub(crate) fn finish(self) -> Log {
        Log {
            id: self.id,
            goal: self.goal,
            entries: self.client.logs,
            missed: self.client.missed_logs,
            losses_seen: self.losses,
        }
    }

    fn note(&mut self) {
        let pointer = format!("/devices/{}/phase", self.id);
        let Some(phase) = self.client.member(&pointer).and_then(Value::as_str) else {
            return;
        };
        if phase != self.phase {
            self.losses += usize::from(phase == LOST);
            phase.clone_into(&mut self.phase);
        }
    }
}

/// What a client has heard of the log, and seen of the phases.
pub(crate) struct Log {
    id: &'static str,
    goal: &'static str,
    entries: BTreeMap<u64, Value>,
    missed: Vec<(u64, u64)>,
    /// How often it saw that the line was away.
    losses_seen: usize,
}

impl Log {
    /// At most one line of log for each change of the phase: each line is one of those that tell of a change, and none tells of the phase that the
    /// one before has told of already. Counting the changes in the state would not do, because a flush joins what happens in one moment.
    pub(crate) fn check_lines(&self, cuts: usize) {
        assert_eq!(self.missed, [], "entries of the log are missing");
        let lines = self.entries.values().filter(|entry| entry["tag"] == self.id);
        let mut told: Vec<(&str, &str)> = Vec::new();
        for entry in lines.filter(|entry| entry["level"] != "debug") {
            let message = entry["message"].as_str().unwrap_or_default();
            if is_of_the_pc(message) {
                continue;
            }
            let phase = phase_of(message, self.goal);
            let phase =
                phase.unwrap_or_else(|| panic!("{}: a line that tells of no change: {entry}", self.id));
            let last = told.last();
            assert!(
                last.is_none_or(|(last, _)| *last != phase),
                "{}: {message:?} tells what {last:?} has told",
                self.id
            );
            told.push((phase, message));
        }
        assert_eq!(told.last().map(|(phase, _)| *phase), Some(self.goal), "{told:#?}");
        let lost = told.iter().filter(|(phase, _)| *phase == LOST).count();
        assert!(
            (self.losses_seen..=cuts).contains(&lost),
            "{}: {lost} losses are told, {} were seen, and {cuts} made",
            self.id,
            self.losses_seen
        );
    }

    /// Nothing else has gone wrong.
    pub(crate) fn check_others(&self, devices: &[&str]) {
        let is_wrong = |entry: &&Value| {
            let is_of_device = entry["tag"].as_str().is_some_and(|tag| devices.contains(&tag));
            match entry["level"].as_str() {
                Some("error" | "fatal") => true,
                Some("warn") => !is_of_device,
                _ => false,
            }
        };
        let wrong: Vec<_> = self.entries.values().filter(is_wrong).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

const LOST: &str = "disconnected";

/// Which phase a line of the log tells of.
fn phase_of(message: &str, goal: &'static str) -> Option<&'static str> {
    let parts = [
        (" is lost: ", LOST),
        (" is open: ", "asked"),
        ("; identifying ", "asked"),
        ("; asking again every few seconds", "error"),
        (" is identified", goal),
        (": streaming, ", goal),
    ];
    let found = parts.into_iter().find(|(part, _)| message.contains(part));
    found.map(|(_, phase)| phase)
}

/// What the PC does, what becomes of a command, and the start of the driver are no news of the line.
fn is_of_the_pc(message: &str) -> bool {
    ["the PC is ", "press ", "power ", "driver is live"]
        .iter()
        .any(|other| message.starts_with(other))
}

/// Now, as the daemon's log has it.
pub(crate) fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}
