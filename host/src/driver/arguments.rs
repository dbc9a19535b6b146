//! The commands of a manifest, ready to check what a client wants of them.

use std::collections::BTreeMap;

use autobench_core::commands::schema;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::manifest::CommandDescription;

/// What the automaton of one pattern may take. A pattern that a person writes takes a hundredth.
const PATTERN_BYTES: usize = 256 << 10;

/// What is said of a wrong value at most.
const COMPLAINT_CHARS: usize = 300;

/// The commands of one version of a driver.
pub struct CommandTable {
    commands: BTreeMap<String, Declared>,
}

struct Declared {
    arguments: Validator,
    /// The names of its arguments, where it takes no others.
    closed: Option<Vec<String>>,
    is_dangerous: bool,
    is_hold: bool,
    secret_when: Option<String>,
}

/// Why a command cannot be as a client wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// There is no such command; these are there.
    Unknown(Vec<String>),
    /// It needs a grant.
    Dangerous,
    /// The arguments are wrong: where, and how.
    Arguments(String),
}

impl CommandTable {
    /// Compiles the schemas, or says which is not taken and why.
    pub fn compile(descriptions: &[CommandDescription]) -> Result<Self, String> {
        let declared = descriptions.iter().map(|description| {
            let arguments = validator(&description.arguments_schema).map_err(|problem| {
                format!(
                    "the arguments-schema of the command {:?} is not taken: {problem}",
                    description.name
                )
            })?;
            let declared = Declared {
                arguments,
                closed: closed(&description.arguments_schema),
                is_dangerous: description.dangerous,
                is_hold: description.hold,
                secret_when: description.secret_when.clone(),
            };
            Ok((description.name.clone(), declared))
        });
        Ok(Self {
            commands: declared.collect::<Result<_, String>>()?,
        })
    }

    /// Whether what this command begins lasts only as long as a client holds it.
    pub fn is_hold(&self, name: &str) -> bool {
        self.commands.get(name).is_some_and(|declared| declared.is_hold)
    }

    /// Whether these arguments are nobody's business, as the one of them says that the manifest names.
    pub fn is_secret(&self, name: &str, arguments: &Value) -> bool {
        let secret_when = self
            .commands
            .get(name)
            .and_then(|declared| declared.secret_when.as_ref());
        secret_when.is_some_and(|argument| arguments.get(argument) == Some(&Value::Bool(true)))
    }

    /// Whether a command of this name takes these arguments, and whether it is granted where it is dangerous.
    pub fn check(&self, name: &str, arguments: &Value, granted: &[String]) -> Result<(), Unfit> {
        let Some(declared) = self.commands.get(name) else {
            return Err(Unfit::Unknown(self.commands.keys().cloned().collect()));
        };
        if declared.is_dangerous && !granted.iter().any(|granted| granted == name) {
            return Err(Unfit::Dangerous);
        }
        if let Some(surplus) = declared.surplus(arguments) {
            return Err(Unfit::Arguments(surplus));
        }
        match complaint(&declared.arguments, arguments, "the arguments") {
            Some(complaint) => Err(Unfit::Arguments(complaint)),
            None => Ok(()),
        }
    }
}

impl Declared {
    /// A name that is none of its arguments, said better than a checker says it.
    fn surplus(&self, arguments: &Value) -> Option<String> {
        let known = self.closed.as_ref()?;
        let surplus = arguments.as_object()?.keys().find(|name| !known.contains(name))?;
        let surplus: String = surplus.chars().take(COMPLAINT_CHARS).collect();
        Some(if known.is_empty() {
            format!("the arguments: {surplus:?} is too much, it takes none")
        } else {
            format!(
                "the arguments: {surplus:?} is none of them; there are: {}",
                known.join(", ")
            )
        })
    }
}

