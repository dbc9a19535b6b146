//! The capture of a port: what came over a line, what went out on it, and when, as a file that can be read, kept and played again.
//!
//! One JSON object per line, so that it can be cut, searched and compared with what every system has. The first line is the header:
//!
//! ```json
//! {"format":"autobench-capture","version":1,"device":"meter","port":"main","line":{"baudRate":115200,"dataBits":8,"parity":"none","stopBits":1,"flowControl":"none"},"startedAt":"2026-01-01T00:00:00.000Z"}
//! ```
//!
//! Every other line is a record. All have `kind`, `ns` (the daemon's monotonic clock) and `ms` (milliseconds since 1970):
//!
//! ```json
//! {"kind":"attached","ns":1000,"ms":1767225600000.0,"offset":0,"path":"/dev/ttyUSB0"}
//! {"kind":"received","ns":2000,"ms":1767225600000.5,"offset":0,"text":"#d,-,18,965;\r\n"}
//! {"kind":"sent","ns":3000,"ms":1767225600001.0,"hex":"ff00"}
//! {"kind":"overrun","ns":4000,"ms":1767225600002.0,"from":14,"to":90,"records":3,"reason":"the disk was too slow"}
//! {"kind":"lost","ns":5000,"ms":1767225600003.0,"reason":"the device is gone"}
//! ```
//!
//! Bytes stand as `text` where all of them are printable ASCII, tab, carriage return or line feed, and as `hex` otherwise. Each received byte has the
//! number that it has in the daemon; where numbers are left out an `overrun` says so, and `records` how many records of any kind are missing there.
//!
//! A capture whose last line was cut, because whoever wrote it was killed, is a capture all the same, and says that it is cut. Whatever else is wrong
//! with one is an error that names the line.

mod form;
mod intake;
mod read;

pub(crate) use form::written_line;
pub use form::{Bytes, WrittenLine};
pub use intake::{Intake, WAITING_BYTES};
pub use read::{Capture, CaptureError};

use crate::driver::{CallTime, LineSettings, PortIdentity};

/// What the first line says a file is.
pub const FORMAT: &str = "autobench-capture";

/// The version of the form that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// What was captured, and how the line was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Id of the device.
    pub device: String,
    /// Name of its port.
    pub port: String,
    /// How the line was set when the capture began.
    pub line: LineSettings,
    /// When the capture began, as ISO text.
    pub started_at: String,
}

/// One thing that happened on the port.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When.
    pub at: CallTime,
    /// What.
    pub what: What,
}

/// What can happen on a port.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The device is there.
    Attached {
        /// Number of the first byte of its line.
        offset: u64,
        /// What the system knows of it.
        identity: PortIdentity,
    },
    /// Bytes came.
    Received {
        /// Number of the first.
        offset: u64,
        /// The bytes, at least one.
        data: Vec<u8>,
    },
    /// Bytes were handed to the line.
    Sent {
        /// The bytes, at least one.
        data: Vec<u8>,
    },
    /// The device is gone.
    Lost {
        /// What the system said.
        reason: String,
    },
    /// Something is missing here.
    Overrun {
        /// Number of the first byte that is missing.
        from: u64,
        /// Number of the first byte behind it that is not.
        to: u64,
        /// Records that are missing, those of received bytes among them.
        records: u64,
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod laws;
