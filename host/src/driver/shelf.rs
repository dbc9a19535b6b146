//! What the data folder keeps of versions: the bytes of those that may be needed again, and per device which were good and which are refused.
//!
//! ```text
//! versions/<hash>.wasm      as it was read; for as long as it is prepared, or a record calls it good
//! versions/<device>.json    the record
//! versions/<device>.unreadable   a record that could not be read: while it is there, no version is let go of that it may call good
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autobench_core::driver::versions::{VersionHash, VersionRecord};

use parking_lot::Mutex;

use super::package::Package;
use crate::durable;

/// The folder, and the records in it: one for each device that was ever configured.
pub struct Shelf {
    folder: PathBuf,
    records: BTreeMap<String, VersionRecord>,
    /// What a record that cannot be read may call good.
    spared: BTreeSet<VersionHash>,
    turn: Arc<Mutex<()>>,
}

/// A record that is not on the disk yet. Of one device there is one at a time.
pub struct Unwritten {
    path: PathBuf,
    record: VersionRecord,
    dropped: Vec<VersionHash>,
}

impl Unwritten {
    /// Writes it, and answers what it no longer calls good. Blocks for as long as the disk takes.
    pub fn write(self) -> io::Result<Vec<VersionHash>> {
        durable::replace(&self.path, &serde_json::to_vec_pretty(&self.record)?)?;
        Ok(self.dropped)
    }
}

/// Keeps versions, for other threads.
#[derive(Clone)]
pub struct Keeper {
    folder: PathBuf,
    /// One keeps at a time: two that keep the same version would write the same file.
    turn: Arc<Mutex<()>>,
}

impl Shelf {
    /// Opens the folder, and lets go of bytes that no record calls good. A record that cannot be read is told, set aside, and
    /// begun anew; what it may have called good stays.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut shelf = Self {
            folder,
            records: BTreeMap::new(),
            spared: BTreeSet::new(),
            turn: Arc::default(),
        };
        let mut kept = BTreeSet::new();
        let mut all_is_known = true;
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
                        all_is_known = false;
                        set_aside(&path, stem, &error);
                    }
                },
                Some("unreadable") => {
                    all_is_known = false;
                    tracing::warn!(
                        channel = "app",
                        "no version is let go of while {} is there; mend it and give it back its name, or remove it",
                        path.display()
                    );
                }
                // What a crash left of a file that was being written.
                Some("new") => drop(std::fs::remove_file(&path)),
                _ => {}
            }
        }
        if all_is_known {
            kept.iter().for_each(|hash| shelf.let_go(*hash));
        } else {
            shelf.spared = kept;
        }
        Ok(shelf)
    }

    /// What is kept of a device.
    pub fn record(&self, device: &str) -> VersionRecord {
        self.records.get(device).cloned().unwrap_or_default()
    }

    /// Takes what is to be kept of a device from now on. It counts at once, and is kept when it is written.
    #[must_use = "it is not written by itself"]
    pub fn note(&mut self, device: &str, record: VersionRecord) -> Unwritten {
        let former = self.records.insert(device.to_owned(), record.clone());
        let mut dropped = former.map(|former| former.good).unwrap_or_default();
        dropped.retain(|hash| !record.good.contains(hash));
        Unwritten {
            path: self.folder.join(format!("{device}.json")),
            record,
            dropped,
        }
    }

    /// Where a version's bytes are, if they are kept.
    pub fn path(&self, hash: VersionHash) -> PathBuf {
        path(&self.folder, hash)
    }

    /// Keeps versions beside everything else.
    pub fn keeper(&self) -> Keeper {
        Keeper {
            folder: self.folder.clone(),
            turn: Arc::clone(&self.turn),
        }
    }

    /// Lets go of a version's bytes, unless a record calls it good.
    pub fn let_go(&self, hash: VersionHash) {
        let is_good = self.records.values().any(|record| record.good.contains(&hash));
        if !is_good && !self.spared.contains(&hash) {
            // What is left behind is let go of at the next start.
            let _ = std::fs::remove_file(self.path(hash));
        }
    }
}

