//! `autobench send`: one command to one device, and what becomes of it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use autobench_core::commands::Stage;
use autobench_core::wire::CommandStatus;
use fastwebsockets::{Frame, OpCode, Payload};
use serde_json::{Map, Value, json};

use super::target::Target;
use super::watch::{Away, Socket, close_reason, connect};
use super::{Failure, SendArguments, usage};

/// How much longer than the command itself its end is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the daemon may take to say how the bench is, and to take the command.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Names this message among those of this connection, of which there is one.
const MESSAGE_ID: &str = "send";

/// The command was not taken.
const REFUSED: u8 = 3;

pub(super) fn send(arguments: &SendArguments, token: Option<&str>, json: bool) -> Result<ExitCode, Failure> {
    let token = usage::token(arguments.token_file.as_deref(), token)?;
    let target = Target::parse(&arguments.url)?.with_token(token.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let code = runtime.block_on(run(&target, arguments, json, &mut std::io::stdout()))?;
    Ok(ExitCode::from(code))
}

async fn run(
    target: &Target,
    arguments: &SendArguments,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let mut socket = connect(target).await.map_err(Away::into_error)?;
    let state = within(ANSWER_WAIT, "the daemon does not say how the bench is", async {
        loop {
            let message = receive(&mut socket).await?;
            match kind(&message) {
                "state.snapshot" => return Ok(message.get("data").cloned().unwrap_or_default()),
                "welcome" if message.get("authRequired").and_then(Value::as_bool) == Some(true) => {
                    bail!("the daemon wants a token; give one with --token-file, or in AUTOBENCH_TOKEN")
                }
                _ => {}
            }
        }
    })
    .await?;
    let args = match command_arguments(arguments, schema(&state, arguments)) {
        Ok(args) => args,
        Err(problem) => {
            eprintln!("autobench: {problem}");
            return Ok(2);
        }
    };
    let deadline_ms = arguments.timeout_s.map(|seconds| (seconds * 1e3).ceil() as u64);
    let mut message = json!({
        "type": "command",
        "id": MESSAGE_ID,
        "device": arguments.device,
        "name": arguments.command,
        "args": args,
    });
    if let Some(members) = message.as_object_mut() {
        members.extend(
            arguments
                .key
                .clone()
                .map(|key| ("idempotencyKey".to_owned(), key.into())),
        );
        members.extend(deadline_ms.map(|deadline| ("deadlineMs".to_owned(), deadline.into())));
    }
    let frame = Frame::text(Payload::Owned(message.to_string().into_bytes()));
    socket
        .write_frame(frame)
        .await
        .context("the command cannot be sent")?;
    let longest = Duration::from_millis(deadline_ms.unwrap_or(autobench_core::commands::DEADLINE_DEFAULT_MS));
    within(
        longest + PATIENCE,
        "the daemon does not say how the command ended",
        async { follow(&mut socket, arguments.wait, json, out).await },
    )
    .await
}

/// Prints stages until the last, or until the command is taken. The answer is the exit code.
async fn follow(socket: &mut Socket, waits: bool, json: bool, out: &mut impl Write) -> anyhow::Result<u8> {
    let mut id = None;
    loop {
        let message = receive(socket).await?;
        match kind(&message) {
            "error" if message.get("id").and_then(Value::as_str) == Some(MESSAGE_ID) => {
                let word = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
                if json {
                    say(
                        out,
                        &json!({"event": "refused", "code": word("code"), "message": word("message")})
                            .to_string(),
                    );
                }
                eprintln!("autobench: refused, {}: {}", word("code"), word("message"));
                return Ok(REFUSED);
            }
            "ack" if message.get("id").and_then(Value::as_str) == Some(MESSAGE_ID) => {
                id = message
                    .get("commandId")
                    .and_then(Value::as_str)
                    .map(str::to_owned);
            }
            "command_status" if message.get("commandId").and_then(Value::as_str) == id.as_deref() => {
                let status: CommandStatus = serde_json::from_value(message)
                    .context("the daemon says something else than this autobench knows")?;
                let line = if json {
                    let mut value = serde_json::to_value(&status)?;
                    if let Some(members) = value.as_object_mut() {
                        members.insert("event".to_owned(), "command".into());
                    }
                    value.to_string()
                } else {
                    described(&status)
                };
                say(out, &line);
                if status.status.is_final() {
                    return Ok(exit_code(status.status));
                }
                if !waits {
                    return Ok(0);
                }
            }
            _ => {}
        }
    }
}

/// Nobody reads any more, for example behind `head`: the command goes on, and the exit code still tells.
fn say(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

const fn exit_code(stage: Stage) -> u8 {
    match stage {
        Stage::Queued | Stage::Sent | Stage::Acked | Stage::Succeeded => 0,
        Stage::Failed => 1,
        Stage::Blocked => 4,
        Stage::Expired => 5,
        Stage::Cancelled => 6,
    }
}

/// One stage in one line for a person.
fn described(status: &CommandStatus) -> String {
    let newest = [&status.completed_at, &status.acked_at, &status.sent_at];
    let at = newest.into_iter().flatten().next().unwrap_or(&status.queued_at);
    let mut line = format!(
        "{at}  {:<9}  {} {} ({})",
        status.status, status.device, status.name, status.command_id
    );
    if let Some(reason) = &status.reason {
        line.push_str(&format!(": {reason}"));
    } else if let Some(value) = &status.actual_value {
        line.push_str(&format!(": {value}"));
    } else if let Some(progress) = status.progress.as_ref().filter(|_| !status.status.is_final()) {
        let share = progress.share.map(|share| format!(" {:.0} %", share * 100.0));
        line.push_str(&format!(": {}{}", progress.message, share.unwrap_or_default()));
    }
    line
}

// --- arguments ---

/// The schema of the command's arguments, from the manifest in the state.
fn schema<'a>(state: &'a Value, arguments: &SendArguments) -> Option<&'a Value> {
    let plugin = state
        .get("devices")?
        .get(&arguments.device)?
        .get("plugin")?
        .as_str()?;
    let commands = state
        .get("plugins")?
        .get(plugin)?
        .get("manifest")?
        .get("commands")?;
    let command = commands
        .as_array()?
        .iter()
        .find(|command| command.get("name").and_then(Value::as_str) == Some(&arguments.command))?;
    command.get("argumentsSchema")
}

