//! The meter's packets: bytes to values and back. Knows neither SDK nor host.
//!
//! A packet is `#C,S,N,a1,...,aN;`. A data row is `#d,-,18,` with eighteen integers, or `#d,-,16,` from the older serial model. Rows carry no
//! checksum; what guards them is the declared count, the form of every field, and the ranges that the maker gives.

use std::fmt::Write as _;

/// Starts a packet.
pub const START: u8 = b'#';
/// Ends a packet.
pub const END: u8 = b';';
/// What the meter, or a bad line, strews in and nothing is lost with: NUL, CR, LF and TAB, between packets and inside them.
pub const IGNORED: &[u8] = b"\0\r\n\t";
/// No packet that this driver reads is half as long; the longest that the meter knows, its calibration, is just under it.
pub const LIMIT_BYTES: usize = 512;
/// Stops whatever the meter is sending.
pub const ABORT: u8 = 0x18;
/// Asks for the version record, which every model answers within two seconds.
pub const IDENTIFY: &[u8] = b"#V,R,0;";

/// What stands in the reserved argument of the logging command. Most models take the first, some only the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// `_`
    Underscore,
    /// `0`
    Zero,
}

/// Lets the meter send a row every `interval_s` seconds until told otherwise.
#[must_use]
pub fn log_externally(interval_s: u32, reserved: Reserved) -> String {
    let reserved = match reserved {
        Reserved::Underscore => '_',
        Reserved::Zero => '0',
    };
    let mut command = String::new();
    // Writing to a string cannot fail.
    let _ = write!(command, "#L,W,3,E,{reserved},{interval_s};");
    command
}

/// Lets the meter log into its own memory again, and so stop sending.
#[must_use]
pub fn log_internally(interval_s: u32) -> String {
    format!("#L,W,3,I,_,{interval_s};")
}

/// What a data row says. A field that is not logged, not sent or empty is absent, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// Real power in W.
    pub watts: Option<f64>,
    /// Voltage in V.
    pub volts: Option<f64>,
    /// Current in A.
    pub amps: Option<f64>,
    /// Energy since the memory was cleared, in Wh.
    pub energy_wh: Option<f64>,
    /// Power factor from 0 to 1.
    pub power_factor: Option<f64>,
    /// Line frequency in Hz.
    pub frequency_hz: Option<f64>,
    /// Apparent power in VA.
    pub apparent_va: Option<f64>,
}

/// What the version record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Name of the model.
    pub model: &'static str,
    /// Version of the hardware.
    pub hardware: (u32, u32),
    /// Version of the firmware.
    pub firmware: (u32, u32),
}

/// What a piece of the stream turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A whole data row.
    Row(Reading),
    /// A data row that has lost its head, and nothing else. `damaged_before` when the same piece also holds the remains of another row.
    Recovered {
        /// The row.
        reading: Reading,
        /// Whether something else is lost with the piece.
        damaged_before: bool,
    },
    /// The version record.
    Version(Version),
    /// Another packet in good form.
    Other,
    /// Chatter too short to be a row: a banner, noise, the end of something.
    Junk,
    /// Something that should have been a row.
    Bad,
}

/// Reads what stands between `#` and `;`.
#[must_use]
pub fn read_packet(text: &[u8]) -> Message {
    read_whole(text)
        .or_else(|| read_remainder(text))
        .unwrap_or_else(|| worthless(text))
}

/// Reads what ends with `;` and has no `#`.
#[must_use]
pub fn read_headless(text: &[u8]) -> Message {
    read_remainder(text).unwrap_or_else(|| worthless(text))
}

/// Reads what has no `;`. Nothing of it can be trusted: its last field may have lost digits.
#[must_use]
pub fn read_endless(text: &[u8]) -> Message {
    worthless(text)
}

