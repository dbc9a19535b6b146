//! A plugin on disk: opened once, without following links, read once, and from then on only its bytes count.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use autobench_core::driver::versions::VersionHash;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

/// Largest plugin.
pub const PACKAGE_LIMIT_BYTES: u64 = 64 << 20;

/// A plugin's bytes and their hash.
#[derive(Clone)]
pub struct Package {
    /// What was read.
    pub bytes: std::sync::Arc<[u8]>,
    /// Their SHA-256.
    pub hash: VersionHash,
}

/// The hash of some bytes.
pub fn hash_of(bytes: &[u8]) -> VersionHash {
    VersionHash(Sha256::digest(bytes).into())
}

/// Why a file is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It cannot be opened or read.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is a link.
    #[error(
        "it is a symbolic link; put the file itself into the folder, because a change behind a link is never noticed"
    )]
    Link,
    /// It is a directory, a pipe, a socket or a device.
    #[error("it is no regular file but {0}")]
    NotRegular(&'static str),
    /// It is too large.
    #[error("it has {0} bytes; at most {PACKAGE_LIMIT_BYTES} are taken")]
    TooLarge(u64),
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// It does not begin as WebAssembly does.
    #[error("it is no WebAssembly: it does not begin with \\0asm")]
    NotWebAssembly,
}

impl Package {
    /// Opens and reads a file.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        // Without NONBLOCK the opening of a pipe would wait for a writer for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
            rustix::io::Errno::LOOP => PackageError::Link,
            rustix::io::Errno::NXIO => PackageError::NotRegular("a socket or a device"),
            error => PackageError::Io(error.into()),
        })?;
        let file = File::from(descriptor);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(PackageError::NotRegular(kind_of(&metadata.file_type())));
        }
        if metadata.len() > PACKAGE_LIMIT_BYTES {
            return Err(PackageError::TooLarge(metadata.len()));
        }
        let mut bytes = Vec::new();
        // The file may still be growing: the bound holds for what is read and not for what was announced.
        file.take(PACKAGE_LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
        Self::of(bytes)
    }

    /// A plugin that came some other way.
    pub fn of(bytes: Vec<u8>) -> Result<Self, PackageError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if len > PACKAGE_LIMIT_BYTES {
            return Err(PackageError::TooLarge(len));
        }
        if bytes.is_empty() {
            return Err(PackageError::Empty);
        }
        if !bytes.starts_with(b"\0asm") {
            return Err(PackageError::NotWebAssembly);
        }
        Ok(Self {
            hash: hash_of(&bytes),
            bytes: bytes.into(),
        })
    }
}

fn kind_of(file_type: &std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        Package::read(path)
            .map(|package| package.hash.to_string())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_no_plugin_is_refused_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("zeros.wasm"), [0; 64]).unwrap();
        std::fs::write(at("empty.wasm"), []).unwrap();
        std::os::unix::fs::symlink(at("zeros.wasm"), at("link.wasm")).unwrap();
        std::fs::create_dir(at("folder.wasm")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe.wasm"), Mode::RUSR | Mode::WUSR).unwrap();
        assert!(refusal(&at("zeros.wasm")).contains("no WebAssembly"));
        assert!(refusal(&at("empty.wasm")).contains("empty"));
        assert!(refusal(&at("link.wasm")).contains("symbolic link"));
        assert!(refusal(&at("folder.wasm")).contains("a directory"));
        assert!(refusal(&at("pipe.wasm")).contains("a pipe"));
        assert!(refusal(&at("missing.wasm")).contains("No such file"));
    }

    #[test]
    fn the_hash_is_the_sha256_of_the_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.wasm");
        std::fs::write(&path, b"\0asm\x01\0\0\0").unwrap();
        let package = Package::read(&path).unwrap();
        assert_eq!(
            package.hash.to_string(),
            "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476"
        );
        assert_eq!(package.hash.short(), "93a44bbb96c7");
    }
}
