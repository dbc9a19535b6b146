//! The browser mirror: npm packages and the page, each only when what they come from has changed.

use std::path::Path;
use std::process::Command;

use crate::checkout::Checkout;
use crate::failure::{About, Failure};
use crate::fingerprint::Stamp;
use crate::run;

/// What lies in `web/` and is made from the rest.
const MADE: [&str; 4] = ["node_modules", "dist", "coverage", "test-results"];

/// Installs the packages that `package-lock.json` names.
pub fn packages(checkout: &Checkout) -> Result<String, Failure> {
    needs_node()?;
    let web = checkout.web();
    let sources = [web.join("package.json"), web.join("package-lock.json")];
    let stamp = Stamp::of(checkout.stamps().join("npm"), &sources, &[])?;
    if stamp.is_current() && web.join("node_modules").is_dir() {
        return Ok("up to date".to_owned());
    }
    run::stream(npm(checkout).args(["ci", "--no-audit", "--no-fund"]))?;
    stamp.keep()?;
    Ok("installed".to_owned())
}

/// Builds the page and copies it to `target/autobench/web`.
pub fn page(checkout: &Checkout) -> Result<String, Failure> {
    needs_node()?;
    let page = checkout.out.join("web");
    let stamp = Stamp::of(checkout.stamps().join("page"), &[checkout.web()], &MADE)?;
    if stamp.is_current() && page.join("index.html").is_file() {
        return Ok("up to date".to_owned());
    }
    run::stream(npm(checkout).args(["run", "build"]))?;
    // Aside first: a daemon that serves the folder shows the old page or the new one.
    let aside = checkout.out.join("web.new");
    let old = checkout.out.join("web.old");
    remove(&aside)?;
    remove(&old)?;
    copy(&checkout.web().join("dist"), &aside)?;
    if page.exists() {
        std::fs::rename(&page, &old).about(page.display())?;
    }
    std::fs::rename(&aside, &page).about(page.display())?;
    remove(&old)?;
    stamp.keep()?;
    Ok("built".to_owned())
}

/// An npm command that runs in `web/`.
pub fn npm(checkout: &Checkout) -> Command {
    let mut command = Command::new("npm");
    command
        .current_dir(checkout.web())
        .env("NPM_CONFIG_UPDATE_NOTIFIER", "false");
    command
}

fn needs_node() -> Result<(), Failure> {
    let version = run::output(Command::new("node").arg("--version")).unwrap_or_default();
    if is_new_enough(version.trim()) && run::find(&["npm"]).is_some() {
        return Ok(());
    }
    let here = if version.is_empty() {
        "it is not here".to_owned()
    } else {
        format!("here is {}", version.trim())
    };
    Err(Failure::new(format!(
        "the mirror is built with Node.js 20.19 or newer and npm; {here}"
    ))
    .remedy("Install both, such as with your distribution's packages nodejs and npm, and try again."))
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|number| number.parse().unwrap_or(0_u32));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (20, 19)
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to).about(to.display())?;
    for entry in std::fs::read_dir(from).about(from.display())? {
        let entry = entry.about(from.display())?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).about(source.display())?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).about(folder.display()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn node_is_compared_by_number() {
        assert!(is_new_enough("v20.19.0"));
        assert!(is_new_enough("v100.0.0"));
        assert!(!is_new_enough("v20.9.1"));
        assert!(!is_new_enough(""));
    }
}
