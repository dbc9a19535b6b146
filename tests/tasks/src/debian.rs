//! Debian's packages: installed for the tests where that is allowed, unpacked into a folder of ours where nothing need be installed.

use std::path::Path;
use std::process::Command;

use crate::failure::{About, Failure};
use crate::run;

/// Whether this is Debian. Its derivatives have packages of the same names with other content.
pub fn is_debian() -> bool {
    std::fs::read_to_string("/etc/os-release")
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "ID=debian"))
}

/// Whether packages may be installed.
pub fn is_root() -> bool {
    run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Fetches the lists of packages. Without them nothing can be looked up; only root may do it.
pub fn update() -> Result<(), Failure> {
    run::stream(apt().args(["-q", "update"]))
}

/// Installs packages.
pub fn install(packages: &[&str]) -> Result<(), Failure> {
    run::stream(
        apt()
            .args(["-q", "-y", "install", "--no-install-recommends"])
            .args(packages),
    )
}

/// The versions of a package that can be had, newest first.
pub fn versions(package: &str) -> Vec<String> {
    let table = run::output(Command::new("apt-cache").args(["madison", package])).unwrap_or_default();
    madison(&table)
}

/// What has to be fetched so that `package` runs here: itself, and those it depends on that are not installed.
pub fn closure(package: &str, version: &str) -> Result<Vec<String>, Failure> {
    let wanted = format!("{package}={version}");
    let plan = run::output(apt().args(["-s", "install", "--no-install-recommends", &wanted]))?;
    let mut packages = simulated(&plan);
    if !packages.contains(&wanted) {
        packages.push(wanted);
    }
    Ok(packages)
}

/// Fetches packages and unpacks them below `folder`, without installing anything: this needs no root.
pub fn unpack(packages: &[String], folder: &Path) -> Result<(), Failure> {
    let archives = folder.join("archives");
    std::fs::create_dir_all(&archives).about(archives.display())?;
    // As root, apt would fetch as a user of its own that cannot write here, and warn.
    run::stream(
        apt()
            .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
            .args(packages)
            .current_dir(&archives),
    )?;
    for archive in std::fs::read_dir(&archives).about(archives.display())? {
        let archive = archive.about(archives.display())?.path();
        run::stream(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(folder))?;
    }
    std::fs::remove_dir_all(&archives).about(archives.display())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Nobody is there to answer a question.
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The second column of `apt-cache madison`.
fn madison(table: &str) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(|version| version.trim().to_owned())
        .collect()
}

/// The `Inst name (version ...)` lines of a simulated installation, as `name=version`.
fn simulated(plan: &str) -> Vec<String> {
    plan.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("Inst ")?;
            let (name, rest) = rest.split_once(' ')?;
            // An upgrade has the old version in brackets before the parenthesis.
            let version = rest.split_once('(')?.1.split_whitespace().next()?;
            Some(format!("{name}={version}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_the_second_column() {
        let table = " rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://mirror trixie-backports/main amd64 Packages\n \
                     rust-src | 1.85.0+dfsg3-1 | http://mirror trixie/main amd64 Packages\n";
        assert_eq!(madison(table), ["1.95.0+dfsg1-1~bpo13+1", "1.85.0+dfsg3-1"]);
    }

    #[test]
    fn a_simulated_installation_names_packages_and_versions() {
        let plan = "Reading package lists...\n\
                    Inst libllvm22 (1:22.1.8-1~deb12u1 Debian-Security:12/oldstable-security [amd64])\n\
                    Inst libc6 [2.36-9] (2.36-10 Debian:12.1/stable [amd64])\n\
                    Conf libllvm22 (1:22.1.8-1~deb12u1 Debian-Security:12/oldstable-security [amd64])\n";
        assert_eq!(simulated(plan), ["libllvm22=1:22.1.8-1~deb12u1", "libc6=2.36-10"]);
    }
}
