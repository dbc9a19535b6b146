//! From a port's thread into a driver's inbox. What comes too fast for the driver is lost here, counted, and told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench_core::driver::{InputSignals, Lease, LogLevel, PortIdentity, PortIndex, SharedInbox};

use super::health::Health;
use super::leases::UndoneHolds;
use super::record::{DeviceRecord, attached_port};
use crate::bucket::Lines;
use crate::clock::Clock;
use crate::logs::{LogHandle, LogRecord};
use crate::serial::PortEvents;

/// How often lost bytes of one port are told at most; in between they are added up.
const OVERRUN_LOG_SPACING: Duration = Duration::from_secs(5);

/// Feeds one port's events into a driver's inbox. Runs on the port's thread.
pub struct InboxFeed {
    /// Where they go.
    pub inbox: SharedInbox,
    /// Which of the driver's ports it is.
    pub port: PortIndex,
    /// Its name.
    pub name: Arc<str>,
    /// Its device.
    pub device: Arc<str>,
    /// The device's entry in the state.
    pub record: DeviceRecord,
    /// The log.
    pub logs: LogHandle,
    /// Who hears of holds that are undone.
    pub holds: UndoneHolds,
    /// The device's counters.
    pub health: Arc<Health>,
    /// The clock.
    pub clock: Clock,
    /// What the log is told of lost bytes, so that a driver that is down does not flood it: see [`overrun_lines`].
    pub overruns: Lines,
}

/// Lost bytes are told at once, and then added up.
pub fn overrun_lines() -> Lines {
    Lines::one_in(OVERRUN_LOG_SPACING, 1, Instant::now())
}

impl InboxFeed {
    fn note_overrun(&mut self, lost: Option<std::ops::Range<u64>>) {
        let Some(lost) = lost else { return };
        let count = lost.end.saturating_sub(lost.start);
        self.health.overrun_bytes.add(count);
        // No driver is too slow for them: its thread has ended, which was said then, and a line that goes on sending would say it without end.
        if self.inbox.is_abandoned() {
            return;
        }
        if let Some(total) = self.overruns.say_sum(count, Instant::now()) {
            let message = format!(
                "port {}: {total} bytes up to number {} came faster than the driver took them and are lost",
                self.name, lost.end
            );
            self.logs
                .append(LogRecord::new("device", LogLevel::Warn, message).of_device(&*self.device));
        }
    }
}

impl PortEvents for InboxFeed {
    fn attached(&mut self, identity: Arc<PortIdentity>) {
        self.record.change(|entry| {
            entry
                .ports
                .insert(self.name.to_string(), attached_port(&identity));
        });
        let lost = self.inbox.attach(self.port, identity);
        self.note_overrun(lost);
    }

    fn bytes(&mut self, data: &[u8]) {
        self.health.bytes_in.add(data.len() as u64);
        let lost = self.inbox.push_bytes(self.port, data, self.clock.now());
        self.note_overrun(lost);
    }

    fn lost(&mut self, reason: &str) {
        self.record.change(|entry| {
            if let Some(port) = entry.ports.get_mut(&*self.name) {
                port.attached = false;
            }
        });
        let lost = self.inbox.lose(self.port, reason);
        self.note_overrun(lost);
    }

    fn drained(&mut self) {
        self.inbox.transmit_drained(self.port);
    }

    fn undone(&mut self, lease: &Lease) {
        self.holds.undone(&self.name, lease);
    }

    fn line_error(&mut self, reason: &str) {
        self.inbox.line_error(self.port, reason);
    }

    fn lines_changed(&mut self, signals: InputSignals) {
        self.inbox.lines_changed(self.port, signals);
    }
}

#[cfg(test)]
mod tests {
    use autobench_core::driver::PortSetup;
    use autobench_core::state::Store;
    use autobench_core::wire::AppState;

    use super::super::leases::LeaseJournal;
    use super::super::record::tests::probe;
    use super::*;
    use crate::config::LogConfig;
    use crate::state::{StateConfig, StateHandle};

    #[tokio::test]
    async fn bytes_for_a_thread_that_has_ended_are_counted_and_not_told() {
        let store = Store::new(&AppState::default()).unwrap();
        let state = StateHandle::start(store, StateConfig::new("boot"));
        let logs = LogHandle::new(LogConfig::silent(10));
        let folder = tempfile::tempdir().unwrap();
        let inbox = SharedInbox::new([PortSetup {
            name: "main".into(),
            ring_capacity_bytes: 4,
        }]);
        let record = DeviceRecord::publish(state, "probe", probe());
        let mut feed = InboxFeed {
            inbox: inbox.clone(),
            port: PortIndex(0),
            name: "main".into(),
            device: "probe".into(),
            health: Arc::clone(record.health()),
            record,
            logs: logs.clone(),
            holds: UndoneHolds {
                journal: LeaseJournal::open(folder.path(), "probe", Vec::new()).0,
                device: "probe".into(),
                logs: logs.clone(),
            },
            clock: Clock::start(),
            // Nothing is held back.
            overruns: Lines::one_in(Duration::ZERO, 1, Instant::now()),
        };
        let lines = || logs.history(10).entries.len();
        feed.bytes(&[1; 4]);
        assert_eq!(lines(), 0);
        feed.bytes(&[2; 4]);
        assert_eq!((lines(), feed.health.overrun_bytes.get()), (1, 4));
        inbox.abandon();
        feed.bytes(&[3; 4]);
        assert_eq!((lines(), feed.health.overrun_bytes.get()), (1, 8));
    }
}
