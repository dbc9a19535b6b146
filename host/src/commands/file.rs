//! The ledger's file in the data folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use autobench_core::commands::Storage;

use crate::durable;

/// Bytes of the key that hashes are made with.
pub(super) const KEY_BYTES: usize = 32;

/// This installation's key: the one in the file, or a new one that is put there.
pub(super) fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let of_file = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match fs::read(path).map(<[u8; KEY_BYTES]>::try_from) {
        Ok(Ok(key)) => return Ok(key),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_file(error)),
        // One that was damaged is replaced: keys of the last day are then known as other commands, and none is done twice.
        Ok(Err(_)) | Err(_) => {}
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    durable::replace(path, &key).map_err(of_file)?;
    Ok(key)
}

/// One file, the owner's alone.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    /// Open from the first append on.
    file: Option<File>,
}

impl LedgerFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn opened(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let is_new = !self.path.exists();
                let file = File::options()
                    .append(true)
                    .create(true)
                    .mode(0o600)
                    .open(&self.path)?;
                if is_new {
                    durable::sync_folder(&self.path)?;
                }
                file
            }
        };
        Ok(self.file.insert(file))
    }
}

impl Storage for LedgerFile {
    fn load(&mut self) -> io::Result<Vec<u8>> {
        match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    fn append(&mut self, bytes: &[u8], is_durable: bool) -> io::Result<()> {
        let file = self.opened()?;
        file.write_all(bytes)?;
        if is_durable { file.sync_data() } else { Ok(()) }
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file = None;
        durable::replace(&self.path, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_stays_the_same_and_belongs_to_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.key");
        let first = key(&path).unwrap();
        assert_ne!(first, [0; KEY_BYTES]);
        assert_eq!(key(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        let second = key(&path).unwrap();
        assert_ne!(second, first);
        assert_eq!(key(&path).unwrap(), second);
        assert_ne!(key(&folder.path().join("other")).unwrap(), second);
    }

    #[test]
    fn the_file_grows_is_replaced_and_belongs_to_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.jsonl");
        let mut file = LedgerFile::new(path.clone());
        assert!(file.load().unwrap().is_empty());
        file.append(b"one\n", true).unwrap();
        file.append(b"two\n", false).unwrap();
        assert_eq!(file.load().unwrap(), b"one\ntwo\n");
        file.replace(b"three\n").unwrap();
        file.append(b"four\n", true).unwrap();
        assert_eq!(LedgerFile::new(path.clone()).load().unwrap(), b"three\nfour\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
