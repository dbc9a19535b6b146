//! What a JSON Schema from a plugin may be, so that checking arguments costs no more than reading them.
//!
//! A schema is bounded in size by whoever loads it. Here it is held to three more things: it refers to nothing but places in itself, no
//! reference leads back to where it came from, and with every reference written out it is still of a bounded size. A schema of a few lines
//! can otherwise take a checker years: `{"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}`, forty deep, or overflow its stack.

use std::collections::HashMap;

use serde_json::Value;

/// Most objects of a schema with every reference written out.
pub const EXPANDED_OBJECTS: u64 = 20_000;

/// References that may be followed one from another.
const REFERENCES_DEEP: usize = 64;

/// Members whose content is data and no schema.
const DATA: [&str; 4] = ["const", "enum", "default", "examples"];
/// Members that would make a reference mean something else, or that only a schema with recursion needs.
const REFUSED: [&str; 6] = [
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$anchor",
    "$vocabulary",
];

/// Why a schema is not taken, for the plugin's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaRefused {
    /// It refers to something that is not in it.
    #[error("the reference {0:?} leads outside; only \"#\" and \"#/…\" are followed")]
    Foreign(String),
    /// It refers to a place that is not there.
    #[error("the reference {0:?} leads to nothing")]
    Dangling(String),
    /// A reference leads back to itself.
    #[error("the reference {0:?} leads back to itself; recursion is not taken")]
    Recursive(String),
    /// References are nested too deep.
    #[error("a reference is behind more than {REFERENCES_DEEP} others")]
    TooDeep,
    /// It is too large with its references written out.
    #[error("with its references written out it has more than {EXPANDED_OBJECTS} objects")]
    TooLarge,
    /// It uses a keyword that is not taken.
    #[error("the keyword {0:?} is not taken")]
    Keyword(String),
}

/// Checks a schema. Its depth is that of a parsed JSON text, which the parser limits.
pub fn check(schema: &Value) -> Result<(), SchemaRefused> {
    let mut check = Check {
        root: schema,
        sizes: HashMap::new(),
        open: Vec::new(),
    };
    check.size(schema, true).map(|_| ())
}

struct Check<'a> {
    root: &'a Value,
    /// Sizes of places that were referred to, with their references written out.
    sizes: HashMap<&'a str, u64>,
    /// References that are being followed.
    open: Vec<&'a str>,
}

impl<'a> Check<'a> {
    fn size(&mut self, schema: &'a Value, is_root: bool) -> Result<u64, SchemaRefused> {
        let total = match schema {
            Value::Array(items) => {
                let mut total = 1_u64;
                for item in items {
                    total = total.saturating_add(self.size(item, false)?);
                }
                total
            }
            Value::Object(members) => {
                let mut total = 1_u64;
                for (name, member) in members {
                    let added = match (name.as_str(), member) {
                        // A text under these names is the keyword; a property of that name has a schema, which is an object or a boolean.
                        ("$ref", Value::String(reference)) => self.follow(reference)?,
                        ("$id", Value::String(_)) if !is_root => {
                            return Err(SchemaRefused::Keyword(name.clone()));
                        }
                        (keyword, Value::String(_) | Value::Bool(_)) if REFUSED.contains(&keyword) => {
                            return Err(SchemaRefused::Keyword(name.clone()));
                        }
                        // A list there is data. An object may be the schema of a property of that name, so it is looked into: that refuses
                        // nothing that a person would write, and misses nothing.
                        (keyword, Value::Array(_)) if DATA.contains(&keyword) => 1,
                        _ => self.size(member, false)?,
                    };
                    total = total.saturating_add(added);
                }
                total
            }
            _ => 0,
        };
        if total > EXPANDED_OBJECTS {
            return Err(SchemaRefused::TooLarge);
        }
        Ok(total)
    }

