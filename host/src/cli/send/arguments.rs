//! What a command is asked for: the arguments of the command line, with the types of the manifest.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::cli::SendArguments;

/// What the manifest in the state says of the command.
pub(super) fn description<'a>(state: &'a Value, arguments: &SendArguments) -> Option<&'a Value> {
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
    commands
        .as_array()?
        .iter()
        .find(|command| command.get("name").and_then(Value::as_str) == Some(&arguments.command))
}

pub(super) fn command_arguments(
    arguments: &SendArguments,
    schema: Option<&Value>,
) -> Result<Map<String, Value>, String> {
    let given = arguments.args.as_deref().map(given).transpose()?;
    let mut args = match &given {
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

/// What `--args` stands for: itself, a file's content, or standard input's. Whoever lists the machine's programs sees arguments, and not those.
fn given(text: &str) -> Result<Cow<'_, str>, String> {
    let read = match (text, text.strip_prefix('@')) {
        ("-", _) => std::io::read_to_string(std::io::stdin()),
        (_, Some(path)) => std::fs::read_to_string(path),
        (_, None) => return Ok(text.into()),
    };
    match read {
        Ok(text) => Ok(text.into()),
        Err(error) => Err(format!("--args {text} cannot be read: {error}")),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
            hold_for: None,
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
            command_arguments(
                &arguments,
                description(&state, &arguments).and_then(|command| command.get("argumentsSchema")),
            )
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
    fn arguments_come_from_a_file_where_the_command_line_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("args.json");
        std::fs::write(&path, r#"{"ms": 200}"#).unwrap();
        let at = format!("@{}", path.display());
        let read = command_arguments(&arguments(&[], Some(&at)), None).unwrap();
        assert_eq!(Value::Object(read), json!({"ms": 200}));
        let missing = command_arguments(&arguments(&[], Some("@/no/such/file")), None).unwrap_err();
        assert!(
            missing.starts_with("--args @/no/such/file cannot be read:"),
            "{missing}"
        );
    }
}
