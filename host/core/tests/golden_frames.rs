//! One frame of each message lies in `tests/fixtures/wire`: what the daemon's types make of it, what its schema says of it, and what
//! `docs/protocol.md` shows are the same thing. The mirror's tests read the same files.

#[cfg(test)]
mod frames {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};

    use autobench_core::wire::{ClientFrame, ServerMessage, canonical, schema};
    use serde_json::Value;

    /// The frames as TypeScript, checked by the compiler against the generated types. Renewed by
    /// `UPDATE_TYPES=1 cargo test -p autobench-core --test golden_frames`.
    const TYPESCRIPT: &str = "web/tests/generated/frames.ts";

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn read(path: &str) -> String {
        std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The frames of one side by the message's type.
    fn frames(side: &str) -> BTreeMap<String, Value> {
        let folder = root().join("tests/fixtures/wire").join(side);
        let mut frames = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let name = name
                .strip_suffix(".json")
                .expect("only JSON lies here")
                .to_owned();
            let frame: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(frame["type"], name.as_str(), "a file is named after its message");
            frames.insert(name, frame);
        }
        frames
    }

    /// The messages of one side, as the types have them.
    fn names(side: &str) -> BTreeSet<String> {
        let schema = schema();
        let names: BTreeSet<String> = schema[side].as_object().unwrap().keys().cloned().collect();
        assert!(names.len() > 10, "{side}: {names:?}");
        names
    }

    /// Fails when a message is added to the types and not here: the names above come from the schema alone.
    #[test]
    fn every_message_that_the_types_have_is_in_the_schema() {
        let sources = [
            (
                "server",
                read("host/core/src/wire/server.rs"),
                "pub enum ServerMessage {",
            ),
            (
                "client",
                read("host/core/src/wire/client.rs"),
                "pub enum ClientMessage {",
            ),
        ];
        for (side, source, head) in sources {
            let (_, rest) = source.split_once(head).unwrap();
            let (body, _) = rest.split_once("\n}\n").unwrap();
            let declared: BTreeSet<String> = body
                .split("#[serde(rename = \"")
                .skip(1)
                .map(|part| part.split_once('"').unwrap().0.to_owned())
                .collect();
            assert_eq!(declared, names(side), "{side}");
        }
    }

    #[test]
    fn every_message_has_a_frame() {
        for side in ["server", "client"] {
            let have: BTreeSet<String> = frames(side).into_keys().collect();
            assert_eq!(have, names(side), "{side}");
        }
    }

    #[test]
    fn a_frame_of_the_daemon_is_what_its_type_reads_and_writes() {
        for (name, frame) in frames("server") {
            let message: ServerMessage =
                serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let written: Value = serde_json::from_slice(&message.to_json()).unwrap();
            assert_eq!(canonical(&written), canonical(&frame), "{name}");
        }
    }

    #[test]
    fn a_frame_of_a_client_is_understood_and_written_back_as_it_was() {
        for (name, frame) in frames("client") {
            let message = ClientFrame::parse(frame.to_string().as_bytes())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(
                canonical(&serde_json::to_value(&message).unwrap()),
                canonical(&frame),
                "{name}"
            );
        }
    }

    #[test]
    fn every_frame_is_valid_and_without_its_fields_it_is_not() {
        let schema = schema();
        for side in ["server", "client"] {
            for (name, frame) in frames(side) {
                let validator = validator(&schema, side, &name);
                if let Err(error) = validator.validate(&frame) {
                    panic!("{side} {name}: {error} at {}", error.instance_path());
                }
                let mut bare = serde_json::json!({"type": "something else"});
                assert!(!validator.is_valid(&bare), "{side} {name} takes another type");
                bare["type"] = name.clone().into();
                // A message whose every other field may be absent is valid without them.
                let needs_fields = schema[side][&name].to_string().contains("\"$ref\"")
                    || schema[side][&name]["required"]
                        .as_array()
                        .is_some_and(|fields| fields.len() > 1);
                if needs_fields && side == "server" {
                    assert!(!validator.is_valid(&bare), "{side} {name} needs nothing");
                }
            }
        }
    }

    fn validator(schema: &Value, side: &str, name: &str) -> jsonschema::Validator {
        let mut document = schema.clone();
        document["$ref"] = format!("#/{side}/{name}").into();
        jsonschema::validator_for(&document).unwrap_or_else(|error| panic!("{side} {name}: {error}"))
    }

    /// What stands under `### \`name\`` up to the next heading.
    fn section<'a>(page: &'a str, name: &str) -> &'a str {
        let head = format!("\n### `{name}`\n");
        let (_, rest) = page
            .split_once(&head)
            .unwrap_or_else(|| panic!("docs/protocol.md has no section {name}"));
        rest.split("\n#").next().unwrap()
    }

    #[test]
    fn every_message_is_described_with_its_frame() {
        let page = read("docs/protocol.md");
        for side in ["server", "client"] {
            for (name, frame) in frames(side) {
                let section = section(&page, &name);
                let (_, rest) = section
                    .split_once("```json\n")
                    .unwrap_or_else(|| panic!("docs/protocol.md shows no {name}"));
                let (example, _) = rest.split_once("```").unwrap();
                let example: Value = serde_json::from_str(example)
                    .unwrap_or_else(|error| panic!("{name}: {error}: {example}"));
                if name == "state.snapshot" {
                    // The page shows a part of the document.
                    assert!(is_part_of(&example, &frame), "{name}");
                } else {
                    assert_eq!(canonical(&example), canonical(&frame), "{name}");
                }
                let fields = frame.as_object().unwrap().keys();
                for field in fields.filter(|field| !["type", "id", "data"].contains(&field.as_str())) {
                    assert!(
                        section.contains(&format!("`{field}`")),
                        "{name} does not explain {field}"
                    );
                }
            }
        }
    }

    fn is_part_of(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => part
                .iter()
                .all(|(name, value)| whole.get(name).is_some_and(|whole| is_part_of(value, whole))),
            _ => canonical(part) == canonical(whole),
        }
    }

    #[test]
    fn every_error_code_is_described() {
        let page = read("docs/protocol.md");
        let schema = schema();
        let codes = schema["$defs"]["ErrorCode"].to_string();
        let mut found = 0;
        for code in codes.split("\"const\":\"").skip(1) {
            let (code, _) = code.split_once('"').unwrap();
            assert!(
                page.contains(&format!("| `{code}` |")),
                "docs/protocol.md does not explain {code}"
            );
            found += 1;
        }
        assert!(found > 8, "{codes}");
    }

    #[test]
    fn the_committed_frames_in_typescript_are_the_files() {
        let mut text = "\
// The frames of tests/fixtures/wire as TypeScript, so that the compiler holds them to the generated types.
// Generated. Do not edit: run
//     UPDATE_TYPES=1 cargo test -p autobench-core --test golden_frames

import type { ClientFrame, ServerMessage } from '../../src/wire/generated/wire'

"
        .to_owned();
        for (side, of) in [("server", "ServerMessage"), ("client", "ClientFrame")] {
            text.push_str(&format!(
                "export const {side}Frames: Readonly<Record<string, {of}>> = {{\n"
            ));
            for (name, frame) in frames(side) {
                text.push_str(&format!("  '{name}': {frame},\n"));
            }
            text.push_str("}\n");
        }
        let path = root().join(TYPESCRIPT);
        if std::env::var_os("UPDATE_TYPES").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == text,
            "{TYPESCRIPT} is stale; renew it with\n    UPDATE_TYPES=1 cargo test -p autobench-core --test golden_frames"
        );
    }
}
