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
    let mut fields = text.splitn(4, |&byte| byte == b',');
    let &[letter] = fields.next()? else { return None };
    if !letter.is_ascii_lowercase() || fields.next()? != b"-" {
        return None;
    }
    let count = usize::try_from(number(fields.next()?)?).ok()?;
    let values = fields.next();
    if letter == b'd' {
        return read_fields(values?, count).map(Message::Row);
    }
    let values = || {
        values
            .into_iter()
            .flat_map(|values| values.split(|&byte| byte == b','))
    };
    if values().count() != count {
        return None;
    }
    match letter {
        b'v' => read_version(values()).map(Message::Version),
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
            let reading = read_fields(values, count)?;
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

/// The fields of a row, from the first value on, if they are as many as it says. One walk over the bytes, because rows are what a meter sends.
fn read_fields(text: &[u8], count: usize) -> Option<Reading> {
    if count != 16 && count != 18 {
        return None;
    }
    let mut values = [None; 18];
    let mut places = values.iter_mut();
    let (mut value, mut is_unlogged) = (None, false);
    for &byte in text {
        match byte {
            b'0'..=b'9' if !is_unlogged => {
                let digit = u32::from(byte - b'0');
                value = Some(value.unwrap_or(0_u32).checked_mul(10)?.checked_add(digit)?);
            }
            b'_' if value.is_none() && !is_unlogged => is_unlogged = true,
            b',' => {
                *places.next()? = value.take();
                is_unlogged = false;
            }
            _ => return None,
        }
    }
    *places.next()? = value;
    if places.len() != 18 - count {
        return None;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Real records; see the README.
    const ROWS: [&str; 5] = [
        "d,-,18,0,1203,0,79,0,34,2,0,1203,0,0,1200,0,100,0,0,600,0",
        "d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965",
        "d,-,18,972,2277,433,5,0,70035,5602,973,2280,435,972,2274,432,95,0,0,500,1020",
        "d,-,18,124,1191,97,0,_,_,_,124,_,_,_,_,_,100,_,_,_,_",
        "d,-,18,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_,_,_",
    ];

    fn row(text: &str) -> Reading {
        match read_packet(text.as_bytes()) {
            Message::Row(reading) => reading,
            other => panic!("{text} is read as {other:?}"),
        }
    }

    #[test]
    fn real_rows_are_read() {
        let read: Vec<_> = ROWS.iter().map(|text| row(text)).collect();
        let expected = Reading {
            watts: Some(97.2),
            volts: Some(227.7),
            amps: Some(0.433),
            energy_wh: Some(0.5),
            power_factor: Some(0.95),
            frequency_hz: Some(50.0),
            apparent_va: Some(102.0),
        };
        assert_eq!(read[2], expected);
        assert_eq!(read[0].watts, Some(0.0));
        assert_eq!((read[4].frequency_hz, read[4].apparent_va), (None, None));
    }

    #[test]
    fn a_row_survives_the_loss_of_any_part_of_its_head() {
        for text in ROWS {
            for lost in 0.."d,-,18,".len() {
                let expected = Message::Recovered {
                    reading: row(text),
                    damaged_before: false,
                };
                assert_eq!(
                    read_headless(&text.as_bytes()[lost..]),
                    expected,
                    "{lost} of {text} lost"
                );
            }
        }
    }

    #[test]
    fn a_row_that_has_lost_a_byte_of_its_values_is_never_read() {
        for text in ROWS {
            for lost in "d,-,18,".len()..text.len() {
                let rest = &text.as_bytes()[lost..];
                assert!(
                    matches!(read_headless(rest), Message::Bad | Message::Junk),
                    "{lost} of {text} lost"
                );
            }
        }
    }

    #[test]
    fn a_row_that_has_lost_its_tail_is_never_read() {
        for text in ROWS {
            for kept in 0..text.len() {
                let rest = &text.as_bytes()[..kept];
                assert!(
                    matches!(read_endless(rest), Message::Bad | Message::Junk),
                    "{kept} of {text} kept"
                );
            }
        }
    }

    #[test]
    fn a_row_is_found_behind_the_remains_of_another() {
        for kept in 0..ROWS[1].len() {
            for lost in 0..=2 {
                let text = format!("{}{}", &ROWS[1][..kept], &ROWS[2][lost..]);
                match read_packet(text.as_bytes()) {
                    Message::Recovered { reading, .. } => assert_eq!(reading, row(ROWS[2]), "{text}"),
                    // The remains happen to be what the row has lost.
                    whole => assert_eq!((whole, text.as_str()), (Message::Row(row(ROWS[2])), ROWS[2])),
                }
            }
        }
    }

    #[test]
    fn a_row_joined_to_the_values_of_another_is_not_misread() {
        for kept in "d,-,18,".len()..ROWS[1].len() {
            for lost in "d,-,18,".len()..ROWS[2].len() {
                let text = format!("{}{}", &ROWS[1][..kept], &ROWS[2][lost..]);
                let message = read_packet(text.as_bytes());
                let fields = text.split(',').count();
                // The right count by chance: nothing in the row tells. Any other count does.
                assert!(
                    fields == 21 || matches!(message, Message::Bad | Message::Junk),
                    "{text}: {message:?}"
                );
            }
        }
    }

    #[test]
    fn values_out_of_range_are_no_row() {
        let with = |place: usize, value: &str| {
            let mut fields: Vec<&str> = ROWS[1].split(',').collect();
            fields[place] = value;
            read_packet(fields.join(",").as_bytes())
        };
        for (place, bad) in [
            (3, "50001"),
            (4, "899"),
            (4, "2801"),
            (5, "20001"),
            (16, "101"),
            (6, "-1"),
            (6, "1.5"),
        ] {
            assert_eq!(with(place, bad), Message::Bad, "{bad} at {place}");
        }
        assert_eq!(with(6, "4294967296"), Message::Bad);
        for (place, good) in [
            (3, "50000"),
            (4, "900"),
            (4, "2800"),
            (5, "20000"),
            (16, "0"),
            (6, "4294967295"),
        ] {
            assert!(matches!(with(place, good), Message::Row(_)), "{good} at {place}");
        }
    }

    #[test]
    fn absent_is_not_zero() {
        let reading = row("d,-,18,_,,0,_,_,_,_,_,_,_,_,_,_,_,_,_,_,_");
        assert_eq!(
            reading,
            Reading {
                amps: Some(0.0),
                ..Reading::default()
            }
        );
        let serial = row("d,-,16,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_");
        assert_eq!((serial.power_factor, serial.frequency_hz), (Some(0.94), None));
    }

    #[test]
    fn replies_are_told_apart() {
        let version = Version {
            model: "PRO",
            hardware: (5, 2),
            firmware: (3, 14),
        };
        assert_eq!(
            read_packet(b"v,-,8,1,65206,5,2,3,14,200612211910,0"),
            Message::Version(version)
        );
        assert_eq!(read_packet(b"s,-,3,_,1,2"), Message::Other);
        assert_eq!(
            read_packet(b"c,-,18,1,1,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0"),
            Message::Other
        );
        assert_eq!(
            read_packet(b"h,-,18,W,V,A,WH,Cost,WH/Mo,Cost/Mo,Wmax,Vmax,Amax,Wmin,Vmin,Amin,PF,DC,PC,Hz,VA"),
            Message::Other
        );
    }

    #[test]
    fn short_junk_is_told_from_damaged_rows() {
        for junk in [
            "",
            "abc",
            "1,2,3,4",
            "EED05F01 $Revision: 4.41 $ 200612212301 60Hz 120V",
            "d,-,18000",
        ] {
            assert_eq!(read_packet(junk.as_bytes()), Message::Junk, "{junk}");
        }
        assert_eq!(read_packet(b"d,-,18,965"), Message::Bad);
    }

    #[test]
    fn commands_are_as_the_meter_wants_them() {
        assert_eq!(log_externally(1, Reserved::Underscore), "#L,W,3,E,_,1;");
        assert_eq!(log_externally(60, Reserved::Zero), "#L,W,3,E,0,60;");
        assert_eq!(log_internally(2), "#L,W,3,I,_,2;");
    }
}
