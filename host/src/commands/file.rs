//! The ledger's file in the data folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use autobench_core::commands::Storage;

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
                    self.sync_folder()?;
                }
                file
            }
        };
        Ok(self.file.insert(file))
    }

    /// Without it a file that was just made or moved may be gone after a power cut, however well its content was written.
    fn sync_folder(&self) -> io::Result<()> {
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
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
        let aside = self.path.with_extension("new");
        // One that a crash left behind may belong to nobody knows whom.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.file = None;
        fs::rename(&aside, &self.path)?;
        self.sync_folder()
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