fn command_arguments(
    arguments: &SendArguments,
    schema: Option<&Value>,
) -> Result<Map<String, Value>, String> {
    let mut args = match &arguments.args {
        None => Map::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(Value::Object(args)) => args,
            Ok(_) => return Err("--args takes a JSON object, for example '{\"ms\": 200}'".to_owned()),
            Err(error) => return Err(format!("--args is no JSON: {error}")),
        },
    };
    for (name, text) in &arguments.arg {
        let property = schema.and_then(|schema| Some((schema, schema.get("properties")?.get(name)?)));
        let value = match property {
            Some((root, property)) => typed(root, property, text).ok_or_else(|| {
                format!(
                    "--arg {name}={text}: {name} is {}",
                    kinds(root, property).join(" or ")
                )
            })?,
            // The daemon knows best what is wrong with a name that the manifest does not have.
            None => Value::from(text.as_str()),
        };
        args.insert(name.clone(), value);
    }
    Ok(args)
}

/// A value as the schema wants it. A text comes last: everything is one.
fn typed(root: &Value, property: &Value, text: &str) -> Option<Value> {
    let kinds = kinds(root, property);
    let has = |kind: &str| kinds.iter().any(|known| known == kind);
    let whole = || {
        text.parse::<i64>()
            .ok()
            .filter(|_| has("integer") || has("number"))
            .map(Value::from)
    };
    let number = || {
        let number = text.parse::<f64>().ok().filter(|_| has("number"))?;
        serde_json::Number::from_f64(number).map(Value::Number)
    };
    let boolean = || {
        text.parse::<bool>()
            .ok()
            .filter(|_| has("boolean"))
            .map(Value::Bool)
    };
    let null = || (text == "null" && has("null") && !has("string")).then_some(Value::Null);
    let json = || {
        let value: Value = serde_json::from_str(text).ok()?;
        ((value.is_object() && has("object")) || (value.is_array() && has("array"))).then_some(value)
    };
    let string = || (has("string") || kinds.is_empty()).then(|| Value::from(text));
    whole()
        .or_else(number)
        .or_else(boolean)
        .or_else(null)
        .or_else(json)
        .or_else(string)
}

