//! What guests are compiled with: a compiler and a standard library for `wasm32-unknown-unknown`.
//!
//! Tried in this order, and the first that works is used:
//!
//! 1. the compiler's own folder has the target already;
//! 2. `rustup target add`, where rustup manages the compiler and reaches its server;
//! 3. the standard library is built from source into `target/autobench/sysroot`. The source is that of the compiler's folder (the
//!    rustup component `rust-src`), or Debian's `rust-src` of the compiler's exact version, or Debian's pair `rustc-web` and
//!    `rust-web-src`, whose compiler then builds the guests. Debian's packages are unpacked, not installed.
//!
//! The standard library belongs to one compiler: metadata of another version is refused. So the versions are compared exactly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::failure::{About, Failure};
use crate::{debian, run};

/// The target of all guests.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// rustup tries again and again where it reaches no server; this is long enough for 20 MB over a slow line.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);
/// Beside the built library: which compiler it belongs to.
const STAMP: &str = "made-for";

/// How to compile guests.
pub struct Toolchain {
    /// Another compiler than the host's.
    compiler: Option<Compiler>,
    /// The folder with the standard library, unless it is the compiler's own.
    sysroot: Option<PathBuf>,
    /// Where it comes from, in a few words.
    pub origin: String,
}

/// A compiler unpacked from Debian's packages.
struct Compiler {
    rustc: PathBuf,
    libraries: Vec<PathBuf>,
    linker: Option<PathBuf>,
}

impl Toolchain {
    /// Finds or makes the toolchain.
    pub fn ensure(checkout: &Checkout) -> Result<Self, Failure> {
        if has_target(checkout)? {
            return Ok(Self::own("already there"));
        }
        let added = add_by_rustup(checkout);
        if added.is_ok() && has_target(checkout)? {
            return Ok(Self::own("added by rustup"));
        }
        let folder = checkout.out.join("sysroot");
        let release = release(checkout)?;
        if let Some(built) = Self::built(&folder, &release) {
            return Ok(built);
        }
        if let Err(failure) = &added {
            eprintln!("      {failure}");
        }
        Self::build(checkout, &folder, &release)?;
        Self::built(&folder, &release)
            .ok_or_else(|| Failure::new(format!("{} is not complete", folder.display())))
    }

    /// A cargo command that compiles guests.
    pub fn cargo(&self, checkout: &Checkout) -> Command {
        let mut command = checkout.cargo();
        let mut flags = Vec::new();
        if let Some(sysroot) = &self.sysroot {
            flags.push(format!("--sysroot={}", sysroot.display()));
        }
        if let Some(compiler) = &self.compiler {
            compiler.apply(&mut command);
            if let Some(linker) = &compiler.linker {
                flags.push(format!("-Clinker={}", linker.display()));
            }
        }
        if !flags.is_empty() {
            // Encoded, because the checkout's path may hold spaces. It replaces RUSTFLAGS, so that has to be carried over.
            let given = std::env::var("RUSTFLAGS").unwrap_or_default();
            let all: Vec<_> = given.split_whitespace().map(str::to_owned).chain(flags).collect();
            command.env("CARGO_ENCODED_RUSTFLAGS", all.join("\x1f"));
        }
        command.env("CARGO_TARGET_DIR", self.target_dir(checkout));
        command
    }

    /// Where cargo leaves the guests. Another compiler gets a folder of its own, or the two would rebuild each other's work.
    pub fn target_dir(&self, checkout: &Checkout) -> PathBuf {
        if self.compiler.is_some() {
            checkout.out.join("guests")
        } else {
            checkout.target.clone()
        }
    }

    fn own(origin: &str) -> Self {
        Self {
            compiler: None,
            sysroot: None,
            origin: origin.to_owned(),
        }
    }

