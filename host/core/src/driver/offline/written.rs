//! What a driver asked for, as JSON: for golden files, reports, and a person.

use serde_json::{Map, Value as Json, json};

use super::recorder::Entry;
use crate::capture::{Bytes, written_line};
use crate::driver::{
    AlarmChange, CallTime, CommandReply, Effects, LeaseChange, LogLevel, LogLine, Outcome, PortAction,
    PortIndex, Publication, Severity, StatusChange, TimerChange,
};
use crate::state::{Operation, Value};

pub(super) fn entry(entry: &Entry, port: &str, series: &[String]) -> Json {
    match entry {
        Entry::Call {
            told,
            time,
            effects,
            refused,
        } => {
            let mut members = Map::new();
            members.insert("call".to_owned(), told.to_string().into());
            members.insert("ns".to_owned(), time.monotonic_ns.into());
            fill(&mut members, effects, *time, port, series);
            if let Some(refused) = refused {
                members.insert("refused".to_owned(), refused.clone().into());
            }
            members.into()
        }
        Entry::BrokeDown(what) => json!({ "brokeDown": what }),
        Entry::GivenUp(what) => json!({ "givenUp": what }),
        Entry::LeaseOver(over) => {
            let release = port_action(port, &PortAction::Write(over.lease.release.to_vec()));
            json!({ "leaseOver": over.lease.id.0, "reason": &*over.reason, "release": release })
        }
        Entry::Logs(lines) => json!({ "logsOfFailedCall": lines.iter().map(log).collect::<Vec<_>>() }),
    }
}

fn fill(members: &mut Map<String, Json>, effects: &Effects, time: CallTime, port: &str, series: &[String]) {
    let mut put = |name: &str, values: Vec<Json>| {
        if !values.is_empty() {
            members.insert(name.to_owned(), values.into());
        }
    };
    put("updates", effects.operations.iter().map(operation).collect());
    let samples = effects.samples.iter().map(|(index, sample)| {
        let name = usize::try_from(*index).ok().and_then(|index| series.get(index));
        json!([name, sample.timestamp_ms, sample.value])
    });
    put("samples", samples.collect());
    put(
        "writes",
        effects
            .port_actions
            .iter()
            .map(|(_, action)| port_action(port, action))
            .collect(),
    );
    put("events", effects.publications.iter().map(publication).collect());
    put("alarms", effects.alarms.iter().map(alarm).collect());
    put("results", effects.replies.iter().map(reply).collect());
    put(
        "timers",
        effects.timers.iter().map(|change| timer(change, time)).collect(),
    );
    put(
        "leases",
        effects
            .leases
            .iter()
            .map(|change| lease(change, |_| port))
            .collect(),
    );
    put("status", effects.status.iter().map(status).collect());
    put("logs", effects.logs.iter().map(log).collect());
    if effects.logs_suppressed > 0 {
        members.insert("logsLeftOut".to_owned(), effects.logs_suppressed.into());
    }
}

fn operation(operation: &Operation) -> Json {
    match operation {
        Operation::Set { path, value: to } => json!({ "set": path.as_str(), "value": value(to) }),
        Operation::Remove { path } => json!({ "remove": path.as_str() }),
        Operation::Append {
            path,
            value: to,
            bound,
        } => json!({ "append": path.as_str(), "value": value(to), "bound": bound }),
    }
}

fn value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(boolean) => (*boolean).into(),
        Value::Integer(integer) => (*integer).into(),
        Value::Float(float) => (*float).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Json(json) => json.clone(),
    }
}

pub(crate) fn port_action(port: &str, action: &PortAction) -> Json {
    match action {
        PortAction::Write(data) => match Bytes::of(data) {
            Bytes::Text(text) => json!({ "port": port, "text": text }),
            Bytes::Hex(hex) => json!({ "port": port, "hex": hex }),
        },
        PortAction::Undo(lease) => {
            let mut written = port_action(port, &PortAction::Write(lease.release.to_vec()));
            if let Some(members) = written.as_object_mut() {
                members.insert("undoes".to_owned(), lease.id.0.into());
            }
            written
        }
        PortAction::DiscardOutput => json!({ "port": port, "discard": true }),
        PortAction::SetLine(line) => json!({ "port": port, "line": written_line(*line) }),
        PortAction::SetSignals {
            data_terminal_ready,
            request_to_send,
            break_condition,
        } => {
            json!({ "port": port, "dtr": data_terminal_ready, "rts": request_to_send, "break": break_condition })
        }
    }
}

pub(crate) fn publication(event: &Publication) -> Json {
    json!({ "level": level(event.level), "kind": event.kind, "message": event.message, "context": event.context })
}

pub(crate) fn status(change: &StatusChange) -> Json {
    match change {
        StatusChange::Phase(phase) => json!({ "phase": phase }),
        StatusChange::Failed(reason) => json!({ "failed": reason }),
    }
}

pub(crate) fn alarm(change: &AlarmChange) -> Json {
    match change {
        AlarmChange::Raise {
            key,
            severity,
            message,
        } => {
            let severity = match severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            };
            json!({ "raise": key, "severity": severity, "message": message })
        }
        AlarmChange::Clear { key } => json!({ "clear": key }),
    }
}

pub(crate) fn reply(reply: &CommandReply) -> Json {
    match reply {
        CommandReply::Acknowledge { id } => json!({ "command": &*id.0, "stage": "acked" }),
        CommandReply::Progress { id, message, share } => {
            json!({ "command": &*id.0, "stage": "progress", "message": message, "share": share })
        }
        CommandReply::Complete { id, outcome } => {
            let (stage, more) = match outcome {
                Outcome::Succeeded(actual) => ("succeeded", actual.as_ref().map(value)),
                Outcome::Failed(reason) => ("failed", Some(reason.as_str().into())),
                Outcome::Blocked(reason) => ("blocked", Some(reason.as_str().into())),
                Outcome::Cancelled => ("cancelled", None),
            };
            json!({ "command": &*id.0, "stage": stage, "value": more })
        }
    }
}

fn timer(change: &TimerChange, time: CallTime) -> Json {
    match change {
        TimerChange::Set { id, at_ns } => {
            let after_ns = at_ns.saturating_sub(time.monotonic_ns);
            json!({ "set": id.0, "afterMs": after_ns as f64 / 1.0e6 })
        }
        TimerChange::Cancel { id } => json!({ "cancel": id.0 }),
    }
}

pub(crate) fn lease<'a>(change: &LeaseChange, port_name: impl FnOnce(PortIndex) -> &'a str) -> Json {
    match change {
        LeaseChange::Acquire {
            id,
            port,
            release,
            maximum_ms,
            holder,
        } => json!({
            "acquire": id.0,
            "maximumMs": maximum_ms,
            "holder": holder.as_ref().map(|command| &*command.0),
            "release": port_action(port_name(*port), &PortAction::Write(release.to_vec())),
        }),
        LeaseChange::Release { id, .. } => json!({ "release": id.0 }),
    }
}

fn log(line: &LogLine) -> Json {
    json!({ "level": level(line.level), "message": line.message, "attributes": line.attributes })
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
        LogLevel::Fatal => "fatal",
    }
}
