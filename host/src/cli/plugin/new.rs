//! `autobench plugin new`: a folder that builds and whose tests pass.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::super::Announcer;
use super::project::{FILE, Language, check_name, find_sdk};

pub(super) const HELP: &str = "\
The folder depends on the SDK by its path: the folder `sdk` of a checkout of autobench, because the SDK is not published. Without --sdk that is the
checkout that this program was built in.";

/// `autobench plugin new`.
#[derive(Debug, Args, PartialEq)]
pub struct NewArguments {
    /// Name of the driver and of its folder: small letters, digits and dashes
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it is written in
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value = "rust")]
    pub lang: Language,
    /// Folder `sdk` of a checkout of autobench
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
}

/// The files of a template, each with its path in the folder. What is written in them as `{{...}}` is filled in.
type Template = &'static [(&'static str, &'static str)];

const RUST: Template = &[
    (
        "Cargo.toml",
        include_str!("../../../templates/rust/Cargo.toml.in"),
    ),
    ("src/lib.rs", include_str!("../../../templates/rust/lib.rs.in")),
    (
        "tests/driver.rs",
        include_str!("../../../templates/rust/tests.rs.in"),
    ),
    (".gitignore", "/target/\n"),
];

const PYTHON: Template = &[
    (
        "driver.py",
        include_str!("../../../templates/python/driver.py.in"),
    ),
    (
        "test_driver.py",
        include_str!("../../../templates/python/test_driver.py.in"),
    ),
    (".gitignore", "/target/\n__pycache__/\n"),
];

const JAVASCRIPT: Template = &[
    (
        "driver.js",
        include_str!("../../../templates/javascript/driver.js.in"),
    ),
    (
        "driver.test.js",
        include_str!("../../../templates/javascript/driver.test.js.in"),
    ),
    ("package.json", "{ \"private\": true, \"type\": \"module\" }\n"),
    (".gitignore", "/target/\n/autobench-sdk\n"),
];

pub(super) fn new(arguments: &NewArguments, json: bool) -> anyhow::Result<()> {
    let name = &arguments.name;
    check_name(name)?;
    let sdk = find_sdk(arguments.sdk.as_deref())?;
    let (template, test) = match arguments.lang {
        Language::Rust => (RUST, "cargo test"),
        Language::Python => (PYTHON, "python3 -m unittest"),
        Language::Javascript => (JAVASCRIPT, "node --test"),
    };
    let folder = PathBuf::from(name);
    // Made here and not found: what is there already is somebody's work.
    std::fs::create_dir(&folder).with_context(|| match folder.exists() {
        true => format!("{name} is there already; nothing was changed"),
        false => format!("the folder {name} cannot be made"),
    })?;
    let Some(sdk_text) = sdk.to_str().filter(|path| !path.contains(['"', '\\', '\n'])) else {
        bail!(
            "the path of the SDK cannot be written into a file: {}",
            sdk.display()
        );
    };
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{type}}", &type_name(name))
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{sdk}}", sdk_text)
    };
    for (path, content) in template {
        write(&folder.join(path), &fill(content))?;
    }
    let language = match arguments.lang {
        Language::Rust => "rust",
        Language::Python => "python",
        Language::Javascript => {
            // Modules are named by paths, so the SDK is one beside the driver.
            let link = folder.join("autobench-sdk");
            std::os::unix::fs::symlink(sdk.join("js/autobench-sdk"), &link)
                .with_context(|| link.display().to_string())?;
            "javascript"
        }
    };
    write(
        &folder.join(FILE),
        &format!(
            "# What `autobench plugin build` has to know.\nname = \"{name}\"\nlanguage = \"{language}\"\n# The folder `sdk` of a checkout of autobench.\nsdk = \"{sdk_text}\"\n"
        ),
    )?;
    Announcer::new(json).tell(
        &json!({ "event": "plugin-new", "name": name, "folder": folder.display().to_string(), "language": language, "sdk": sdk_text }),
        &format!("{name} is a driver that counts lines.\n  test it   cd {name} && {test}\n  build it  autobench plugin build {name}"),
    );
    Ok(())
}

fn write(path: &std::path::Path, content: &str) -> anyhow::Result<()> {
    let about = || path.display().to_string();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(about)?;
    }
    std::fs::write(path, content).with_context(about)
}

/// `power-meter` is `PowerMeter`.
fn type_name(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_named_after_the_driver() {
        assert_eq!(type_name("power-meter"), "PowerMeter");
        assert_eq!(type_name("psu2"), "Psu2");
    }

    #[test]
    fn a_template_has_no_place_that_is_not_filled_in() {
        for (path, content) in RUST.iter().chain(PYTHON).chain(JAVASCRIPT) {
            let filled = ["name", "type", "crate", "sdk"]
                .iter()
                .fold((*content).to_owned(), |text, place| {
                    text.replace(&format!("{{{{{place}}}}}"), "x")
                });
            assert!(!filled.contains("{{"), "{path}");
        }
    }
}
