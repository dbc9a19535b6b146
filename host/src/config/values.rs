//! Values as they are meant: numbers in their ranges, choices among names, names by their rules. What does not fit is noted, and the
//! default goes on, so that the rest of the file is still looked at.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::name::NameError;
use super::raw::Written;
use super::tree::Findings;

/// Where the daemon listens when nothing else is written.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9898);

/// Largest integer that a browser holds exactly.
pub const MAX_EXACT_INTEGER: i64 = (1 << 53) - 1;

/// An integer in its range, or the default.
pub fn integer<T>(
    written: &Option<Written<i64>>,
    key: &str,
    default: i64,
    range: RangeInclusive<i64>,
    findings: &mut Findings,
) -> T
where
    T: TryFrom<i64> + Default,
{
    let hint = format!("write {key} = {default}, which is what it is without this line");
    let value = in_range(written, key, range, &hint, findings).unwrap_or(default);
    // Every range that is asked for fits its type.
    T::try_from(value).unwrap_or_default()
}

/// An integer in its range, if it is written; what holds without it is not for the file to say.
pub fn optional_integer<T: TryFrom<i64>>(
    written: &Option<Written<i64>>,
    key: &str,
    example: i64,
    range: RangeInclusive<i64>,
    findings: &mut Findings,
) -> Option<T> {
    let hint = format!("write for example {key} = {example}, or leave it out");
    in_range(written, key, range, &hint, findings).and_then(|value| T::try_from(value).ok())
}

fn in_range(
    written: &Option<Written<i64>>,
    key: &str,
    range: RangeInclusive<i64>,
    hint: &str,
    findings: &mut Findings,
) -> Option<i64> {
    let written = written.as_ref()?;
    if range.contains(&written.value) {
        return Some(written.value);
    }
    let (least, most) = range.into_inner();
    let message = format!(
        "\"{key}\" is {}, and has to be from {least} to {most}",
        written.value
    );
    findings.error("bad-value", &written.at, message, hint);
    None
}

/// One of some names.
pub fn choice<T: Copy>(
    written: &Option<Written<String>>,
    key: &str,
    choices: &[(&str, T)],
    findings: &mut Findings,
) -> Option<T> {
    let written = written.as_ref()?;
    let found = choices.iter().find(|(name, _)| *name == written.value);
    if found.is_none() {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        findings.error(
            "bad-value",
            &written.at,
            format!("\"{key}\" cannot be \"{}\"", written.value),
            format!("write one of {}", names.join(", ")),
        );
    }
    found.map(|(_, value)| *value)
}

/// One of some numbers.
pub fn numbered<T: Copy>(
    written: &Option<Written<i64>>,
    key: &str,
    choices: &[(i64, T)],
    findings: &mut Findings,
) -> Option<T> {
    let written = written.as_ref()?;
    let found = choices.iter().find(|(number, _)| *number == written.value);
    if found.is_none() {
        let numbers: Vec<String> = choices.iter().map(|(number, _)| number.to_string()).collect();
        findings.error(
            "bad-value",
            &written.at,
            format!("\"{key}\" cannot be {}", written.value),
            format!("write one of {}", numbers.join(", ")),
        );
    }
    found.map(|(_, value)| *value)
}

/// A name by its rule.
pub fn name<N>(
    written: &Written<String>,
    make: impl Fn(&str) -> Result<N, NameError>,
    findings: &mut Findings,
) -> Option<N> {
    match make(&written.value) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("\"{}\" is no {}", written.value, error.what);
            findings.error("bad-name", &written.at, message, error.rule);
            None
        }
    }
}

/// The address that was probably meant: a host name for the loopback, a port alone, an address alone.
pub fn likely_address(text: &str) -> SocketAddr {
    let port = text
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .unwrap_or(DEFAULT_LISTEN.port());
    match text.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, DEFAULT_LISTEN.port()),
        Err(_) => SocketAddr::new(DEFAULT_LISTEN.ip(), port),
    }
}
