//! The lines as they are written, and what they mean.

use serde::{Deserialize, Serialize};

use super::{FORMAT, Header, Record, VERSION, What};
use crate::driver::{CallTime, DataBits, FlowControl, LineSettings, Parity, PortIdentity, StopBits};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenHeader {
    format: String,
    version: u32,
    device: String,
    port: String,
    line: WrittenLine,
    started_at: String,
}

/// What is looked at before everything else, so that a newer form is called that and not a mistake.
#[derive(Deserialize)]
struct Signature {
    format: String,
    version: u32,
}

/// The settings of a line in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WrittenLine {
    baud_rate: u32,
    data_bits: u8,
    parity: WrittenParity,
    stop_bits: u8,
    flow_control: WrittenFlowControl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenParity {
    None,
    Even,
    Odd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenFlowControl {
    None,
    Software,
    Hardware,
}

#[derive(Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
enum WrittenRecord {
    Attached {
        ns: u64,
        ms: f64,
        offset: u64,
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usb_vendor_id: Option<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usb_product_id: Option<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serial_number: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attributes: Vec<(String, String)>,
    },
    Received {
        ns: u64,
        ms: f64,
        offset: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hex: Option<String>,
    },
    Sent {
        ns: u64,
        ms: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hex: Option<String>,
    },
    Lost {
        ns: u64,
        ms: f64,
        reason: String,
    },
    Overrun {
        ns: u64,
        ms: f64,
        from: u64,
        to: u64,
        records: u64,
        reason: String,
    },
}

impl Header {
    /// The header as its line, without the line's end.
    pub fn to_line(&self) -> String {
        let written = WrittenHeader {
            format: FORMAT.to_owned(),
            version: VERSION,
            device: self.device.clone(),
            port: self.port.clone(),
            line: WrittenLine::of(self.line),
            started_at: self.started_at.clone(),
        };
        line_of(&written)
    }

    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let signature: Signature =
            serde_json::from_slice(line).map_err(|error| format!("it is no header of a capture: {error}"))?;
        if signature.format != FORMAT {
            return Err(format!(
                "its format is {:?}, and not {FORMAT:?}",
                signature.format
            ));
        }
        if signature.version != VERSION {
            return Err(format!(
                "it is of version {}; this program reads version {VERSION}",
                signature.version
            ));
        }
        let written: WrittenHeader =
            serde_json::from_slice(line).map_err(|error| format!("it is no header of a capture: {error}"))?;
        Ok(Self {
            device: written.device,
            port: written.port,
            line: written.line.settings()?,
            started_at: written.started_at,
        })
    }
}

impl WrittenLine {
    /// So they are written.
    pub fn of(settings: LineSettings) -> Self {
        Self {
            baud_rate: settings.baud_rate,
            data_bits: match settings.data_bits {
                DataBits::Five => 5,
                DataBits::Six => 6,
                DataBits::Seven => 7,
                DataBits::Eight => 8,
            },
            parity: match settings.parity {
                Parity::None => WrittenParity::None,
                Parity::Even => WrittenParity::Even,
                Parity::Odd => WrittenParity::Odd,
            },
            stop_bits: match settings.stop_bits {
                StopBits::One => 1,
                StopBits::Two => 2,
            },
            flow_control: match settings.flow_control {
                FlowControl::None => WrittenFlowControl::None,
                FlowControl::Software => WrittenFlowControl::Software,
                FlowControl::Hardware => WrittenFlowControl::Hardware,
            },
        }
    }

    /// What was written. The error says which of them is none.
    pub fn settings(&self) -> Result<LineSettings, String> {
        Ok(LineSettings {
            baud_rate: self.baud_rate,
            data_bits: match self.data_bits {
                5 => DataBits::Five,
                6 => DataBits::Six,
                7 => DataBits::Seven,
                8 => DataBits::Eight,
                other => return Err(format!("dataBits is {other}, and has to be 5, 6, 7 or 8")),
            },
            parity: match self.parity {
                WrittenParity::None => Parity::None,
                WrittenParity::Even => Parity::Even,
                WrittenParity::Odd => Parity::Odd,
            },
            stop_bits: match self.stop_bits {
                1 => StopBits::One,
                2 => StopBits::Two,
                other => return Err(format!("stopBits is {other}, and has to be 1 or 2")),
            },
            flow_control: match self.flow_control {
                WrittenFlowControl::None => FlowControl::None,
                WrittenFlowControl::Software => FlowControl::Software,
                WrittenFlowControl::Hardware => FlowControl::Hardware,
            },
        })
    }
}

