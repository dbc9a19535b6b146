//! Reading a capture, held to what a port can have done.

use super::{Header, Record, What};

/// A capture that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// Its first line.
    pub header: Header,
    /// The others.
    pub records: Vec<Record>,
    /// Whether its last line was cut and is left out: whoever wrote it was killed over it.
    pub is_cut: bool,
}

/// What is wrong with a capture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct CaptureError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl Capture {
    /// Reads a whole file.
    pub fn parse(bytes: &[u8]) -> Result<Self, CaptureError> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate();
        let at = |index: usize| {
            move |problem| CaptureError {
                line: index + 1,
                problem,
            }
        };
        let Some((_, first)) = lines.next() else {
            return Err(at(0)(
                "the file is empty, and a capture begins with a header".to_owned(),
            ));
        };
        let header = Header::parse(trimmed(first)).map_err(at(0))?;
        let mut records = Vec::new();
        let mut order = Order {
            ns: 0,
            next_offset: None,
            attached: Some(false),
        };
        for (index, line) in lines {
            let record = match Record::parse(trimmed(line)) {
                Ok(record) => record,
                // An object that lacks its end is never one.
                Err(_) if !line.ends_with(b"\n") && is_cut(line) => {
                    return Ok(Self {
                        header,
                        records,
                        is_cut: true,
                    });
                }
                Err(problem) => return Err(at(index)(problem)),
            };
            order.follow(&record).map_err(at(index))?;
            records.push(record);
        }
        Ok(Self {
            header,
            records,
            is_cut: false,
        })
    }

    /// The whole file.
    pub fn to_text(&self) -> String {
        let lines = std::iter::once(self.header.to_line()).chain(self.records.iter().map(Record::to_line));
        lines.flat_map(|line| [line, "\n".to_owned()]).collect()
    }
}

/// What a record has to follow on.
struct Order {
    ns: u64,
    /// None before the first record that says it.
    next_offset: Option<u64>,
    /// None where records are missing that may have said something else.
    attached: Option<bool>,
}

impl Order {
    fn follow(&mut self, record: &Record) -> Result<(), String> {
        let ns = record.at.monotonic_ns;
        if ns < self.ns {
            return Err(format!(
                "its time, {ns} ns, is before that of the record above it, {} ns",
                self.ns
            ));
        }
        if !record.at.wall_ms.is_finite() {
            return Err("its time on the wall is no number".to_owned());
        }
        let (from, to) = match &record.what {
            What::Attached { offset, .. } => {
                if self.attached == Some(true) {
                    return Err("the device is attached, and was not lost since it was last".to_owned());
                }
                self.attached = Some(true);
                (*offset, *offset)
            }
            What::Received { offset, data } => {
                if self.attached == Some(false) {
                    return Err("bytes are received, and no device is attached".to_owned());
                }
                let end = u64::try_from(data.len())
                    .ok()
                    .and_then(|length| offset.checked_add(length));
                (*offset, end.ok_or("its offset is too large")?)
            }
            What::Overrun {
                from, to, records, ..
            } => {
                if *records > 0 {
                    self.attached = None;
                }
                (*from, *to)
            }
            What::Lost { .. } => {
                if self.attached == Some(false) {
                    return Err("the device is lost, and was not attached".to_owned());
                }
                self.attached = Some(false);
                self.ns = ns;
                return Ok(());
            }
            What::Sent { .. } => {
                self.ns = ns;
                return Ok(());
            }
        };
        if let Some(next) = self.next_offset.filter(|next| *next != from) {
            return Err(format!(
                "it begins at byte {from}, where byte {next} is to follow"
            ));
        }
        if to < from {
            return Err(format!("it ends at byte {to}, before it begins at byte {from}"));
        }
        self.next_offset = Some(to);
        self.ns = ns;
        Ok(())
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// Whether what is there could go on to be an object.
fn is_cut(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(line).is_err_and(|error| error.is_eof())
}