fn closed(schema: &Value) -> Option<Vec<String>> {
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    if !is_closed || schema.get("patternProperties").is_some() {
        return None;
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    Some(
        properties
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default(),
    )
}

/// What is wrong with a value first: where, and how. `whole` is what the value is called.
pub(super) fn complaint(schema: &Validator, value: &Value, whole: &str) -> Option<String> {
    let error = schema.validate(value).err()?;
    let path = error.instance_path().to_string();
    let place = if path.is_empty() { whole } else { &path };
    let complaint: String = error.to_string().chars().take(COMPLAINT_CHARS).collect();
    Some(format!("{place}: {complaint}"))
}

/// A schema that checks at a bounded cost.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    schema::check(schema).map_err(|error| error.to_string())?;
    jsonschema::options()
        .offline()
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_BYTES)
                .dfa_size_limit(PATTERN_BYTES),
        )
        .build(schema)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(schema: Value, dangerous: bool) -> Result<CommandTable, String> {
        CommandTable::compile(&[CommandDescription {
            name: "pulse".to_owned(),
            description: String::new(),
            arguments_schema: schema,
            dangerous,
            hold: false,
            secret_when: None,
        }])
    }

    #[test]
    fn wrong_arguments_are_told_with_their_place() {
        let table = table(
            json!({"type": "object", "required": ["ms"], "additionalProperties": false,
                "properties": {"ms": {"$ref": "#/$defs/Ms"}, "label": {"type": "string", "pattern": "^[a-z]+$"}},
                "$defs": {"Ms": {"type": "integer", "minimum": 1, "maximum": 100, "format": "uint32"}}}),
            false,
        )
        .unwrap();
        assert_eq!(
            table.check("pulse", &json!({"ms": 5, "label": "abc"}), &[]),
            Ok(())
        );
        for (arguments, place, word) in [
            (json!({"ms": 0}), "/ms", "minimum"),
            (json!({"ms": "5"}), "/ms", "integer"),
            (json!({"ms": 5, "label": "A"}), "/label", "match"),
            (json!({}), "the arguments", "ms"),
            (json!({"ms": 5, "other": 1}), "the arguments", "other"),
        ] {
            match table.check("pulse", &arguments, &[]) {
                Err(Unfit::Arguments(text)) => {
                    assert!(
                        text.starts_with(place) && text.contains(word),
                        "{arguments}: {text}"
                    );
                }
                other => panic!("{arguments}: {other:?}"),
            }
        }
        assert_eq!(
            table.check("press", &json!({}), &[]),
            Err(Unfit::Unknown(vec!["pulse".to_owned()]))
        );
    }

    #[test]
    fn a_dangerous_command_wants_a_grant() {
        let table = table(json!({"type": "object"}), true).unwrap();
        assert_eq!(table.check("pulse", &json!({}), &[]), Err(Unfit::Dangerous));
        assert_eq!(table.check("pulse", &json!({}), &["pulse".to_owned()]), Ok(()));
    }

    #[test]
    fn schemas_that_could_cost_without_end_are_not_taken() {
        for (schema, word) in [
            (json!({"$ref": "http://127.0.0.1:1/x.json"}), "outside"),
            (json!({"$ref": "#"}), "back to itself"),
            (json!({"type": "no-such-type"}), "no-such-type"),
            (json!({"properties": {"a": {"pattern": "(a)\\1"}}}), "regex"),
            (json!({"properties": {"a": {"pattern": "(?=a)b"}}}), "regex"),
            (
                json!({"properties": {"a": {"pattern": "(\\w{500}){500}"}}}),
                "regex",
            ),
            (
                json!({"$schema": "http://example.com/unknown"}),
                "http://example.com/unknown",
            ),
        ] {
            match table(schema.clone(), false) {
                Err(problem) => {
                    assert!(
                        problem.contains("\"pulse\"") && problem.contains(word),
                        "{schema}: {problem}"
                    );
                }
                Ok(_) => panic!("{schema} is taken"),
            }
        }
    }
}
