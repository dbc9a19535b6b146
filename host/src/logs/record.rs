//! What is to be logged, before it has a number.

use autobench_core::driver::{LogLevel, LogLine};

/// One line on its way into the log. Picture and colour follow from the channel unless they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The channel; what follows a colon divides it finer (`device:meter`).
    pub channel: String,
    /// How grave.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// The device, where there is one.
    pub tag: Option<String>,
    /// The part of the daemon that speaks.
    pub module: Option<String>,
    /// Another picture than the channel's.
    pub emoji: Option<String>,
}

impl LogRecord {
    /// A record with nothing but the necessary.
    pub fn new(channel: impl Into<String>, level: LogLevel, message: impl Into<String>) -> Self {
        Self {
            channel: channel.into(),
            level,
            message: message.into(),
            tag: None,
            module: None,
            emoji: None,
        }
    }

    /// The same record, of a device.
    #[must_use]
    pub fn of_device(self, device: impl Into<String>) -> Self {
        Self {
            tag: Some(device.into()),
            ..self
        }
    }

    /// The same record, from a part of the daemon.
    #[must_use]
    pub fn of_module(self, module: impl Into<String>) -> Self {
        Self {
            module: Some(module.into()),
            ..self
        }
    }

    /// A driver's own line: on the channel of devices, its attributes behind the text.
    pub fn of_driver(device: &str, line: &LogLine) -> Self {
        let mut message = line.message.clone();
        for (key, value) in &line.attributes {
            push_attribute(&mut message, key, value);
        }
        Self::new("device", line.level, message).of_device(device)
    }
}

/// Writes ` key=value` behind a text, the value in quotes where it would otherwise run into its neighbours.
pub(super) fn push_attribute(message: &mut String, key: &str, value: &str) {
    if !message.is_empty() {
        message.push(' ');
    }
    message.push_str(key);
    message.push('=');
    if value.is_empty() || value.contains([' ', '"', '=']) {
        message.push_str(&format!("{value:?}"));
    } else {
        message.push_str(value);
    }
}
