//! `autobench plugin diff`.

use std::path::PathBuf;

use autobench_core::driver::offline::difference::{Difference, differences};
use clap::Args;
use serde_json::{Value, json};

use super::described::{Want, as_json, imports, size, wants};
use super::load::{Bench, Loaded};
use super::printable;
use crate::cli::Announcer;

/// Places of the manifest that are listed. More are only counted.
const PLACES: usize = 100;

/// `autobench plugin diff`.
#[derive(Debug, Args, PartialEq)]
pub struct DiffArguments {
    /// The plugin as it was
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The plugin as it would be
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
}

pub(super) fn diff(arguments: &DiffArguments, json: bool) -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let (old, new) = (bench.load(&arguments.old)?, bench.load(&arguments.new)?);
    let changes = Changes::between(&old, &new)?;
    Announcer::new(json).tell(
        &changes.to_json(&old, &new),
        &printable(&changes.in_words(&old, &new)),
    );
    Ok(())
}

/// What the new one changes.
struct Changes {
    /// What only the new one wants, and what only the old one wanted.
    more: Vec<Want>,
    less: Vec<Want>,
    new_imports: Vec<String>,
    lost_imports: Vec<String>,
    manifest: Vec<Difference>,
    /// Whether there are more places than are listed.
    has_more_places: bool,
}

impl Changes {
    fn between(old: &Loaded, new: &Loaded) -> anyhow::Result<Self> {
        let (old_manifest, new_manifest) = (&old.prepared.manifest, &new.prepared.manifest);
        let (old_wants, new_wants) = (wants(old_manifest), wants(new_manifest));
        let without = |wants: Vec<Want>, others: &[Want]| -> Vec<Want> {
            let known = |want: &Want| others.iter().any(|other| other.covers(want));
            wants.into_iter().filter(|want| !known(want)).collect()
        };
        let less = without(wants(old_manifest), &new_wants);
        let more = without(new_wants, &old_wants);
        let (old_imports, new_imports) = (imports(old), imports(new));
        let only = |these: &[String], others: &[String]| -> Vec<String> {
            these
                .iter()
                .filter(|name| !others.contains(name))
                .cloned()
                .collect()
        };
        let mut manifest = differences(
            &serde_json::to_value(old_manifest)?,
            &serde_json::to_value(new_manifest)?,
            PLACES + 1,
        );
        let has_more_places = manifest.len() > PLACES;
        manifest.truncate(PLACES);
        Ok(Self {
            more,
            less,
            new_imports: only(&new_imports, &old_imports),
            lost_imports: only(&old_imports, &new_imports),
            manifest,
            has_more_places,
        })
    }

    fn to_json(&self, old: &Loaded, new: &Loaded) -> Value {
        let wants = |wants: &[Want]| -> Vec<Value> { wants.iter().map(Want::to_json).collect() };
        let manifest: Vec<_> = self
            .manifest
            .iter()
            .map(|place| json!({ "path": place.path, "old": place.left, "new": place.right }))
            .collect();
        json!({
            "event": "diff",
            "same": old.prepared.hash == new.prepared.hash,
            "old": as_json(old),
            "new": as_json(new),
            "wantsMore": wants(&self.more),
            "wantsLess": wants(&self.less),
            "importsMore": self.new_imports,
            "importsLess": self.lost_imports,
            "manifest": manifest,
            "manifestIsCut": self.has_more_places,
        })
    }

    fn in_words(&self, old: &Loaded, new: &Loaded) -> String {
        let (old_manifest, new_manifest) = (&old.prepared.manifest, &new.prepared.manifest);
        if old.prepared.hash == new.prepared.hash {
            return format!(
                "Both are the same file, {} {}.",
                old_manifest.name, old_manifest.version
            );
        }
        let mut text = format!(
            "{} {} becomes {} {}: {} instead of {}.",
            old_manifest.name,
            old_manifest.version,
            new_manifest.name,
            new_manifest.version,
            size(new.file_bytes),
            size(old.file_bytes),
        );
        if self.more.is_empty() {
            text.push_str("\nIt wants nothing that it did not want before.");
        }
        if self.manifest.is_empty() {
            text.push_str("\nIt describes itself in the same words.");
        }
        let mut list = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                text.push('\n');
                text.push_str(title);
            }
            for line in lines {
                text.push_str("\n  ");
                text.push_str(&line);
            }
        };
        let words = |wants: &[Want]| wants.iter().map(|want| want.words.clone()).collect::<Vec<_>>();
        list("It wants, and did not before:", words(&self.more));
        list("It does not want any more:", words(&self.less));
        list("It imports, and did not before:", self.new_imports.clone());
        list("It does not import any more:", self.lost_imports.clone());
        let value = |value: &Option<Value>| {
            let text = value.as_ref().map_or("absent".to_owned(), Value::to_string);
            match text.char_indices().nth(120) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
                None => text,
            }
        };
        let places = self.manifest.iter();
        let mut places: Vec<_> = places
            .map(|place| {
                format!(
                    "{}: {} becomes {}",
                    place.path,
                    value(&place.left),
                    value(&place.right)
                )
            })
            .collect();
        if self.has_more_places {
            places.push("and more".to_owned());
        }
        list("In its manifest:", places);
        text
    }
}
