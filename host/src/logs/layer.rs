//! From `tracing` to the log: events of our own crates at every level, of foreign crates only what is wrong.
//!
//! A field `channel` names the channel, otherwise the module does; a field `tag` names the device; `fatal = true` makes an error fatal. Every
//! other field goes behind the message as `key=value`. Spans are not recorded: a log entry has to say by itself what it is about.

use std::cell::Cell;
use std::fmt::Debug;

use autobench_core::driver::LogLevel;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::record::push_attribute;
use super::{LogHandle, LogRecord};

/// Makes `logs` the destination of this process's tracing events. Called once, at start.
pub fn install(logs: &LogHandle) -> Result<(), TryInitError> {
    let wanted = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OWN_CRATES.map(|own| (own, LevelFilter::DEBUG)));
    tracing_subscriber::registry()
        .with(LogLayer::new(logs.clone()).with_filter(wanted))
        .try_init()
}

/// Crates whose events are recorded at every level.
const OWN_CRATES: [&str; 3] = ["autobench", "autobench_core", "autobench_sim"];

/// The layer that turns events into records.
#[derive(Debug, Clone)]
pub struct LogLayer {
    logs: LogHandle,
}

impl LogLayer {
    /// A layer that appends to `logs`.
    pub fn new(logs: LogHandle) -> Self {
        Self { logs }
    }
}

thread_local! {
    static IS_RECORDING: Cell<bool> = const { Cell::new(false) };
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // Whoever logs from within the logger would be logged for ever.
        if IS_RECORDING.replace(true) {
            return;
        }
        self.logs.append(record_of(event));
        IS_RECORDING.set(false);
    }
}

fn record_of(event: &Event<'_>) -> LogRecord {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let target = event.metadata().target();
    let level = match *event.metadata().level() {
        Level::TRACE | Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR if fields.is_fatal => LogLevel::Fatal,
        Level::ERROR => LogLevel::Error,
    };
    let mut message = fields.message;
    message.push_str(&fields.attributes);
    LogRecord {
        channel: fields.channel.unwrap_or_else(|| channel_of(target).to_owned()),
        level,
        message: message.trim_start().to_owned(),
        tag: fields.tag,
        module: Some(fields.module.unwrap_or_else(|| module_of(target).to_owned())),
        emoji: None,
    }
}

/// The channel of a module that names none.
fn channel_of(target: &str) -> &'static str {
    match module_of(target).split("::").next().unwrap_or_default() {
        "serial" | "driver" | "commands" => "device",
        "hub" => "websocket",
        "http" => "request",
        _ => "app",
    }
}

/// The part of the daemon, or the foreign crate's own path.
fn module_of(target: &str) -> &str {
    target.strip_prefix("autobench::").unwrap_or(target)
}

#[derive(Default)]
struct Fields {
    message: String,
    attributes: String,
    channel: Option<String>,
    tag: Option<String>,
    module: Option<String>,
    is_fatal: bool,
}

impl Fields {
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "message" => self.message.push_str(value),
            "channel" => self.channel = Some(value.to_owned()),
            "tag" => self.tag = Some(value.to_owned()),
            "module" => self.module = Some(value.to_owned()),
            _ => {
                self.attributes.push(' ');
                let mut attribute = String::new();
                push_attribute(&mut attribute, name, value);
                self.attributes.push_str(&attribute);
            }
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "fatal" {
            self.is_fatal = value;
        } else {
            self.take(field.name(), if value { "true" } else { "false" });
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.take(field.name(), &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field.name(), &format!("{value:?}"));
    }
}
