//! A driver's folder: `driver.toml` says what it is, and where the SDK lies that it is built with.
//!
//! The SDK is not published. A project names the folder `sdk` of a checkout: the one that `--sdk` gives, or the checkout that this program was
//! built in, while it is there. Decision 0013 says why no copy is written beside the project.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cli::usage::wrong;

/// The file that makes a folder a project.
pub(super) const FILE: &str = "driver.toml";

/// What a driver can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// Rust: small, fast, checked by the compiler
    Rust,
    /// Python: 18 MB, and some thirty times as long per row as Rust
    Python,
    /// JavaScript: 12 MB, and some hundred times as long per row as Rust
    Javascript,
}

/// `driver.toml` as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    name: String,
    language: Language,
    sdk: PathBuf,
}

/// A driver's folder.
#[derive(Debug)]
pub(super) struct Project {
    /// The folder.
    pub folder: PathBuf,
    /// The driver's name, and the stem of its file.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// The folder `sdk` of a checkout.
    pub sdk: PathBuf,
}

impl Project {
    /// Reads the project in a folder; `sdk` overrides what it says of the SDK.
    pub(super) fn read(folder: &Path, sdk: Option<&Path>) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "{} cannot be read; `autobench plugin new NAME --lang LANGUAGE` makes a folder that has one",
                file.display()
            )
        })?;
        let raw: Raw = toml::from_str(&text).with_context(|| file.display().to_string())?;
        check_name(&raw.name).with_context(|| file.display().to_string())?;
        let folder = folder
            .canonicalize()
            .with_context(|| folder.display().to_string())?;
        let sdk = match sdk {
            Some(given) => given.to_owned(),
            None => folder.join(&raw.sdk),
        };
        let sdk = sdk_at(&sdk).with_context(|| {
            format!(
                "`sdk` in {} names no SDK; write another path there, or give --sdk PATH",
                file.display()
            )
        })?;
        Ok(Self {
            folder,
            name: raw.name,
            language: raw.language,
            sdk,
        })
    }

    /// The folder with the world.
    pub(super) fn wit(&self) -> PathBuf {
        self.sdk.join("../wit")
    }
}

/// The SDK for a new project.
pub(super) fn find_sdk(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    match given {
        Some(given) => sdk_at(given),
        None => sdk_at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk")).context(
            "the checkout that this program was built in is gone; give the folder `sdk` of another one with --sdk PATH",
        ),
    }
}

fn sdk_at(path: &Path) -> anyhow::Result<PathBuf> {
    let sdk = path.canonicalize().with_context(|| path.display().to_string())?;
    for part in [
        "rust/Cargo.toml",
        "python/autobench_sdk",
        "js/autobench-sdk",
        "../wit/world.wit",
    ] {
        if !sdk.join(part).exists() {
            bail!(
                "{} is not the folder `sdk` of a checkout of autobench: it has no {part}",
                sdk.display()
            );
        }
    }
    Ok(sdk)
}

/// A name that can be that of a folder, a crate, a file and a driver.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let fits = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits {
        Ok(())
    } else {
        Err(wrong(anyhow!(
            "{name:?} is no name for a driver: take up to 64 small letters, digits and single dashes, the first a letter, such as `power-meter`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_everything_that_is_called_by_it() {
        for good in ["power-meter", "x", "psu2", "a-1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in [
            "", "Meter", "2nd", "-x", "x-", "a--b", "a_b", "../x", "a/b", "a b", "ä", &long,
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_without_a_sound_driver_toml_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(folder.path().join(FILE), text).unwrap();
            }
            format!("{:#}", Project::read(folder.path(), None).unwrap_err())
        };
        assert!(refusal(None).contains("autobench plugin new"));
        assert!(refusal(Some("name = \"x\"\nlanguage = \"cobol\"\nsdk = \".\"")).contains("cobol"));
        assert!(
            refusal(Some("name = \"X\"\nlanguage = \"rust\"\nsdk = \".\"")).contains("no name for a driver")
        );
        let nowhere = refusal(Some("name = \"x\"\nlanguage = \"rust\"\nsdk = \".\""));
        assert!(
            nowhere.contains("--sdk") && nowhere.contains("rust/Cargo.toml"),
            "{nowhere}"
        );
    }
}
