//! `autobench plugin build`: a driver's folder into a `.wasm` file.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;

use super::super::Announcer;
use super::super::usage::wrong;
use super::kit;
use super::project::{Language, Project};

pub(super) const HELP: &str = "\
Rust is built by cargo for wasm32-unknown-unknown. Python is built by componentize-py and JavaScript by componentize-js, each of which is
installed once into a cache folder: $AUTOBENCH_KIT, or autobench/kit below $XDG_CACHE_HOME or ~/.cache.";

/// `autobench plugin build`.
#[derive(Debug, Args, PartialEq)]
pub struct BuildArguments {
    /// The driver's folder, with its driver.toml
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub folder: PathBuf,
    /// Where the result goes: a folder that is there, such as the one of plugins, or a file NAME.wasm; without it target/NAME.wasm in the
    /// driver's folder
    #[arg(long, value_name = "FOLDER|FILE")]
    pub out: Option<PathBuf>,
    /// Folder `sdk` of a checkout of autobench, instead of the one that driver.toml names
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
}

pub(super) fn build(arguments: &BuildArguments, json: bool) -> anyhow::Result<()> {
    let project = Project::read(&arguments.folder, arguments.sdk.as_deref())?;
    let out = match &arguments.out {
        Some(out) if out.is_dir() => out.join(format!("{}.wasm", project.name)),
        // Whoever means a folder and mistypes it is to hear so, and not to find a file of that name.
        Some(out) if !is_plugin_file(out) => {
            return Err(wrong(anyhow!(
                "there is no folder {}; name one that is there, or a file whose name ends in .wasm",
                out.display()
            )));
        }
        Some(out) => out.clone(),
        None => project
            .folder
            .join("target")
            .join(format!("{}.wasm", project.name)),
    };
    // Tools run in the driver's folder, so a path that was meant from here has to be one from there, too.
    let out = std::path::absolute(&out).with_context(|| out.display().to_string())?;
    let built = match project.language {
        Language::Rust => kit::rust::build(&project)?,
        Language::Python => kit::python::build(&project)?,
        Language::Javascript => kit::javascript::build(&project)?,
    };
    place(&built, &out)?;
    let bytes = std::fs::metadata(&out)
        .with_context(|| out.display().to_string())?
        .len();
    Announcer::new(json).tell(
        &json!({ "event": "plugin-built", "name": project.name, "file": out.display().to_string(), "bytes": bytes }),
        &format!("{} has {bytes} bytes", out.display()),
    );
    Ok(())
}

fn is_plugin_file(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b".wasm")
}

/// Puts the result where it belongs; a daemon may watch that folder, so the file appears whole or not at all.
fn place(built: &Path, out: &Path) -> anyhow::Result<()> {
    let about = || out.display().to_string();
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).with_context(about)?;
    }
    // Without the ending `.wasm` nobody takes it for a plugin.
    let aside = out.with_extension("new");
    std::fs::copy(built, &aside).with_context(about)?;
    std::fs::rename(&aside, out).with_context(about)
}
