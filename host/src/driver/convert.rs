//! Between the types that wasmtime generates and those of the core.

use autobench_core::driver as core;
use autobench_core::state::{self as core_state, FORBIDDEN_KEYS};

use super::bindings::autobench::driver::{commands, log, serial, types};
use super::bindings::exports::autobench::driver::guest;
use crate::serial::SignalError;

/// Largest integer that a browser keeps exactly, 2^53 − 1.
const SAFE_INTEGER: i64 = (1 << 53) - 1;

/// A value, checked.
pub fn value(value: types::Value) -> Result<core_state::Value, String> {
    Ok(match value {
        types::Value::Null => core_state::Value::Null,
        types::Value::Boolean(value) => core_state::Value::Boolean(value),
        types::Value::Integer(value) => {
            if !(-SAFE_INTEGER..=SAFE_INTEGER).contains(&value) {
                return Err(outside(value));
            }
            core_state::Value::Integer(value)
        }
        types::Value::Float(value) => {
            if !value.is_finite() {
                return Err(format!("{value} is not finite; JSON has no such number"));
            }
            core_state::Value::Float(value)
        }
        types::Value::Text(value) => core_state::Value::Text(value),
        types::Value::Json(text) => core_state::Value::Json(json(&text)?),
    })
}

/// JSON text, parsed and checked.
pub fn json(text: &str) -> Result<serde_json::Value, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    check(&value)?;
    Ok(value)
}

fn check(value: &serde_json::Value) -> Result<(), String> {
    match value {
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) if !(-SAFE_INTEGER..=SAFE_INTEGER).contains(&integer) => Err(outside(integer)),
            (None, Some(integer)) => Err(outside(integer)),
            _ => Ok(()),
        },
        serde_json::Value::Array(values) => values.iter().try_for_each(check),
        serde_json::Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            if FORBIDDEN_KEYS.contains(&key.as_str()) {
                return Err(format!("the key {key:?} would poison a mirror in a browser"));
            }
            check(value)
        }),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => Ok(()),
    }
}

fn outside(integer: impl std::fmt::Display) -> String {
    format!("the integer {integer} is beyond ±(2^53 − 1), where a browser loses digits; send it as text")
}

/// An outcome, its value checked.
pub fn outcome(outcome: commands::Outcome) -> Result<core::Outcome, String> {
    Ok(match outcome {
        commands::Outcome::Succeeded(actual) => core::Outcome::Succeeded(actual.map(value).transpose()?),
        commands::Outcome::Failed(reason) => core::Outcome::Failed(reason),
        commands::Outcome::Blocked(reason) => core::Outcome::Blocked(reason),
        commands::Outcome::Cancelled => core::Outcome::Cancelled,
    })
}

pub fn level(level: log::Level) -> core::LogLevel {
    match level {
        log::Level::Debug => core::LogLevel::Debug,
        log::Level::Info => core::LogLevel::Info,
        log::Level::Warn => core::LogLevel::Warn,
        log::Level::Error => core::LogLevel::Error,
        log::Level::Fatal => core::LogLevel::Fatal,
    }
}

pub fn severity(severity: types::Severity) -> core::Severity {
    match severity {
        types::Severity::Info => core::Severity::Info,
        types::Severity::Warning => core::Severity::Warning,
        types::Severity::Critical => core::Severity::Critical,
    }
}

pub fn line_settings(settings: types::LineSettings) -> core::LineSettings {
    core::LineSettings {
        baud_rate: settings.baud_rate,
        data_bits: match settings.data_bits {
            types::DataBits::Five => core::DataBits::Five,
            types::DataBits::Six => core::DataBits::Six,
            types::DataBits::Seven => core::DataBits::Seven,
            types::DataBits::Eight => core::DataBits::Eight,
        },
        parity: match settings.parity {
            types::Parity::None => core::Parity::None,
            types::Parity::Even => core::Parity::Even,
            types::Parity::Odd => core::Parity::Odd,
        },
        stop_bits: match settings.stop_bits {
            types::StopBits::One => core::StopBits::One,
            types::StopBits::Two => core::StopBits::Two,
        },
        flow_control: match settings.flow_control {
            types::FlowControl::None => core::FlowControl::None,
            types::FlowControl::Software => core::FlowControl::Software,
            types::FlowControl::Hardware => core::FlowControl::Hardware,
        },
    }
}

