//! What a driver says of itself, checked and owned by the host.

use std::collections::HashSet;

use autobench_core::commands::schema;
use autobench_core::driver::versions::Wants;
use autobench_core::driver::{LineSettings, OBSERVED_SLICES};
use autobench_core::state::FORBIDDEN_KEYS;
use autobench_core::wire::SeriesKind;
use serde::Serialize;

use super::bindings::autobench::driver::log::Attribute;
use super::bindings::exports::autobench::driver::guest;
use super::convert;

/// Largest schema that a plugin may bring.
const SCHEMA_LIMIT_BYTES: usize = 64 << 10;
/// Longest text for a person.
const TEXT_LIMIT_BYTES: usize = 4 << 10;
/// Longest word for a program.
const WORD_LIMIT_BYTES: usize = 64;
/// The attribute of a command that names the argument which makes it secret.
const SECRET_WHEN: &str = "secret-when";
/// Most entries of each list.
const LIST_LIMIT: usize = 256;

/// A driver's manifest, as it stands in `plugins.<file stem>.manifest`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Name of the driver.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence for a person.
    pub description: String,
    /// Type of the device.
    pub device_type: String,
    /// The slice it would like.
    pub slice: String,
    /// Ports it wants.
    pub ports: Vec<PortWish>,
    /// Series it pushes.
    pub series: Vec<Series>,
    /// Commands it takes.
    pub commands: Vec<CommandDescription>,
    /// Foreign slices it wants to observe.
    pub observes: Vec<String>,
    /// Memory it asks for, if it asks for less than it would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Slice size it asks for, if it asks for less than it would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice_bytes: Option<u64>,
    /// JSON Schema of its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings_schema: Option<serde_json::Value>,
    /// JSON Schema of its slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice_schema: Option<serde_json::Value>,
    /// How a generic pane should show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pane: Option<serde_json::Value>,
    /// Schema version of the snapshots it takes.
    pub snapshot_version: u32,
}

/// A port that a driver wants.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortWish {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Line settings of the device.
    #[serde(serialize_with = "serialize_line")]
    pub line: LineSettings,
    /// USB ids by which the device can be recognised, as `vvvv:pppp`.
    pub usb: Vec<String>,
    /// Whether the driver cannot run without it.
    pub required: bool,
}

/// A series that a driver pushes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// `measurement` or `total`.
    pub kind: SeriesKind,
    /// For a person.
    pub description: String,
}

/// A command that a driver takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandDescription {
    /// Its name.
    pub name: String,
    /// For a person.
    pub description: String,
    /// JSON Schema of its arguments.
    pub arguments_schema: serde_json::Value,
    /// Whether it can harm what the bench runs.
    pub dangerous: bool,
    /// Whether what it begins lasts only as long as the client that asked for it holds it.
    pub hold: bool,
    /// The argument that, when it is true, says that the others are nobody's business: what travels for the command is in no capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_when: Option<String>,
}

impl Manifest {
    /// What it wants of the host. A limit that it does not ask for is as much as there is.
    pub fn wants(&self) -> Wants {
        let dangerous = self.commands.iter().filter(|command| command.dangerous);
        Wants {
            ports: self.ports.iter().map(|port| port.name.clone()).collect(),
            slices: self.observes.iter().cloned().collect(),
            dangerous_commands: dangerous.map(|command| command.name.clone()).collect(),
            memory_bytes: self.memory_bytes.unwrap_or(u64::MAX),
            slice_bytes: self.slice_bytes.unwrap_or(u64::MAX),
        }
    }

