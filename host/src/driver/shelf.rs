//! What the data folder keeps of versions: the bytes of those that may be needed again, and per device which were good and which are refused.
//!
//! ```text
//! versions/<hash>.wasm      as it was read; for as long as it is prepared, or a record calls it good
//! versions/<device>.json    the record
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use autobench_core::driver::versions::{VersionHash, VersionRecord};

use super::package::Package;
use crate::durable;

/// The folder, and the records in it: one for each device that was ever configured.
pub struct Shelf {
    folder: PathBuf,
    records: BTreeMap<String, VersionRecord>,
}

impl Shelf {
    /// Opens the folder, and lets go of bytes that no record calls good. A record that cannot be read is told, and begun anew.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut shelf = Self {
            folder,
            records: BTreeMap::new(),
        };
        let mut kept = Vec::new();
        for path in std::fs::read_dir(&shelf.folder)?
            .flatten()
            .map(|entry| entry.path())
        {
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("wasm") => kept.extend(stem.parse::<VersionHash>()),
                Some("json") => match read(&path) {
                    Ok(record) => drop(shelf.records.insert(stem.to_owned(), record)),
                    Err(error) => {
                        tracing::error!(
                            channel = "app",
                            "{} is not used ({error}); which versions of {stem} were good and which were refused is not known",
                            path.display()
                        );
                    }
                },
                _ => {}
            }
        }
        kept.iter().for_each(|hash| shelf.let_go(*hash));
        Ok(shelf)
    }

    /// What is kept of a device.
    pub fn record(&self, device: &str) -> VersionRecord {
        self.records.get(device).cloned().unwrap_or_default()
    }

    /// Writes what is kept of a device. Answers what it no longer calls good.
    pub fn write(&mut self, device: &str, record: VersionRecord) -> io::Result<Vec<VersionHash>> {
        let bytes = serde_json::to_vec_pretty(&record)?;
        let former = self.records.insert(device.to_owned(), record.clone());
        durable::replace(&self.folder.join(format!("{device}.json")), &bytes)?;
        let mut dropped = former.map(|former| former.good).unwrap_or_default();
        dropped.retain(|hash| !record.good.contains(hash));
        Ok(dropped)
    }

    /// Where a version's bytes are, if they are kept.
    pub fn path(&self, hash: VersionHash) -> PathBuf {
        path(&self.folder, hash)
    }

    /// The folder, for [`keep`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets go of a version's bytes, unless a record calls it good.
    pub fn let_go(&self, hash: VersionHash) {
        if !self.records.values().any(|record| record.good.contains(&hash)) {
            // What is left behind is let go of at the next start.
            let _ = std::fs::remove_file(self.path(hash));
        }
    }
}

/// Keeps a version's bytes. Blocks for as long as the disk takes.
pub fn keep(folder: &Path, package: &Package) -> io::Result<()> {
    let path = path(folder, package.hash);
    match path.try_exists()? {
        true => Ok(()),
        false => durable::replace(&path, &package.bytes),
    }
}

fn path(folder: &Path, hash: VersionHash) -> PathBuf {
    folder.join(format!("{hash}.wasm"))
}

fn read(path: &Path) -> io::Result<VersionRecord> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::super::package::hash_of;
    use super::*;

    fn package(bytes: &[u8]) -> Package {
        Package {
            hash: hash_of(bytes),
            bytes: bytes.into(),
        }
    }

    #[test]
    fn good_versions_outlive_the_daemon_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path().join("versions")).unwrap();
        let (good, other) = (package(b"good"), package(b"other"));
        keep(shelf.folder(), &good).unwrap();
        keep(shelf.folder(), &other).unwrap();
        let record = VersionRecord {
            plugin: "power-meter".to_owned(),
            good: vec![good.hash],
            refused: Vec::new(),
        };
        assert!(shelf.write("meter", record.clone()).unwrap().is_empty());
        shelf.let_go(good.hash);
        let mut again = Shelf::open(folder.path().join("versions")).unwrap();
        assert_eq!(again.record("meter"), record);
        assert_eq!(again.record("relay"), VersionRecord::default());
        assert_eq!(std::fs::read(again.path(good.hash)).unwrap(), b"good");
        assert!(!again.path(other.hash).exists());
        let dropped = again.write("meter", VersionRecord::default()).unwrap();
        assert_eq!(dropped, [good.hash]);
        again.let_go(good.hash);
        assert!(!again.path(good.hash).exists());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("meter.json"), "{").unwrap();
        let mut shelf = Shelf::open(folder.path().to_owned()).unwrap();
        assert_eq!(shelf.record("meter"), VersionRecord::default());
        shelf.write("meter", VersionRecord::default()).unwrap();
    }
}