/// The types that a schema names, through one reference and one level of alternatives.
fn kinds(root: &Value, schema: &Value) -> Vec<String> {
    let schema = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?))
        .unwrap_or(schema);
    let mut kinds = Vec::new();
    match schema.get("type") {
        Some(Value::String(kind)) => kinds.push(kind.clone()),
        Some(Value::Array(all)) => kinds.extend(all.iter().filter_map(Value::as_str).map(str::to_owned)),
        _ if schema.get("enum").is_some() || schema.get("const").is_some() => kinds.push("string".to_owned()),
        _ => {}
    }
    let alternatives = ["anyOf", "oneOf"]
        .iter()
        .filter_map(|name| schema.get(*name)?.as_array());
    for alternative in alternatives.flatten() {
        kinds.extend(self::kinds(root, alternative));
    }
    kinds
}

// --- the socket ---

async fn receive(socket: &mut Socket) -> anyhow::Result<Value> {
    loop {
        let frame = socket.read_frame().await.context("the connection has ended")?;
        match frame.opcode {
            OpCode::Text => {
                return serde_json::from_slice(&frame.payload).context("the daemon speaks no JSON");
            }
            OpCode::Close => bail!("the connection has ended: {}", close_reason(&frame.payload)),
            OpCode::Binary | OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

async fn within<T>(
    duration: Duration,
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(duration, work).await {
        Ok(done) => done,
        Err(_) => bail!("{what} within {} s", duration.as_secs()),
    }
}

fn kind(message: &Value) -> &str {
    message.get("type").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(arg: &[(&str, &str)], args: Option<&str>) -> SendArguments {
        SendArguments {
            device: "relay".to_owned(),
            command: "pulse".to_owned(),
            arg: arg
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            args: args.map(str::to_owned),
            wait: false,
            timeout_s: None,
            key: None,
            url: String::new(),
            token_file: None,
        }
    }

    fn manifest() -> Value {
        json!({
            "devices": {"relay": {"plugin": "board"}},
            "plugins": {"board": {"manifest": {"commands": [{"name": "pulse", "argumentsSchema": {
                "properties": {
                    "ms": {"type": "integer"}, "share": {"type": "number"}, "loud": {"type": "boolean"},
                    "label": {"type": ["string", "null"]}, "line": {"$ref": "#/$defs/Line"},
                    "list": {"type": "array"}, "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                },
                "$defs": {"Line": {"enum": ["a", "b"]}},
            }}]}}},
        })
    }

    #[test]
    fn arguments_have_the_types_of_the_manifest() {
        let state = manifest();
        let typed = |arg: &[(&str, &str)]| {
            let arguments = arguments(arg, Some(r#"{"label": "from json"}"#));
            command_arguments(&arguments, schema(&state, &arguments))
        };
        let all = typed(&[
            ("ms", "200"),
            ("share", "0.5"),
            ("loud", "true"),
            ("line", "a"),
            ("list", "[1]"),
            ("either", "null"),
            ("unknown", "7"),
        ]);
        assert_eq!(
            Value::Object(all.unwrap()),
            json!({"ms": 200, "share": 0.5, "loud": true, "line": "a", "list": [1], "either": null, "unknown": "7",
                "label": "from json"})
        );
        assert_eq!(
            typed(&[("label", "12")]).unwrap()["label"],
            "12",
            "a text stays a text"
        );
        assert_eq!(typed(&[("share", "2")]).unwrap()["share"], 2);
        for (wrong, word) in [
            (("ms", "1.5"), "integer"),
            (("ms", "x"), "integer"),
            (("loud", "yes"), "boolean"),
        ] {
            let problem = typed(&[wrong]).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
        assert!(
            command_arguments(&arguments(&[], Some("[]")), None)
                .unwrap_err()
                .contains("object")
        );
        assert!(
            command_arguments(&arguments(&[], Some("{")), None)
                .unwrap_err()
                .contains("JSON")
        );
    }

    #[test]
    fn every_outcome_has_its_exit_code() {
        let codes = [
            Stage::Succeeded,
            Stage::Failed,
            Stage::Blocked,
            Stage::Expired,
            Stage::Cancelled,
        ]
        .map(exit_code);
        assert_eq!(codes, [0, 1, 4, 5, 6]);
    }
}
