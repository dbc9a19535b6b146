//! The data folder: what outlives a run of the daemon. One daemon at a time.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;

/// The folder, locked.
pub struct DataFolder {
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if it is not there, for the owner alone, and locks it. The lock ends with the process, however that ends.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| {
                format!("the data folder {shown} cannot be made; give another with data-dir or --data-dir")
            })?;
        let mode = fs::metadata(path)
            .with_context(|| format!("the data folder {shown} cannot be read"))?
            .permissions()
            .mode();
        if mode & 0o022 != 0 {
            bail!(
                "others may write in the data folder {shown}; chmod it to 700, or give another with data-dir or --data-dir"
            );
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(|| format!("the data folder {shown} cannot be written"))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another autobench uses the data folder {shown}; stop it, or give another with data-dir or --data-dir"
            );
        }
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataFolder::open(&path).unwrap();
        let second = DataFolder::open(&path).err().unwrap();
        assert!(second.to_string().contains("another autobench"), "{second}");
        drop(first);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(
            DataFolder::open(folder.path())
                .err()
                .unwrap()
                .to_string()
                .contains("chmod")
        );
    }
}