pub fn input_signals(signals: core::InputSignals) -> serial::InputSignals {
    serial::InputSignals {
        clear_to_send: signals.clear_to_send,
        data_set_ready: signals.data_set_ready,
        data_carrier_detect: signals.data_carrier_detect,
        ring_indicator: signals.ring_indicator,
    }
}

pub fn signal_error(error: SignalError) -> serial::SerialError {
    match error {
        SignalError::NotSupported => serial::SerialError::NotSupported,
        SignalError::NotAttached => serial::SerialError::NotAttached,
        SignalError::Other(text) => serial::SerialError::Other(text),
    }
}

pub fn identity(identity: &core::PortIdentity) -> serial::IdentityResult {
    serial::IdentityResult {
        path: identity.path.clone(),
        usb_vendor_id: identity.usb_vendor_id,
        usb_product_id: identity.usb_product_id,
        serial_number: identity.serial_number.clone(),
        attributes: identity
            .attributes
            .iter()
            .map(|(key, value)| types::AttributeResult {
                key: key.clone(),
                value: value.clone(),
            })
            .collect(),
    }
}

pub fn start_reason(reason: core::StartReason) -> guest::StartReason {
    match reason {
        core::StartReason::Cold => guest::StartReason::Cold,
        core::StartReason::Restart => guest::StartReason::Restart,
        core::StartReason::Swap => guest::StartReason::Swap,
        core::StartReason::Return => guest::StartReason::Return,
    }
}

pub fn stop_reason(reason: core::StopReason) -> guest::StopReason {
    match reason {
        core::StopReason::Shutdown => guest::StopReason::Shutdown,
        core::StopReason::Removed => guest::StopReason::Removed,
        core::StopReason::Reconfigured => guest::StopReason::Reconfigured,
    }
}

pub fn refusal(refusal: guest::Refusal) -> core::Refusal {
    match refusal {
        guest::Refusal::InvalidSettings(text) => core::Refusal::InvalidSettings(text),
        guest::Refusal::UnknownSnapshot(text) => core::Refusal::UnknownSnapshot(text),
        guest::Refusal::MissingPort(text) => core::Refusal::MissingPort(text),
        guest::Refusal::Other(text) => core::Refusal::Other(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_would_break_a_mirror_are_refused_by_name() {
        assert!(
            value(types::Value::Integer(1 << 53))
                .unwrap_err()
                .contains("9007199254740992")
        );
        assert!(
            value(types::Value::Float(f64::NAN))
                .unwrap_err()
                .contains("not finite")
        );
        assert!(
            value(types::Value::Json("{\"a\":[{\"__proto__\":1}]}".to_owned()))
                .unwrap_err()
                .contains("__proto__")
        );
        assert!(
            value(types::Value::Json("[18446744073709551615]".to_owned()))
                .unwrap_err()
                .contains("18446744073709551615")
        );
        assert!(
            value(types::Value::Json("{".to_owned()))
                .unwrap_err()
                .contains("no JSON")
        );
    }

    #[test]
    fn the_largest_safe_integer_passes() {
        assert_eq!(
            value(types::Value::Integer(SAFE_INTEGER)),
            Ok(core_state::Value::Integer(SAFE_INTEGER))
        );
        assert_eq!(
            value(types::Value::Integer(-SAFE_INTEGER)),
            Ok(core_state::Value::Integer(-SAFE_INTEGER))
        );
    }
}