    /// The library that an earlier run left, if it was made for the compiler that is here now.
    fn built(folder: &Path, release: &str) -> Option<Self> {
        let stamp = std::fs::read_to_string(folder.join(STAMP)).ok()?;
        let mut lines = stamp.lines();
        if lines.next() != Some(release) {
            return None;
        }
        let origin = lines.next()?.to_owned();
        let linker = lines
            .next()
            .filter(|linker| !linker.is_empty())
            .map(PathBuf::from);
        let compiler = Compiler::unpacked(&folder.join("packages"), linker);
        Some(Self {
            compiler,
            sysroot: Some(folder.to_owned()),
            origin,
        })
    }

    /// Builds the library aside and moves it into its place when it is complete.
    fn build(checkout: &Checkout, folder: &Path, release: &str) -> Result<(), Failure> {
        let aside = checkout.out.join("sysroot.new");
        remove(&aside)?;
        remove(folder)?;
        let packages = aside.join("packages");
        std::fs::create_dir_all(&packages).about(packages.display())?;
        let (source, origin) = source(checkout, release, &packages)?;
        let linker = rust_lld(checkout);
        let compiler = Compiler::unpacked(&packages, linker.clone());
        eprintln!("      building the standard library from {origin}");

        let work = aside.join("build");
        let mut cargo = checkout.cargo();
        if let Some(compiler) = &compiler {
            compiler.apply(&mut cargo);
        }
        cargo
            .args(["build", "--release", "--target", TARGET])
            .current_dir(source.join("sysroot"))
            .env("CARGO_TARGET_DIR", &work)
            // The library uses unstable features, and says so in its metadata.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_DEFAULT_LIB_METADATA", "stablestd")
            // Bitcode, because guests are built with link-time optimisation.
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                "-Zforce-unstable-if-unmarked\x1f-Cembed-bitcode=yes",
            );
        run::stream(&mut cargo)?;

        let library = aside.join("lib/rustlib").join(TARGET).join("lib");
        std::fs::create_dir_all(&library).about(library.display())?;
        let built = work.join(TARGET).join("release/deps");
        for entry in std::fs::read_dir(&built).about(built.display())? {
            let path = entry.about(built.display())?.path();
            if let (Some("rlib"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_name())
            {
                std::fs::copy(&path, library.join(name)).about(path.display())?;
            }
        }
        remove(&work)?;
        // The sources are 300 MB, and are not read again.
        remove(&packages.join("usr/src"))?;
        let linker = linker
            .map(|linker| linker.display().to_string())
            .unwrap_or_default();
        let stamp = aside.join(STAMP);
        std::fs::write(&stamp, format!("{release}\n{origin}\n{linker}\n")).about(stamp.display())?;
        std::fs::rename(&aside, folder).about(folder.display())
    }
}

impl Compiler {
    /// The compiler below `packages`, if there is one.
    fn unpacked(packages: &Path, linker: Option<PathBuf>) -> Option<Self> {
        let rustc = packages.join("usr/bin/rustc");
        // Debian's folder is named after the machine, `lib/x86_64-linux-gnu`.
        let libraries: Vec<_> = std::fs::read_dir(packages.join("usr/lib"))
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with("-linux-gnu"))
            .collect();
        rustc.is_file().then_some(Self {
            rustc,
            libraries,
            linker,
        })
    }

    fn apply(&self, command: &mut Command) {
        let libraries = std::env::join_paths(&self.libraries).unwrap_or_default();
        command
            .env("RUSTC", &self.rustc)
            .env("LD_LIBRARY_PATH", libraries);
    }
}