impl Keeper {
    /// Keeps a version's bytes. Blocks for as long as the disk takes.
    pub fn keep(&self, package: &Package) -> io::Result<()> {
        let _turn = self.turn.lock();
        let path = path(&self.folder, package.hash);
        match std::fs::read(&path) {
            Ok(bytes) if *bytes == *package.bytes => Ok(()),
            // It is not there, or it is not what its name says.
            _ => durable::replace(&path, &package.bytes),
        }
    }
}

fn path(folder: &Path, hash: VersionHash) -> PathBuf {
    folder.join(format!("{hash}.wasm"))
}

/// It may be mended by a person: what is written from now on goes into another file.
fn set_aside(path: &Path, device: &str, error: &io::Error) {
    let aside = path.with_extension("unreadable");
    let moved = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it is now {}", aside.display()),
        Err(error) => format!("it cannot be set aside: {error}"),
    };
    tracing::error!(
        channel = "app",
        "{} is not used ({error}), {moved}; which versions of {device} were good and which were refused is not known",
        path.display()
    );
}

fn read(path: &Path) -> io::Result<VersionRecord> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use autobench_core::driver::versions::Wants;

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
        shelf.keeper().keep(&good).unwrap();
        shelf.keeper().keep(&other).unwrap();
        // Half of a file that a crash left behind.
        let half = shelf.path(other.hash).with_extension("new");
        std::fs::write(&half, b"oth").unwrap();
        let record = VersionRecord {
            plugin: "power-meter".to_owned(),
            good: vec![good.hash],
            refused: Vec::new(),
            consented: Some(Wants {
                slices: ["meter".to_owned()].into(),
                memory_bytes: u64::MAX,
                ..Wants::default()
            }),
        };
        assert!(shelf.note("meter", record.clone()).write().unwrap().is_empty());
        shelf.let_go(good.hash);
        let mut again = Shelf::open(folder.path().join("versions")).unwrap();
        assert_eq!(again.record("meter"), record);
        assert_eq!(again.record("relay"), VersionRecord::default());
        assert_eq!(std::fs::read(again.path(good.hash)).unwrap(), b"good");
        assert!(!again.path(other.hash).exists());
        assert!(!half.exists());
        let dropped = again.note("meter", VersionRecord::default()).write().unwrap();
        assert_eq!(dropped, [good.hash]);
        again.let_go(good.hash);
        assert!(!again.path(good.hash).exists());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_begun_anew_and_costs_no_version() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Shelf::open(folder.path().to_owned()).unwrap();
        let package = package(b"good");
        open().keeper().keep(&package).unwrap();
        std::fs::write(folder.path().join("meter.json"), "{").unwrap();
        let mut shelf = open();
        assert_eq!(shelf.record("meter"), VersionRecord::default());
        shelf.note("meter", VersionRecord::default()).write().unwrap();
        shelf.let_go(package.hash);
        assert!(shelf.path(package.hash).exists());
        let aside = folder.path().join("meter.unreadable");
        assert_eq!(std::fs::read(&aside).unwrap(), b"{");
        // Nobody has looked at it yet.
        assert!(open().path(package.hash).exists());
        std::fs::remove_file(&aside).unwrap();
        assert!(!open().path(package.hash).exists());
    }

    #[test]
    fn what_is_kept_is_what_its_name_says_however_many_keep_it_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().to_owned()).unwrap();
        let package = package(&[7; 100_000]);
        std::fs::write(shelf.path(package.hash), b"cut").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (keeper, package) = (shelf.keeper(), &package);
                scope.spawn(move || keeper.keep(package).unwrap());
            }
        });
        assert_eq!(std::fs::read(shelf.path(package.hash)).unwrap(), *package.bytes);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
