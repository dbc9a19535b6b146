//! Rust: cargo for `wasm32-unknown-unknown`. The result is a core module that carries its world; whoever loads it makes it a component.
//!
//! The target's standard library is looked for where `cargo demo` of the checkout looks for it: in the compiler's own folder, then through rustup,
//! then in the one that the checkout has built for a compiler of this release.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::super::project::Project;
use super::{answer, run};

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the crate in the project's folder.
pub(in super::super) fn build(project: &Project) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo(project)?;
    eprintln!("building {} with cargo", project.name);
    cargo
        .current_dir(&project.folder)
        // As this kind alone: where a library is an rlib as well, cargo leaves link-time optimisation out.
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--target", TARGET])
        .args(["--profile", "plugin"]);
    run(&mut cargo)?;
    let target = target_dir(&project.folder)?;
    let file = format!("{}.wasm", project.name.replace('-', "_"));
    Ok(target.join(TARGET).join("plugin").join(file))
}

/// Where cargo leaves what it builds: the environment and cargo's own settings have a say.
fn target_dir(folder: &Path) -> anyhow::Result<PathBuf> {
    let metadata = answer(Command::new("cargo").current_dir(folder).args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]));
    let metadata: Option<serde_json::Value> = metadata.and_then(|text| serde_json::from_str(&text).ok());
    metadata
        .as_ref()
        .and_then(|metadata| metadata.get("target_directory")?.as_str())
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

fn cargo(project: &Project) -> anyhow::Result<Command> {
    let rustc = || {
        let mut rustc = Command::new("rustc");
        rustc.current_dir(&project.folder);
        rustc
    };
    let Some(version) = answer(rustc().arg("-vV")) else {
        bail!(
            "Rust drivers are built with cargo and rustc, which are not here; https://rustup.rs installs both"
        );
    };
    if has_target(rustc()) || (add_by_rustup(project) && has_target(rustc())) {
        return Ok(Command::new("cargo"));
    }
    let release = version.lines().find_map(|line| line.strip_prefix("release: "));
    let sysroot = project.sdk.join("../target/autobench/sysroot");
    match release.and_then(|release| Sysroot::of_checkout(&sysroot, release)) {
        Some(sysroot) => Ok(sysroot.cargo()),
        None => bail!(
            "the compiler has no target {TARGET}. Do one of these and try again:\n  rustup target add {TARGET}\n  cargo demo --build-only   in the checkout with the SDK, which builds the target's library from source"
        ),
    }
}

/// A target may be announced while its files are missing, so the files decide.
fn has_target(mut rustc: Command) -> bool {
    let folder = answer(rustc.args(["--print", "target-libdir", "--target", TARGET]));
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    entries.into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn add_by_rustup(project: &Project) -> bool {
    let mut rustup = Command::new("rustup");
    rustup
        .current_dir(&project.folder)
        .args(["target", "add", TARGET]);
    run(&mut rustup).is_ok()
}

/// The standard library that `cargo demo` has built, and the compiler that it belongs to where that is not the one that is here.
struct Sysroot {
    folder: PathBuf,
    linker: Option<PathBuf>,
}

impl Sysroot {
    /// The file `made-for` says for which release it was made, where it comes from, and with which linker.
    fn of_checkout(folder: &Path, release: &str) -> Option<Self> {
        let stamp = std::fs::read_to_string(folder.join("made-for")).ok()?;
        let mut lines = stamp.lines();
        if lines.next()? != release {
            return None;
        }
        let linker = lines
            .nth(1)
            .filter(|linker| !linker.is_empty())
            .map(PathBuf::from);
        Some(Self {
            folder: folder.canonicalize().ok()?,
            linker,
        })
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        let given = std::env::var("RUSTFLAGS").unwrap_or_default();
        let mut flags: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
        flags.push(format!("--sysroot={}", self.folder.display()));
        let compiler = self.folder.join("packages/usr/bin/rustc");
        if compiler.is_file() {
            let libraries = std::fs::read_dir(self.folder.join("packages/usr/lib"));
            let libraries = libraries
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
            cargo.env("RUSTC", compiler).env(
                "LD_LIBRARY_PATH",
                std::env::join_paths(libraries).unwrap_or_default(),
            );
            if let Some(linker) = &self.linker {
                flags.push(format!("-Clinker={}", linker.display()));
            }
        }
        // Encoded, because a path may hold spaces.
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        cargo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_for_another_release_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("made-for"), "1.95.0\nsource\n\n").unwrap();
        assert!(Sysroot::of_checkout(folder.path(), "1.95.0").is_some());
        assert!(Sysroot::of_checkout(folder.path(), "1.96.0").is_none());
        let cargo = Sysroot::of_checkout(folder.path(), "1.95.0").unwrap().cargo();
        let flags = cargo
            .get_envs()
            .find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS")
            .and_then(|(_, value)| value?.to_str());
        assert!(flags.is_some_and(|flags| flags.contains("--sysroot=")));
    }
}
