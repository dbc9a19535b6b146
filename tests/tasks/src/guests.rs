//! Plugins and the fixture drivers of the tests: compiled for wasm32, and put where the daemon and the stories find them.

use std::path::{Path, PathBuf};

use crate::checkout::Checkout;
use crate::failure::{About, Failure};
use crate::run;
use crate::toolchain::{TARGET, Toolchain};

/// The package whose examples are the drivers that only the tests load.
const FIXTURES: &str = "fixture-drivers";

/// Builds every package in `plugins/` and puts the results into `target/autobench/plugins`. Answers with words on what came of it.
pub fn plugins(checkout: &Checkout, toolchain: &Toolchain) -> Result<String, Failure> {
    let names = package_names(&checkout.root.join("plugins"))?;
    if names.is_empty() {
        return Err(Failure::new("plugins/ holds no package"));
    }
    for name in &names {
        let mut cargo = toolchain.cargo(checkout);
        // A plugin is also a library, for its native tests. Built as both at once it would go without link-time optimisation, half as large
        // again and as much slower to compile on load.
        cargo.args(["rustc", "--package", name, "--lib", "--crate-type", "cdylib"]);
        cargo.args(["--target", TARGET, "--profile", "plugin"]);
        run::stream(&mut cargo)?;
    }
    place(&names, &built(checkout, toolchain), &checkout.out.join("plugins"))
}

/// Builds the fixture drivers and puts them into `target/autobench/fixtures`.
pub fn fixtures(checkout: &Checkout, toolchain: &Toolchain) -> Result<String, Failure> {
    let names = source_names(&checkout.root.join("tests/fixtures/drivers/examples"))?;
    run::stream(toolchain.cargo(checkout).args([
        "build",
        "--package",
        FIXTURES,
        "--examples",
        "--target",
        TARGET,
        "--profile",
        "plugin",
    ]))?;
    place(
        &names,
        &built(checkout, toolchain).join("examples"),
        &checkout.out.join("fixtures"),
    )
}

/// The targets in a folder such as `examples` or `tests`: `name.rs` or `name/main.rs`.
pub fn source_names(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).about(folder.display())? {
        let path = entry.about(folder.display())?.path();
        let is_target =
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
        if let (true, Some(name)) = (is_target, path.file_stem()) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn built(checkout: &Checkout, toolchain: &Toolchain) -> PathBuf {
    toolchain.target_dir(checkout).join(TARGET).join("plugin")
}

fn package_names(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).about(folder.display())? {
        let manifest = entry.about(folder.display())?.path().join("Cargo.toml");
        if let Ok(text) = std::fs::read_to_string(&manifest) {
            let name = package_name(&text)
                .ok_or_else(|| Failure::new(format!("{} names no package", manifest.display())))?;
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The `name` of the `[package]` section of a manifest.
fn package_name(manifest: &str) -> Option<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[package]")
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "name")
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

fn place(names: &[String], from: &Path, to: &Path) -> Result<String, Failure> {
    std::fs::create_dir_all(to).about(to.display())?;
    let mut changed = Vec::new();
    for name in names {
        let name = name.replace('_', "-");
        let built = from.join(format!("{}.wasm", name.replace('-', "_")));
        // Cargo keeps the dashes of an example's name where it is no library.
        let built = if built.is_file() {
            built
        } else {
            from.join(format!("{name}.wasm"))
        };
        if put(&built, &to.join(format!("{name}.wasm")))? {
            changed.push(name);
        }
    }
    let words = if changed.is_empty() {
        "none changed".to_owned()
    } else {
        format!("new: {}", changed.join(", "))
    };
    Ok(format!("{} built, {words}", names.len()))
}

/// Copies a file into a folder that a running daemon may watch: it appears whole or not at all, and an equal file is left alone.
fn put(from: &Path, to: &Path) -> Result<bool, Failure> {
    let content = std::fs::read(from).about(from.display())?;
    if std::fs::read(to).is_ok_and(|there| there == content) {
        return Ok(false);
    }
    // Without the ending `.wasm` nobody takes it for a plugin.
    let aside = to.with_extension("new");
    std::fs::write(&aside, content).about(aside.display())?;
    std::fs::rename(&aside, to).about(to.display())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_named_by_its_own_section() {
        let manifest =
            "[lib]\nname = \"other\"\n\n[package]\nversion = \"1\"\nname = \"power-meter\"\n[dependencies]\n";
        assert_eq!(package_name(manifest).as_deref(), Some("power-meter"));
        assert_eq!(package_name("[workspace]\nname = \"x\"\n"), None);
    }

    #[test]
    fn an_equal_file_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("autobench-put-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("from"), folder.join("to.wasm"));
        std::fs::write(&from, "one").unwrap();
        assert!(put(&from, &to).unwrap());
        assert!(!put(&from, &to).unwrap());
        std::fs::write(&from, "two").unwrap();
        assert!(put(&from, &to).unwrap());
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "two");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