    fn follow(&mut self, reference: &'a str) -> Result<u64, SchemaRefused> {
        if let Some(size) = self.sizes.get(reference) {
            return Ok(*size);
        }
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(SchemaRefused::Foreign(reference.to_owned()));
        };
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(SchemaRefused::Foreign(reference.to_owned()));
        }
        if self.open.contains(&reference) {
            return Err(SchemaRefused::Recursive(reference.to_owned()));
        }
        if self.open.len() >= REFERENCES_DEEP {
            return Err(SchemaRefused::TooDeep);
        }
        // As a checker and a page read it: percent signs first, then the pointer.
        let target = percent_decoded(pointer)
            .and_then(|pointer| self.root.pointer(&pointer))
            .ok_or_else(|| SchemaRefused::Dangling(reference.to_owned()))?;
        self.open.push(reference);
        let size = self.size(target, std::ptr::eq(target, self.root))?;
        self.open.pop();
        self.sizes.insert(reference, size);
        Ok(size)
    }
}

/// A pointer without its percent signs; none if they are not followed by bytes of a text.
fn percent_decoded(pointer: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut parts = pointer.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_as_the_sdk_derives_them_are_taken() {
        for schema in [
            json!(true),
            json!({"type": "object", "properties": {"ms": {"type": "integer", "minimum": 1}}, "required": ["ms"]}),
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Pulse", "type": "object",
                "properties": {"line": {"$ref": "#/$defs/Line"}, "other": {"$ref": "#/$defs/Line"}, "$ref": {"type": "string"},
                    "default": {"type": "integer", "default": {"a": 1}}, "odd": {"$ref": "#/$defs/%C3%A9%20x~1y"}},
                "$defs": {"é x/y": {"type": "null"}, "Line": {"enum": ["a", "b", {"$ref": "http://data"}]}}}),
        ] {
            assert_eq!(check(&schema), Ok(()), "{schema}");
        }
    }

    #[test]
    fn a_schema_refers_to_nothing_but_itself() {
        for (reference, refused) in [
            ("http://example.com/x.json", "leads outside"),
            ("other.json#/a", "leads outside"),
            ("#anchor", "leads outside"),
            ("#/$defs/none", "leads to nothing"),
            ("#/$defs/50%", "leads to nothing"),
            ("#/$defs/%FF", "leads to nothing"),
        ] {
            let error = check(&json!({"properties": {"a": {"$ref": reference}}})).unwrap_err();
            assert!(error.to_string().contains(refused), "{reference}: {error}");
        }
        for keyword in ["$dynamicRef", "$anchor", "$recursiveRef"] {
            let schema = json!({"items": {keyword: "#a"}});
            assert_eq!(check(&schema), Err(SchemaRefused::Keyword(keyword.to_owned())));
        }
        assert_eq!(
            check(&json!({"items": {"$id": "http://example.com/"}})),
            Err(SchemaRefused::Keyword("$id".to_owned()))
        );
    }

    #[test]
    fn a_reference_that_leads_back_is_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"properties": {"next": {"$ref": "#"}}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
            // A checker reads percent signs: this is `ab`, whatever else is there.
            json!({"$ref": "#/$defs/a%62", "$defs": {"ab": {"not": {"$ref": "#/$defs/a%62"}}, "a%62": true}}),
        ] {
            let error = check(&schema).unwrap_err();
            assert!(matches!(error, SchemaRefused::Recursive(_)), "{schema}: {error}");
        }
    }

    #[test]
    fn a_schema_that_unfolds_without_end_is_refused_at_once() {
        let mut definitions = serde_json::Map::new();
        definitions.insert("d0".to_owned(), json!({"type": "integer"}));
        for level in 1..50 {
            let below = format!("#/$defs/d{}", level - 1);
            definitions.insert(
                format!("d{level}"),
                json!({"allOf": [{"$ref": below}, {"$ref": below}]}),
            );
        }
        let schema = json!({"$ref": "#/$defs/d49", "$defs": definitions});
        assert_eq!(check(&schema), Err(SchemaRefused::TooLarge));
    }

    #[test]
    fn a_chain_of_references_is_bounded() {
        let mut definitions = serde_json::Map::new();
        for level in 0..3_000 {
            definitions.insert(
                format!("{level}"),
                json!({"$ref": format!("#/$defs/{}", level + 1)}),
            );
        }
        definitions.insert("3000".to_owned(), json!(true));
        let schema = json!({"$ref": "#/$defs/0", "$defs": definitions});
        assert_eq!(check(&schema), Err(SchemaRefused::TooDeep));
    }
}
