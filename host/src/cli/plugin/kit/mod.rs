//! What builds drivers: other people's tools, run where they are and installed aside where they are not.

pub(super) mod javascript;
pub(super) mod python;
pub(super) mod rust;

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The folder that tools are installed into.
fn folder() -> anyhow::Result<PathBuf> {
    let of = |variable: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    of("AUTOBENCH_KIT")
        .or_else(|| Some(of("XDG_CACHE_HOME")?.join("autobench/kit")))
        .or_else(|| Some(of("HOME")?.join(".cache/autobench/kit")))
        .context(
            "there is no folder for the tools that build drivers: set AUTOBENCH_KIT, XDG_CACHE_HOME or HOME",
        )
}

/// Installs a tool into a folder of its own, once; whoever asks meanwhile waits. A folder without its stamp is one where an installation broke off.
fn installed(tool: &str, install: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let kit = folder()?;
    std::fs::create_dir_all(&kit).with_context(|| kit.display().to_string())?;
    let lock = kit.join(format!("{tool}.lock"));
    let lock = File::create(&lock).with_context(|| lock.display().to_string())?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("waiting for the tools")?;
    let folder = kit.join(tool);
    let stamp = folder.join("complete");
    if !stamp.is_file() {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        eprintln!("installing {tool} into {}", folder.display());
        install(&folder)?;
        File::create(&stamp).with_context(|| stamp.display().to_string())?;
    }
    Ok(folder)
}

/// Runs a tool. What it says goes to standard error, because standard output is for answers.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = name_of(command.get_program());
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("{name} cannot be run"))?;
    if status.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    bail!("`{name} {}` ended with {status}", arguments.join(" "))
}

/// What a tool answers, or none where it is not here or fails.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}

fn name_of(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}