    /// Takes over what a driver said, or says what is wrong with it.
    pub fn check(raw: guest::Manifest) -> Result<Self, String> {
        check_name("name", &raw.name)?;
        for (what, text, limit_bytes) in [
            ("version", &raw.version, WORD_LIMIT_BYTES),
            ("device-type", &raw.device_type, WORD_LIMIT_BYTES),
            ("slice", &raw.slice, WORD_LIMIT_BYTES),
            ("description", &raw.description, TEXT_LIMIT_BYTES),
        ] {
            short(what, text, limit_bytes)?;
        }
        for port in &raw.ports {
            short("description of a port", &port.description, TEXT_LIMIT_BYTES)?;
        }
        for series in &raw.series {
            short("unit", &series.unit, WORD_LIMIT_BYTES)?;
            short("description of a series", &series.description, TEXT_LIMIT_BYTES)?;
        }
        for command in &raw.commands {
            short("description of a command", &command.description, TEXT_LIMIT_BYTES)?;
        }
        for observed in &raw.observes {
            short("entry in observes", observed, WORD_LIMIT_BYTES)?;
        }
        bounded("ports", raw.ports.len())?;
        bounded("series", raw.series.len())?;
        bounded("commands", raw.commands.len())?;
        if raw.observes.len() > OBSERVED_SLICES {
            return Err(format!(
                "it observes {} slices; at most {OBSERVED_SLICES} are told of",
                raw.observes.len()
            ));
        }
        unique("observes", raw.observes.iter().map(String::as_str))?;
        unique("ports", raw.ports.iter().map(|port| port.name.as_str()))?;
        unique("series", raw.series.iter().map(|series| series.name.as_str()))?;
        unique(
            "commands",
            raw.commands.iter().map(|command| command.name.as_str()),
        )?;
        let mut memory_bytes = None;
        let mut slice_bytes = None;
        for limit in raw.limits {
            match limit {
                guest::Limit::MemoryBytes(bytes) => memory_bytes = Some(bytes),
                guest::Limit::SliceBytes(bytes) => slice_bytes = Some(bytes),
                // A limit that this version does not know cannot be granted and is not needed to run.
                guest::Limit::Other(_) => {}
            }
        }
        Ok(Self {
            name: raw.name,
            version: raw.version,
            description: raw.description,
            device_type: raw.device_type,
            slice: raw.slice,
            ports: raw.ports.into_iter().map(port_wish).collect(),
            series: raw.series.into_iter().map(series).collect(),
            commands: raw.commands.into_iter().map(command).collect::<Result<_, _>>()?,
            observes: raw.observes,
            memory_bytes,
            slice_bytes,
            settings_schema: raw
                .settings_schema
                .as_deref()
                .map(|text| checked_schema("settings-schema", text))
                .transpose()?,
            slice_schema: raw
                .slice_schema
                .as_deref()
                .map(|text| checked_schema("slice-schema", text))
                .transpose()?,
            pane: raw.pane.as_deref().map(|text| json("pane", text)).transpose()?,
            snapshot_version: raw.snapshot_version,
        })
    }
}

fn port_wish(raw: guest::PortWish) -> PortWish {
    let usb = raw
        .hints
        .iter()
        .filter_map(|hint| match hint {
            guest::IdentityHint::Usb((vendor, product)) => Some(format!("{vendor:04x}:{product:04x}")),
            guest::IdentityHint::Handshake(_) | guest::IdentityHint::Other(_) => None,
        })
        .collect();
    PortWish {
        name: raw.name,
        description: raw.description,
        line: convert::line_settings(raw.line),
        usb,
        required: raw.required,
    }
}

fn series(raw: guest::Series) -> Series {
    Series {
        name: raw.name,
        unit: raw.unit,
        kind: match raw.kind {
            guest::SeriesKind::Measurement => SeriesKind::Measurement,
            guest::SeriesKind::Total => SeriesKind::Total,
        },
        description: raw.description,
    }
}

/// The value of an attribute. Those that this host does not know are for a later one.
fn attribute(attributes: Vec<Attribute>, key: &str) -> Option<String> {
    let known = attributes.into_iter().find(|attribute| attribute.key == key);
    known.map(|attribute| attribute.value)
}

fn command(raw: guest::CommandDescription) -> Result<CommandDescription, String> {
    // Held to its rules where it is compiled, in `arguments`.
    let arguments_schema = json(
        &format!("the arguments-schema of the command {:?}", raw.name),
        &raw.arguments_schema,
    )?;
    Ok(CommandDescription {
        name: raw.name,
        description: raw.description,
        arguments_schema,
        dangerous: raw.dangerous,
        hold: raw.hold,
        secret_when: attribute(raw.attributes, SECRET_WHEN),
    })
}

/// A schema that a page can go through: it refers to nothing but itself, without recursion, and is of a bounded size with that written out.
fn checked_schema(what: &str, text: &str) -> Result<serde_json::Value, String> {
    let value = json(what, text)?;
    schema::check(&value).map_err(|problem| {
        format!(
            "its {what} is not taken: {problem}; change the type it is made from, or leave the schema out"
        )
    })?;
    Ok(value)
}

fn json(what: &str, text: &str) -> Result<serde_json::Value, String> {
    if text.len() > SCHEMA_LIMIT_BYTES {
        return Err(format!(
            "{what} has {} bytes; at most {SCHEMA_LIMIT_BYTES} are taken",
            text.len()
        ));
    }
    convert::json(text).map_err(|problem| format!("{what} is {problem}"))
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if FORBIDDEN_KEYS.contains(&name) {
        Err(format!("its {what} {name:?} would poison a mirror in a browser"))
    } else if fits {
        Ok(())
    } else {
        let name: String = name.chars().take(WORD_LIMIT_BYTES).collect();
        Err(format!(
            "its {what} {name:?} is not 1 to 64 letters, digits, '-', '_' or '.'"
        ))
    }
}

