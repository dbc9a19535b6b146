//! Where things lie: the checkout, cargo's target folder, and `target/autobench` with what we build ourselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{About, Failure};
use crate::run;

/// The folders of one checkout.
pub struct Checkout {
    /// The root of the repository.
    pub root: PathBuf,
    /// Cargo's target folder, wherever the person put it.
    pub target: PathBuf,
    /// `target/autobench` in the checkout, whatever cargo's target folder is: `plugins.toml` names it by that path.
    pub out: PathBuf,
}

impl Checkout {
    /// Finds the checkout that this program was built from.
    pub fn find() -> Result<Self, Failure> {
        // Cargo sets the variable for `cargo run`; it is right even when the checkout was moved after the build.
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .ancestors()
            .nth(2)
            .ok_or_else(|| Failure::new(format!("{} is not in a checkout", package.display())))?
            .to_owned();
        let out = root.join("target/autobench");
        std::fs::create_dir_all(&out).about(out.display())?;
        let metadata =
            run::output(cargo(&root).args(["metadata", "--no-deps", "--format-version", "1", "--quiet"]))?;
        let target = json_text(&metadata, "target_directory")
            .map(PathBuf::from)
            .ok_or_else(|| Failure::new("cargo metadata names no target_directory"))?;
        Ok(Self { root, target, out })
    }

    /// A cargo command that runs in the root.
    pub fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// The daemon as `cargo build` leaves it.
    pub fn daemon(&self) -> PathBuf {
        self.target.join("debug/autobench")
    }

    /// The browser mirror's sources.
    pub fn web(&self) -> PathBuf {
        self.root.join("web")
    }

    /// The folder of small files that remember what was built from what.
    pub fn stamps(&self) -> PathBuf {
        self.out.join("stamps")
    }
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // `cargo run` describes this package in the environment. Build scripts that watch those variables would see another
    // value than under a plain `cargo build`, and would run again each time the two alternate.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// The text value of the first member of that name: all that is needed of cargo's JSON, and no reason for a dependency.
fn json_text(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'u' => return None,
                other => other,
            }),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::json_text;

    #[test]
    fn a_text_member_is_found_and_unescaped() {
        let json = r#"{"version":1,"target_directory":"/a \"b\"\\c","x":"y"}"#;
        assert_eq!(
            json_text(json, "target_directory").as_deref(),
            Some("/a \"b\"\\c")
        );
    }

    #[test]
    fn a_missing_or_cut_off_member_is_none() {
        assert_eq!(json_text("{}", "target_directory"), None);
        assert_eq!(json_text(r#"{"target_directory":"/a"#, "target_directory"), None);
    }
}
