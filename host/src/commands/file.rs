//! The ledger's file in the data folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use autobench_core::commands::Storage;

use crate::durable;

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
