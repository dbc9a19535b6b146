//! Writes frames straight into a byte buffer.
//!
//! These are the messages that go out by the thousand: nothing here builds a tree first or copies a text twice. The buffer is the
//! caller's and is only appended to.

use serde::Serialize;

use super::{LogSpan, iso8601};
use crate::driver::Sample;

/// Appends any value as JSON.
pub fn put<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) {
    // Writing to memory cannot fail, and our types have no map with keys that are not texts. Should one ever get such a map, the frame
    // stays well-formed.
    let start = buffer.len();
    if serde_json::to_writer(&mut *buffer, value).is_err() {
        buffer.truncate(start);
        buffer.extend_from_slice(b"null");
    }
}

/// Appends a `state.patch`. `operations` writes the operations, without brackets and with a comma after each; the one that writes
/// `/version` is added here, last.
pub fn state_patch(
    buffer: &mut Vec<u8>,
    from_version: u64,
    to_version: u64,
    operations: impl FnOnce(&mut Vec<u8>),
) {
    buffer.extend_from_slice(b"{\"type\":\"state.patch\",\"fromVersion\":");
    put(buffer, &from_version);
    buffer.extend_from_slice(b",\"toVersion\":");
    put(buffer, &to_version);
    buffer.extend_from_slice(b",\"patch\":[");
    operations(buffer);
    buffer.extend_from_slice(b"{\"op\":\"replace\",\"path\":\"/version\",\"value\":");
    put(buffer, &to_version);
    buffer.extend_from_slice(b"}]}");
}

/// Appends a `state.snapshot` around the document's own bytes.
pub fn state_snapshot(buffer: &mut Vec<u8>, boot_id: &str, state_version: u64, data: &[u8]) {
    buffer.reserve(data.len() + boot_id.len() + 96);
    buffer.extend_from_slice(b"{\"type\":\"state.snapshot\",\"bootId\":");
    put(buffer, boot_id);
    buffer.extend_from_slice(b",\"stateVersion\":");
    put(buffer, &state_version);
    buffer.extend_from_slice(b",\"data\":");
    buffer.extend_from_slice(data);
    buffer.push(b'}');
}

/// Which of the two messages with log entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogsFrame {
    /// `logs.history`.
    History,
    /// `logs.append`.
    Append,
}

/// Appends a message with log entries, each of which is JSON already.
pub fn logs<'a>(
    buffer: &mut Vec<u8>,
    frame: LogsFrame,
    from_seq: u64,
    to_seq: u64,
    missed: Option<LogSpan>,
    entries: impl IntoIterator<Item = &'a [u8]>,
) {
    buffer.extend_from_slice(match frame {
        LogsFrame::History => b"{\"type\":\"logs.history\",\"fromSeq\":",
        LogsFrame::Append => b"{\"type\":\"logs.append\",\"fromSeq\":",
    });
    put(buffer, &from_seq);
    buffer.extend_from_slice(b",\"toSeq\":");
    put(buffer, &to_seq);
    if let Some(missed) = missed {
        buffer.extend_from_slice(b",\"missed\":");
        put(buffer, &missed);
    }
    buffer.extend_from_slice(b",\"entries\":[");
    for (index, entry) in entries.into_iter().enumerate() {
        if index > 0 {
            buffer.push(b',');
        }
        buffer.extend_from_slice(entry);
    }
    buffer.extend_from_slice(b"]}");
}

/// Appends a `telemetry` message and says whether it did. Samples that are not finite have no JSON and are left out; when none remains,
/// nothing is written.
pub fn telemetry(
    buffer: &mut Vec<u8>,
    endpoint_id: u32,
    endpoint: &str,
    unit: &str,
    samples: &[Sample],
) -> bool {
    let mut sound = samples
        .iter()
        .filter(|sample| sample.value.is_finite() && sample.timestamp_ms.is_finite())
        .peekable();
    if sound.peek().is_none() {
        return false;
    }
    buffer.extend_from_slice(b"{\"type\":\"telemetry\",\"endpointId\":");
    put(buffer, &endpoint_id);
    buffer.extend_from_slice(b",\"endpoint\":");
    put(buffer, endpoint);
    buffer.extend_from_slice(b",\"unit\":");
    put(buffer, unit);
    buffer.extend_from_slice(b",\"samples\":[");
    let mut newest = Sample {
        timestamp_ms: 0.0,
        value: 0.0,
    };
    for (index, sample) in sound.enumerate() {
        buffer.extend_from_slice(if index > 0 { b",[" } else { b"[" });
        number(buffer, sample.timestamp_ms);
        buffer.push(b',');
        number(buffer, sample.value);
        buffer.push(b']');
        newest = *sample;
    }
    buffer.extend_from_slice(b"],\"value\":");
    number(buffer, newest.value);
    buffer.extend_from_slice(b",\"timestamp\":\"");
    // A negative time is before 1970 and becomes 0; a fraction of a millisecond is dropped, as the format has no place for it.
    buffer.extend_from_slice(iso8601(newest.timestamp_ms as u64).as_bytes());
    buffer.extend_from_slice(b"\"}");
    true
}

