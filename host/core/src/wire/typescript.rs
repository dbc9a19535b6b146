//! The types of the wire as TypeScript.

use std::any::TypeId;
use std::collections::{BTreeMap, HashSet};

use ts_rs::{Config, TS, TypeVisitor};

use super::{AppState, ClientEntry, ClientFrame, HardwareHealth, ServerMessage, Slices};
use crate::driver::LogLevel;

const HEAD: &str = "\
// The messages of the socket and the host's part of the state, as the daemon declares them.
// Generated from host/core/src/wire. Do not edit: change the Rust types and run
//     UPDATE_TYPES=1 cargo test -p autobench-core --test wire_types
";

/// All types of the wire, in the order of their names, as one TypeScript module.
pub fn typescript() -> String {
    let mut collected = Collected {
        config: Config::new().with_large_int("number"),
        seen: HashSet::new(),
        declarations: BTreeMap::new(),
    };
    collected.visit::<ServerMessage>();
    collected.visit::<ClientFrame>();
    collected.visit::<AppState>();
    collected.visit::<ClientEntry>();
    let mut text = HEAD.to_owned();
    for declaration in collected.declarations.into_values() {
        text.push('\n');
        text.push_str(&declaration);
        text.push('\n');
    }
    text
}

struct Collected {
    config: Config,
    seen: HashSet<TypeId>,
    declarations: BTreeMap<String, String>,
}

impl TypeVisitor for Collected {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if !self.seen.insert(TypeId::of::<T>()) {
            return;
        }
        // Only types with a file of their own have a declaration; `number` and the like have none.
        if T::output_path().is_some() {
            let docs = T::docs().unwrap_or_default();
            let declaration = compact(&format!("{docs}export {}", T::decl(&self.config)));
            self.declarations.insert(T::ident(&self.config), declaration);
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

/// The same text with each one-line comment on one line, and without blanks at the ends of lines.
fn compact(declaration: &str) -> String {
    let text = declaration
        .replace("/**\n * ", "/** ")
        .replace("\n */\n", " */\n");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A slice is anything: whoever shows it says what it expects.
impl TS for Slices {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn name(_: &Config) -> String {
        "{ [slice: string]: unknown }".to_owned()
    }

    fn inline(config: &Config) -> String {
        Self::name(config)
    }

    fn inline_flattened(config: &Config) -> String {
        Self::name(config)
    }
}

/// A client's own words.
impl TS for HardwareHealth {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn docs() -> Option<String> {
        Some("/**\n * How a client's own hardware is, in its own words.\n */\n".to_owned())
    }

    fn name(_: &Config) -> String {
        "HardwareHealth".to_owned()
    }

    fn inline(_: &Config) -> String {
        "{ [field: string]: unknown }".to_owned()
    }

    fn decl(config: &Config) -> String {
        format!("type HardwareHealth = {};", Self::inline(config))
    }

    fn decl_concrete(config: &Config) -> String {
        Self::decl(config)
    }

    fn output_path() -> Option<std::path::PathBuf> {
        Some("HardwareHealth.ts".into())
    }
}

impl TS for LogLevel {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn docs() -> Option<String> {
        Some("/**\n * How grave a log entry is, least first.\n */\n".to_owned())
    }

    fn name(_: &Config) -> String {
        "LogLevel".to_owned()
    }

    fn inline(_: &Config) -> String {
        let names: Vec<String> = Self::ALL.iter().map(|level| format!("\"{level}\"")).collect();
        names.join(" | ")
    }

    fn decl(config: &Config) -> String {
        format!("type LogLevel = {};", Self::inline(config))
    }

    fn decl_concrete(config: &Config) -> String {
        Self::decl(config)
    }

    fn output_path() -> Option<std::path::PathBuf> {
        Some("LogLevel.ts".into())
    }
}