/// A packet in good form: a letter, `-`, a count, and that many arguments.
fn read_whole(text: &[u8]) -> Option<Message> {
    let mut fields = text.split(|&byte| byte == b',');
    let &[letter] = fields.next()? else { return None };
    if !letter.is_ascii_lowercase() || fields.next()? != b"-" {
        return None;
    }
    let count = usize::try_from(number(fields.next()?)?).ok()?;
    if fields.clone().count() != count {
        return None;
    }
    match letter {
        b'd' => read_fields(fields, count).map(Message::Row),
        b'v' => read_version(fields).map(Message::Version),
        _ => Some(Message::Other),
    }
}

/// A row that has lost its head. The places of its values are counted from the end, and that none of them is cut shows in what is left of the
/// head: the count, or at least the comma behind it. A piece that ends in `-,18,` and eighteen values is a row whatever stands before it;
/// otherwise all that stands before the values has to be the end of `-,18,`. Eighteen values alone are no row: the first may have lost digits.
fn read_remainder(text: &[u8]) -> Option<Message> {
    [(18, b"-,18,".as_slice()), (16, b"-,16,")]
        .into_iter()
        .find_map(|(count, head)| {
            let mut commas = text.iter().enumerate().rev().filter(|&(_, &byte)| byte == b',');
            let (comma, _) = commas.nth(count - 1)?;
            let (before, values) = text.split_at(comma + 1);
            let damaged_before = match before.strip_suffix(head) {
                Some(rest) => !b"d,".ends_with(rest) && !is_short(rest),
                None if head.ends_with(before) => false,
                None => return None,
            };
            let reading = read_fields(values.split(|&byte| byte == b','), count)?;
            Some(Message::Recovered {
                reading,
                damaged_before,
            })
        })
}

fn worthless(text: &[u8]) -> Message {
    if is_short(text) {
        Message::Junk
    } else {
        Message::Bad
    }
}

/// Fewer than eight characters or at most three fields: not worth a count.
fn is_short(text: &[u8]) -> bool {
    text.len() < 8 || text.split(|&byte| byte == b',').count() <= 3
}

/// The fields of a row, from the first value on.
fn read_fields<'a>(fields: impl Iterator<Item = &'a [u8]>, count: usize) -> Option<Reading> {
    if count != 16 && count != 18 {
        return None;
    }
    let mut values = [None; 18];
    for (value, field) in values.iter_mut().zip(fields) {
        *value = match field {
            b"_" | b"" => None,
            digits => Some(number(digits)?),
        };
    }
    let [
        watts,
        volts,
        amps,
        energy,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        factor,
        _,
        _,
        hertz,
        apparent,
    ] = values;
    let in_range =
        |value: Option<u32>, least, most| value.is_none_or(|value| (least..=most).contains(&value));
    if !in_range(watts, 0, 50_000)
        || !in_range(volts, 900, 2800)
        || !in_range(amps, 0, 20_000)
        || !in_range(factor, 0, 100)
    {
        return None;
    }
    let scaled = |value: Option<u32>, unit: f64| value.map(|value| f64::from(value) / unit);
    Some(Reading {
        watts: scaled(watts, 10.0),
        volts: scaled(volts, 10.0),
        amps: scaled(amps, 1000.0),
        energy_wh: scaled(energy, 10.0),
        power_factor: scaled(factor, 100.0),
        frequency_hz: scaled(hertz, 10.0),
        apparent_va: scaled(apparent, 10.0),
    })
}

/// Model, memory, hardware and firmware versions, time stamp, checksum.
fn read_version<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Version> {
    let mut next = || number(fields.next()?);
    let model = match next()? {
        0 => "Standard",
        1 => "PRO",
        2 => "ES",
        3 => "Ethernet",
        4 => "blind",
        _ => "of an unknown model",
    };
    let _memory = next()?;
    Some(Version {
        model,
        hardware: (next()?, next()?),
        firmware: (next()?, next()?),
    })
}

/// Digits and nothing else, and not more than fit.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    })
}