impl Record {
    /// The record as its line, without the line's end.
    pub fn to_line(&self) -> String {
        let (ns, ms) = (self.at.monotonic_ns, self.at.wall_ms);
        line_of(&match &self.what {
            What::Attached { offset, identity } => WrittenRecord::Attached {
                ns,
                ms,
                offset: *offset,
                path: identity.path.clone(),
                usb_vendor_id: identity.usb_vendor_id,
                usb_product_id: identity.usb_product_id,
                serial_number: identity.serial_number.clone(),
                attributes: identity.attributes.clone(),
            },
            What::Received { offset, data } => {
                let (text, hex) = written_bytes(data);
                WrittenRecord::Received {
                    ns,
                    ms,
                    offset: *offset,
                    text,
                    hex,
                }
            }
            What::Sent { data } => {
                let (text, hex) = written_bytes(data);
                WrittenRecord::Sent { ns, ms, text, hex }
            }
            What::Lost { reason } => WrittenRecord::Lost {
                ns,
                ms,
                reason: reason.clone(),
            },
            What::Overrun {
                from,
                to,
                records,
                reason,
            } => WrittenRecord::Overrun {
                ns,
                ms,
                from: *from,
                to: *to,
                records: *records,
                reason: reason.clone(),
            },
        })
    }

    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let written: WrittenRecord =
            serde_json::from_slice(line).map_err(|error| format!("it is no record: {error}"))?;
        let (ns, ms, what) = match written {
            WrittenRecord::Attached {
                ns,
                ms,
                offset,
                path,
                usb_vendor_id,
                usb_product_id,
                serial_number,
                attributes,
            } => {
                let identity = PortIdentity {
                    path,
                    usb_vendor_id,
                    usb_product_id,
                    serial_number,
                    attributes,
                };
                (ns, ms, What::Attached { offset, identity })
            }
            WrittenRecord::Received {
                ns,
                ms,
                offset,
                text,
                hex,
            } => {
                let data = read_bytes(text, hex)?;
                (ns, ms, What::Received { offset, data })
            }
            WrittenRecord::Sent { ns, ms, text, hex } => {
                let data = read_bytes(text, hex)?;
                (ns, ms, What::Sent { data })
            }
            WrittenRecord::Lost { ns, ms, reason } => (ns, ms, What::Lost { reason }),
            WrittenRecord::Overrun {
                ns,
                ms,
                from,
                to,
                records,
                reason,
            } => {
                let what = What::Overrun {
                    from,
                    to,
                    records,
                    reason,
                };
                (ns, ms, what)
            }
        };
        let at = CallTime {
            monotonic_ns: ns,
            wall_ms: ms,
        };
        Ok(Self { at, what })
    }
}

/// Line settings as they stand in a header.
pub(crate) fn written_line(settings: LineSettings) -> serde_json::Value {
    serde_json::to_value(WrittenLine::of(settings)).unwrap_or_default()
}

/// These types hold nothing that JSON cannot say, but for a time that is no number, which no clock gives.
fn line_of(written: &impl Serialize) -> String {
    serde_json::to_string(written).unwrap_or_default()
}

/// Bytes as a person reads them best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bytes {
    /// As they are.
    Text(String),
    /// As pairs of hexadecimal digits.
    Hex(String),
}

impl Bytes {
    /// Text, if all of them can be read as such.
    pub fn of(data: &[u8]) -> Self {
        let is_text = |byte: &u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
        match std::str::from_utf8(data) {
            Ok(text) if data.iter().all(is_text) => Self::Text(text.to_owned()),
            _ => Self::Hex(data.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }
}

fn written_bytes(data: &[u8]) -> (Option<String>, Option<String>) {
    match Bytes::of(data) {
        Bytes::Text(text) => (Some(text), None),
        Bytes::Hex(hex) => (None, Some(hex)),
    }
}

fn read_bytes(text: Option<String>, hex: Option<String>) -> Result<Vec<u8>, String> {
    let data = match (text, hex) {
        (Some(text), None) if text.is_ascii() => text.into_bytes(),
        (Some(_), None) => return Err("its text is not ASCII; write such bytes as hex".to_owned()),
        (None, Some(hex)) => {
            bytes_of(&hex).ok_or_else(|| format!("its hex {hex:?} is not pairs of hexadecimal digits"))?
        }
        (None, None) => return Err("it has neither text nor hex".to_owned()),
        (Some(_), Some(_)) => return Err("it has both text and hex; keep one".to_owned()),
    };
    match data.is_empty() {
        true => Err("it has no bytes".to_owned()),
        false => Ok(data),
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let digits = digits?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}
