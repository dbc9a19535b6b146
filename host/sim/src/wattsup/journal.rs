//! What became of each row: the records of the meter's journal.
//!
//! There is one line of JSON per row, written when it is settled, which is when the host has read the row's last byte or never will. Lines are
//! nearly in the order of rows: a row that was lost at once is written before one that still waits to be read. The last line sums up.

use super::fault::Fault;
use serde::Serialize;
use std::time::Duration;

/// How a driver should have read a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A packet like any other, whatever stood between its bytes or around them.
    Good,
    /// Its head is damaged, but all its values are there and nothing stands between it and the end of the packet before.
    Headless,
    /// No driver can have it.
    Lost,
}

/// Why no driver can have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostReason {
    /// The cable was out.
    Unplugged,
    /// Nobody had the port open.
    NobodyThere,
    /// Somebody had opened the port and not yet written anything, so its flush at open may still come.
    Unheard,
    /// The meter had fallen silent.
    Silence,
    /// Its bytes make no sense.
    Damaged,
    /// The two ends of the line did not use the same rate.
    WrongBaud,
    /// The cable was pulled in the middle of it.
    Cut,
    /// The host told the meter to drop what it had not sent.
    Aborted,
    /// It lay in the terminal when the host closed the port, or when the cable was pulled.
    Unread,
    /// The host read so slowly that there was no room for it.
    Overrun,
    /// The emulator ended.
    Stopped,
}

/// What became of a row: a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The row's number, which its Wh field carries.
    pub row: u64,
    /// Simulated time since power-on.
    pub t_ms: u64,
    /// How a driver should have read it.
    pub verdict: Verdict,
    /// Whether its own bytes were changed: some added between them, some lost, some replaced.
    pub altered: bool,
    /// The fault that struck it, if one did.
    pub fault: Option<Fault>,
    /// Why it was lost, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<LostReason>,
    /// Tenths of watts, as the row says.
    pub deciwatts: u64,
}

impl Record {
    pub(crate) fn new(row: u64, at: Duration, deciwatts: u64) -> Self {
        Self {
            row,
            t_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            verdict: Verdict::Good,
            altered: false,
            fault: None,
            reason: None,
            deciwatts,
        }
    }

    pub(crate) fn headless(self) -> Self {
        Self {
            verdict: Verdict::Headless,
            altered: true,
            ..self
        }
    }

    pub(crate) fn lost(self, reason: LostReason) -> Self {
        Self {
            verdict: Verdict::Lost,
            reason: Some(reason),
            ..self
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How many rows ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Rows that the meter made.
    pub rows: u64,
    /// Of these, good ones.
    pub good: u64,
    /// Of these, headless ones.
    pub headless: u64,
    /// Of these, lost ones. What is missing to `rows` waits to be read.
    pub lost: u64,
    /// The newest row that is good or headless; 0 before the first.
    pub newest_readable: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, record: &Record) {
        match record.verdict {
            Verdict::Good => self.good += 1,
            Verdict::Headless => self.headless += 1,
            Verdict::Lost => self.lost += 1,
        }
        if record.verdict != Verdict::Lost {
            self.newest_readable = self.newest_readable.max(record.row);
        }
    }
}