/// Where the source of the standard library lies (the folder `library`), and what it is in words.
fn source(checkout: &Checkout, release: &str, packages: &Path) -> Result<(PathBuf, String), Failure> {
    let own = sysroot(checkout)?.join("lib/rustlib/src/rust/library");
    if own.join("sysroot").is_dir() {
        return Ok((own, "the compiler's own sources".to_owned()));
    }
    if debian::is_debian() {
        if debian::is_root() {
            debian::update()?;
        }
        let source = ["rust-src", "rust-web-src"].into_iter().find_map(|package| {
            // The pair brings its own compiler, so any version does that understands the guests.
            let fits = |version: &String| match package {
                "rust-src" => version.split(['+', '-']).next() == Some(release),
                _ => minor(version) >= minor(release) && debian::versions("rustc-web").contains(version),
            };
            Some((package, debian::versions(package).into_iter().find(fits)?))
        });
        if let Some((package, version)) = source {
            let mut wanted = vec![format!("{package}={version}")];
            if package == "rust-web-src" {
                wanted.extend(debian::closure("rustc-web", &version)?);
            }
            eprintln!("      unpacking {}", wanted.join(", "));
            debian::unpack(&wanted, packages)?;
            let sources = packages.join("usr/src");
            let library = std::fs::read_dir(&sources)
                .about(sources.display())?
                .flatten()
                .map(|entry| entry.path().join("library"))
                .find(|library| library.join("sysroot").is_dir())
                .ok_or_else(|| Failure::new(format!("{package} {version} holds no standard library")))?;
            return Ok((library, format!("Debian's {package} {version}")));
        }
    }
    Err(Failure::new(format!(
        "the compiler has no target {TARGET}, and its standard library cannot be had"
    ))
    .remedy(format!(
        "Do one of these and try again:\n\
             rustup target add {TARGET}\n\
             rustup component add rust-src\n\
             on Debian: make rust-src {release} available to apt (it is in the backports of trixie), \
             or run `apt-get update` as root"
    )))
}

fn add_by_rustup(checkout: &Checkout) -> Result<(), Failure> {
    if run::find(&["rustup"]).is_none() {
        return Err(Failure::new("rustup is not here to add the target"));
    }
    let mut command = Command::new("rustup");
    // In the checkout, so that rustup adds the target to the toolchain that `rust-toolchain.toml` names.
    command
        .args(["target", "add", TARGET])
        .current_dir(&checkout.root);
    match run::watch(&mut command, &mut std::io::stderr(), RUSTUP_LIMIT, |_| ())? {
        run::Ended::Well => Ok(()),
        run::Ended::Badly => Err(Failure::new("rustup could not add the target")),
        run::Ended::OverTime => Err(Failure::new("rustup did not come to an end")),
    }
}

/// A target may be announced while its files are missing, so the files decide.
fn has_target(checkout: &Checkout) -> Result<bool, Failure> {
    let folder = run::output(rustc(checkout).args(["--print", "target-libdir", "--target", TARGET]))?;
    let Ok(entries) = std::fs::read_dir(folder.trim()) else {
        return Ok(false);
    };
    Ok(entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    }))
}

/// rustup's linker for targets without one of their own; Debian's compiler does not bring it.
fn rust_lld(checkout: &Checkout) -> Option<PathBuf> {
    let folder = run::output(rustc(checkout).args(["--print", "target-libdir"])).ok()?;
    let linker = Path::new(folder.trim()).parent()?.join("bin/rust-lld");
    linker
        .is_file()
        .then_some(linker)
        .or_else(|| run::find(&["rust-lld", "wasm-ld"]))
}

fn sysroot(checkout: &Checkout) -> Result<PathBuf, Failure> {
    Ok(PathBuf::from(
        run::output(rustc(checkout).args(["--print", "sysroot"]))?.trim(),
    ))
}

fn rustc(checkout: &Checkout) -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(&checkout.root);
    command
}

/// The compiler's version, such as `1.95.0`.
fn release(checkout: &Checkout) -> Result<String, Failure> {
    let text = run::output(rustc(checkout).arg("-vV"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("release: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc -vV names no release"))
}

/// Major and minor number of a version, for comparison.
fn minor(version: &str) -> (u32, u32) {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).about(folder.display()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        assert!(minor("1.100.0+dfsg1-1") > minor("1.95.0"));
        assert!(minor("1.85.0+dfsg3-1~deb12u3") < minor("1.95.0"));
        assert_eq!(minor("1.96.0+dfsg1-1~deb12u2"), (1, 96));
    }
}
