//! JavaScript: componentize-js, which bakes an engine, the driver and the SDK into one component.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::super::project::Project;
use super::{answer, installed, run};

const VERSION: &str = "0.23.0";
/// The oldest Node.js that componentize-js runs on.
const OLDEST: u32 = 20;
const REMEDY: &str = "JavaScript drivers are built with Node.js 20 or newer and npm";

/// All features off: a driver has no clock, no random numbers and no network, and what is off is not imported.
const SCRIPT: &str = "import { writeFile } from 'node:fs/promises'
import { componentize } from '@bytecodealliance/componentize-js'
const [, , sourcePath, witPath, out] = process.argv
const disableFeatures = ['random', 'stdio', 'clocks', 'http', 'fetch-event']
const { component } = await componentize({ sourcePath, witPath, worldName: 'driver', disableFeatures })
await writeFile(out, component)
";

/// What the component exports: the driver of `driver.js`.
const ENTRY: &str = "import { guestOf } from './autobench-sdk/component.js'
import { driver } from './driver.js'
export const guest = guestOf(driver)
";

/// Builds the driver that the project's `driver.js` exports.
pub(in super::super) fn build(project: &Project) -> anyhow::Result<PathBuf> {
    node()?;
    let tool = installed(&format!("componentize-js-{VERSION}"), |folder| {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        write(
            &folder.join("package.json"),
            "{ \"private\": true, \"type\": \"module\" }\n",
        )?;
        write(&folder.join("build.mjs"), SCRIPT)?;
        run(Command::new("npm")
            .current_dir(folder)
            .args(["install", "--no-audit", "--no-fund", "--silent"])
            .arg(format!("@bytecodealliance/componentize-js@{VERSION}")))
        .context("componentize-js cannot be installed; it comes from the npm registry, or from where npm's settings say")
    })?;
    // Driver and SDK lie together there, because what a component is made of is named by paths below one folder.
    let sources = project.folder.join("target/sources");
    if sources.exists() {
        std::fs::remove_dir_all(&sources).with_context(|| sources.display().to_string())?;
    }
    copy_modules(&project.folder, &sources)?;
    copy_modules(
        &project.sdk.join("js/autobench-sdk"),
        &sources.join("autobench-sdk"),
    )?;
    write(&sources.join("entry.js"), ENTRY)?;
    let built = project
        .folder
        .join("target")
        .join(format!("{}.component", project.name));
    eprintln!("building {} with componentize-js", project.name);
    run(Command::new("node")
        .current_dir(&sources)
        .arg(tool.join("build.mjs"))
        .arg("entry.js")
        .arg(project.wit())
        .arg(&built))?;
    Ok(built)
}

/// Copies the modules of one folder, without its tests.
fn copy_modules(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry.with_context(|| from.display().to_string())?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_file() && name.ends_with(".js") && !name.ends_with(".test.js") {
            std::fs::copy(&path, to.join(&name)).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| path.display().to_string())
}

fn node() -> anyhow::Result<()> {
    let Some(version) = answer(Command::new("node").arg("--version")) else {
        bail!("node is not here. {REMEDY}");
    };
    let major = version.trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()).unwrap_or(0) < OLDEST {
        bail!("node is {version}. {REMEDY}");
    }
    if answer(Command::new("npm").arg("--version")).is_none() {
        bail!("npm is not here. {REMEDY}");
    }
    Ok(())
}