fn short(what: &str, text: &str, limit_bytes: usize) -> Result<(), String> {
    if text.len() <= limit_bytes {
        Ok(())
    } else {
        Err(format!(
            "its {what} has {} bytes; at most {limit_bytes} are taken",
            text.len()
        ))
    }
}

fn bounded(what: &str, len: usize) -> Result<(), String> {
    if len <= LIST_LIMIT {
        Ok(())
    } else {
        Err(format!("it lists {len} {what}; at most {LIST_LIMIT} are taken"))
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        check_name(&format!("entry in {what},"), name)?;
        if !seen.insert(name) {
            return Err(format!("it lists {name:?} twice in {what}"));
        }
    }
    Ok(())
}

fn serialize_line<S: serde::Serializer>(line: &LineSettings, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&crate::serial::DisplayLine(*line))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_schemas(settings: Option<String>, slice: Option<String>) -> Result<Manifest, String> {
        Manifest::check(raw(settings, slice))
    }

    fn raw(settings: Option<String>, slice: Option<String>) -> guest::Manifest {
        guest::Manifest {
            name: "relay".to_owned(),
            version: "1.0.0".to_owned(),
            description: String::new(),
            device_type: "relay".to_owned(),
            slice: "relay".to_owned(),
            ports: Vec::new(),
            series: Vec::new(),
            commands: Vec::new(),
            observes: Vec::new(),
            limits: Vec::new(),
            settings_schema: settings,
            slice_schema: slice,
            pane: Some("{}".to_owned()),
            snapshot_version: 1,
            attributes: Vec::new(),
        }
    }

    #[test]
    fn names_that_would_poison_a_mirror_and_texts_of_any_length_are_refused() {
        type Change = fn(&mut guest::Manifest);
        let series = || guest::Series {
            name: "volts".to_owned(),
            unit: "V".to_owned(),
            kind: guest::SeriesKind::Measurement,
            description: String::new(),
            attributes: Vec::new(),
        };
        let check = |change: &dyn Fn(&mut guest::Manifest)| {
            let mut raw = raw(None, None);
            raw.series.push(series());
            change(&mut raw);
            Manifest::check(raw)
        };
        assert!(check(&|_| ()).is_ok());
        let wrong: [(Change, &str); 6] = [
            (|raw| raw.name = "constructor".to_owned(), "poison"),
            (|raw| raw.series[0].name = "__proto__".to_owned(), "poison"),
            (
                |raw| raw.version = "1".repeat(65),
                "its version has 65 bytes; at most 64",
            ),
            (
                |raw| raw.description = "a".repeat(4097),
                "its description has 4097 bytes",
            ),
            (|raw| raw.series[0].unit = "V".repeat(65), "unit has 65 bytes"),
            (|raw| raw.observes.push("s".repeat(65)), "observes has 65 bytes"),
        ];
        for (change, words) in wrong {
            let problem = check(&change).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn a_schema_that_no_page_gets_to_the_end_of_is_refused_with_what_to_do() {
        let text = |schema: serde_json::Value| Some(schema.to_string());
        let fine = json!({"type": "object", "properties": {"on": {"$ref": "#/$defs/On"}}, "$defs": {"On": {"type": "boolean"}}});
        assert!(with_schemas(text(fine.clone()), text(fine)).is_ok());
        let recursive = json!({"properties": {"next": {"$ref": "#"}}});
        let mut exponential = serde_json::Map::new();
        exponential.insert("d0".to_owned(), json!({"type": "integer"}));
        for level in 1..40 {
            let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
            exponential.insert(
                format!("d{level}"),
                json!({"properties": {"a": below, "b": below}}),
            );
        }
        let exponential = json!({"$ref": "#/$defs/d39", "$defs": exponential});
        let stray = json!({"properties": {"a": {"$ref": "#/$defs/50%"}}});
        for (schema, why) in [
            (recursive, "leads back to itself"),
            (exponential, "objects"),
            (stray, "leads to nothing"),
        ] {
            for (settings, slice, what) in [
                (text(schema.clone()), None, "settings-schema"),
                (None, text(schema.clone()), "slice-schema"),
            ] {
                let problem = with_schemas(settings, slice).unwrap_err();
                assert!(
                    problem.starts_with(&format!("its {what} is not taken: ")),
                    "{problem}"
                );
                assert!(
                    problem.contains(why) && problem.contains("leave the schema out"),
                    "{problem}"
                );
            }
        }
    }
}