/// A number in its shortest form: `50` and not `50.0`, which is the same number to every reader of JSON.
fn number(buffer: &mut Vec<u8>, value: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.trunc() == value && value.abs() < EXACT {
        put(buffer, &(value as i64));
    } else {
        put(buffer, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ServerMessage;

    fn read(bytes: &[u8]) -> ServerMessage {
        serde_json::from_slice(bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
    }

    #[test]
    fn telemetry_is_what_its_type_says() {
        let mut buffer = Vec::new();
        let samples = [
            Sample {
                timestamp_ms: 1_767_225_600_000.0,
                value: 96.5,
            },
            Sample {
                timestamp_ms: 1_767_225_600_100.0,
                value: f64::NAN,
            },
            Sample {
                timestamp_ms: 1_767_225_601_000.0,
                value: 50.0,
            },
        ];
        assert!(telemetry(&mut buffer, 1, "meter.watts", "W", &samples));
        assert_eq!(
            String::from_utf8(buffer.clone()).unwrap(),
            r#"{"type":"telemetry","endpointId":1,"endpoint":"meter.watts","unit":"W","samples":[[1767225600000,96.5],[1767225601000,50]],"value":50,"timestamp":"2026-01-01T00:00:01.000Z"}"#
        );
        let ServerMessage::Telemetry(message) = read(&buffer) else {
            panic!("no telemetry")
        };
        assert_eq!(
            message.samples,
            [(1_767_225_600_000.0, 96.5), (1_767_225_601_000.0, 50.0)]
        );
    }

    #[test]
    fn samples_that_are_no_numbers_make_no_frame() {
        let mut buffer = b"before".to_vec();
        assert!(!telemetry(
            &mut buffer,
            1,
            "a",
            "W",
            &[Sample {
                timestamp_ms: 0.0,
                value: f64::INFINITY
            }]
        ));
        assert!(!telemetry(&mut buffer, 1, "a", "W", &[]));
        assert_eq!(buffer, b"before");
    }

    #[test]
    fn logs_are_what_their_type_says() {
        let entry =
            br#"{"seq":4,"ts":1,"channel":"app","emoji":"x","level":"warn","message":"m","color":"green"}"#;
        let mut buffer = Vec::new();
        let missed = LogSpan {
            from_seq: 1,
            to_seq: 3,
        };
        logs(
            &mut buffer,
            LogsFrame::Append,
            1,
            5,
            Some(missed),
            [&entry[..], &entry[..]],
        );
        let ServerMessage::LogsAppend(range) = read(&buffer) else {
            panic!("no logs.append")
        };
        assert_eq!(
            (range.from_seq, range.to_seq, range.missed, range.entries.len()),
            (1, 5, Some(missed), 2)
        );
        buffer.clear();
        logs(&mut buffer, LogsFrame::History, 1, 0, None, []);
        assert_eq!(
            buffer,
            br#"{"type":"logs.history","fromSeq":1,"toSeq":0,"entries":[]}"#
        );
        assert!(matches!(read(&buffer), ServerMessage::LogsHistory(_)));
    }

    #[test]
    fn a_patch_ends_with_the_version() {
        let mut buffer = Vec::new();
        state_patch(&mut buffer, 12, 14, |buffer| {
            buffer.extend_from_slice(br#"{"op":"remove","path":"/a"},"#);
        });
        assert_eq!(
            buffer,
            br#"{"type":"state.patch","fromVersion":12,"toVersion":14,"patch":[{"op":"remove","path":"/a"},{"op":"replace","path":"/version","value":14}]}"#
        );
        assert!(matches!(read(&buffer), ServerMessage::StatePatch(_)));
    }
}
