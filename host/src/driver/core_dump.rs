//! Core dumps: the memory of a driver whose call was broken off, where the configuration asks for it.
//!
//! A dump holds whatever the driver held. The files belong to the owner alone, and their number and size are bounded.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use autobench_core::driver::versions::VersionHash;

/// Dumps that are kept; the oldest goes.
const FILES_LIMIT: usize = 8;
/// Memory of a driver beyond which no dump is made of it: writing it would keep the driver from its restart for seconds.
pub const DUMP_LIMIT_BYTES: usize = 128 << 20;

const ENDING: &str = "coredump";

/// Where dumps are kept.
#[derive(Debug, Clone)]
pub struct CoreDumps {
    folder: PathBuf,
}

impl CoreDumps {
    /// Below the data folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps a dump, and answers the name of its file: device, version and time. Blocks for as long as the disk takes; the driver is down then.
    pub fn keep(&self, device: &str, version: VersionHash, wall_ms: u64, dump: &[u8]) -> io::Result<String> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        self.forget_old()?;
        let name = format!("{device}-{}-{wall_ms}.{ENDING}", version.short());
        let path = self.folder.join(&name);
        let mut file = fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(dump).inspect_err(|_| {
            // Half a dump is of no use, and the disk may be full.
            let _ = fs::remove_file(&path);
        })?;
        Ok(name)
    }

    /// Makes room for one more.
    fn forget_old(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.folder)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
            .filter_map(|path| Some((modified(&path)?, path)))
            .collect();
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(FILES_LIMIT);
        files
            .into_iter()
            .take(surplus)
            .try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_newest_dumps_are_kept_for_the_owner_alone_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let dumps = CoreDumps::new(folder.path().join("dumps"));
        let version = VersionHash([0xab; 32]);
        let names: Vec<String> = (0..FILES_LIMIT as u64 + 3)
            .map(|number| {
                let name = dumps.keep("meter", version, number, &[7; 100]).unwrap();
                // By the clock of the file system two may be of one age.
                let age = std::time::Duration::from_secs(1_000 - number);
                let file = fs::File::options()
                    .write(true)
                    .open(dumps.folder.join(&name))
                    .unwrap();
                file.set_modified(SystemTime::now() - age).unwrap();
                fs::write(dumps.folder.join("meter@0.bytes"), "skipped").unwrap();
                name
            })
            .collect();
        assert_eq!(names[0], "meter-abababababab-0.coredump");
        let is_there = |name: &&String| dumps.folder.join(name).exists();
        let kept: Vec<&String> = names.iter().filter(is_there).collect();
        assert_eq!(kept, names.iter().skip(3).collect::<Vec<_>>());
        assert!(dumps.folder.join("meter@0.bytes").exists());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dumps.folder), 0o700);
        assert_eq!(mode(&dumps.folder.join(kept[0])), 0o600);
    }
}
