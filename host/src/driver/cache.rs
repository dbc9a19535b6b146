//! Compiled code on disk, so that a start does not compile. Entries belong to the owner alone, are verified before use, and the whole is
//! bounded in size.

use std::fs;
use std::hash::{Hash as _, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use autobench_core::driver::versions::VersionHash;

use super::package::hash_of;

/// Most bytes of all entries; past it the entries that were not used for longest go.
const CACHE_LIMIT_BYTES: u64 = 256 << 20;

/// What an entry begins with; a change of the layout below changes it.
const MAGIC: &[u8; 16] = b"autobench-code-1";

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder is missing and cannot be made, or an entry cannot be written.
    #[error("the cache of compiled code at {path} cannot be written: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The folder belongs to somebody else, or others may write there.
    #[error("the cache of compiled code at {0} is not the owner's alone; remove it, or chmod it to 700")]
    NotPrivate(PathBuf),
}

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    compatibility: VersionHash,
    limit_bytes: u64,
}

impl Cache {
    /// Opens the cache in a folder, which is made if it is not there.
    pub fn open(folder: PathBuf, engine: &wasmtime::Engine) -> Result<Self, CacheError> {
        let io = |error| CacheError::Io {
            path: folder.clone(),
            error,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(io)?;
        let metadata = fs::symlink_metadata(&folder).map_err(io)?;
        let private = metadata.is_dir()
            && metadata.permissions().mode() & 0o077 == 0
            && metadata.uid() == rustix::process::geteuid().as_raw();
        if !private {
            return Err(CacheError::NotPrivate(folder));
        }
        remove_unfinished(&folder);
        let mut hasher = DigestHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder,
            compatibility: VersionHash(hasher.0.finalize().into()),
            limit_bytes: CACHE_LIMIT_BYTES,
        })
    }

    /// The compiled code of a plugin, if a sound entry for this engine is there.
    pub fn load(&self, plugin: VersionHash) -> Option<Vec<u8>> {
        let path = self.entry_path(plugin);
        let entry = fs::read(&path).ok()?;
        let code = self.verified(plugin, entry);
        if code.is_none() {
            // A damaged or foreign entry is of no use to anyone; the next compilation writes a good one.
            let _ = fs::remove_file(&path);
            return None;
        }
        // The time of the last use decides what goes first when the cache is full.
        if let Ok(file) = fs::File::open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        code
    }

    /// Keeps compiled code. An entry appears whole or not at all.
    pub fn store(&self, plugin: VersionHash, code: &[u8]) -> Result<(), CacheError> {
        let path = self.entry_path(plugin);
        let aside = self.path_aside(plugin);
        let written = (|| {
            let mut file = fs::File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(&self.header(plugin, code))?;
            file.write_all(code)?;
            fs::rename(&aside, &path)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&aside);
            CacheError::Io {
                path: path.clone(),
                error,
            }
        })?;
        self.shrink(&path);
        Ok(())
    }

    /// A path in the cache's folder that nobody else uses: what an earlier process of the same number left there is removed at the start.
    fn path_aside(&self, plugin: VersionHash) -> PathBuf {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.folder.join(format!(
            "{}-{}-{number}.store",
            plugin.short(),
            std::process::id()
        ))
    }

    fn entry_path(&self, plugin: VersionHash) -> PathBuf {
        self.folder
            .join(format!("{plugin}-{}.code", self.compatibility.short()))
    }

    fn header(&self, plugin: VersionHash, code: &[u8]) -> Vec<u8> {
        let mut header = Vec::with_capacity(MAGIC.len() + 96);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&plugin.0);
        header.extend_from_slice(&self.compatibility.0);
        header.extend_from_slice(&hash_of(code).0);
        header
    }

    /// The code of an entry whose header names this plugin, this engine and these very bytes.
    fn verified(&self, plugin: VersionHash, mut entry: Vec<u8>) -> Option<Vec<u8>> {
        let header_len = MAGIC.len() + 96;
        if entry.len() < header_len {
            return None;
        }
        let code = entry.split_off(header_len);
        (self.header(plugin, &code) == entry).then_some(code)
    }

    /// Removes what was not used for longest until the cache fits. The entry just written stays.
    fn shrink(&self, keep: &Path) {
        let Ok(folder) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = folder
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in entries {
            if total <= self.limit_bytes {
                break;
            }
            if path != keep && fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(len);
            }
        }
    }
}

/// Removes what a daemon that was killed left half written. The data folder is locked, so nobody else is writing.
fn remove_unfinished(folder: &Path) {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for path in entries.filter(|path| {
        path.extension()
            // Compiling processes of earlier builds of the daemon left `.new`.
            .is_some_and(|extension| extension == "new" || extension == "store")
    }) {
        // What stays is in nobody's way and is tried again at the next start.
        let _ = fs::remove_file(path);
    }
}

/// Lets a cryptographic hash stand where a `Hasher` is wanted, so that two engines that differ never share an entry by accident.
struct DigestHasher(Sha256);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |value, byte| (value << 8) | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine::DebugInfo;
    use super::*;

    fn cache(folder: &Path) -> Cache {
        let engine = wasmtime::Engine::new(&super::super::engine::config(DebugInfo::LeftOut)).unwrap();
        Cache::open(folder.join("code"), &engine).unwrap()
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let plugin = hash_of(b"plugin");
        assert_eq!(cache.load(plugin), None);
        cache.store(plugin, b"code").unwrap();
        assert_eq!(cache.load(plugin).as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.load(hash_of(b"another")), None);
    }

    #[test]
    fn a_damaged_or_foreign_entry_is_ignored_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let plugin = hash_of(b"plugin");
        cache.store(plugin, b"code").unwrap();
        let path = cache.entry_path(plugin);
        let good = fs::read(&path).unwrap();
        for at in [0, 20, 60, 100, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(cache.load(plugin), None, "byte {at} was changed");
            assert!(!path.exists());
        }
        fs::write(&path, &good[..40]).unwrap();
        assert_eq!(cache.load(plugin), None, "the entry was cut");
    }

    #[test]
    fn what_was_left_half_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        cache.store(hash_of(b"plugin"), b"code").unwrap();
        let unfinished = cache.path_aside(hash_of(b"other"));
        fs::write(&unfinished, b"half").unwrap();
        let again = self::tests::cache(folder.path());
        assert!(!unfinished.exists());
        assert!(again.load(hash_of(b"plugin")).is_some());
    }

    #[test]
    fn past_its_size_what_was_not_used_for_longest_goes_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = cache(folder.path());
        // Room for three entries and their headers.
        cache.limit_bytes = 3 * 1200;
        let plugins: Vec<VersionHash> = (0..4_u8).map(|number| hash_of(&[number])).collect();
        let age = |plugin: VersionHash, seconds: u64| {
            let entry = fs::File::open(cache.entry_path(plugin)).unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(seconds);
            entry.set_modified(then).unwrap();
        };
        for (plugin, seconds) in plugins.iter().zip([30, 40, 20]) {
            cache.store(*plugin, &[7; 1000]).unwrap();
            age(*plugin, seconds);
        }
        // The second is the oldest; it is used just now.
        assert!(cache.load(plugins[1]).is_some());
        cache.store(plugins[3], &[7; 1000]).unwrap();
        let is_there = |plugin: &VersionHash| cache.entry_path(*plugin).exists();
        let there: Vec<bool> = plugins.iter().map(is_there).collect();
        assert_eq!(there, [false, true, true, true]);
        // One that is larger than all of it is the only one then.
        cache.store(plugins[0], &[7; 10_000]).unwrap();
        let there: Vec<bool> = plugins.iter().map(is_there).collect();
        assert_eq!(there, [true, false, false, false]);
    }

    #[test]
    fn folder_and_entries_belong_to_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let plugin = hash_of(b"plugin");
        cache.store(plugin, b"code").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.folder), 0o700);
        assert_eq!(mode(&cache.entry_path(plugin)), 0o600);
    }

    #[test]
    fn what_another_engine_compiled_is_not_found_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let plugin = hash_of(b"plugin");
        cache.store(plugin, b"code").unwrap();
        let config = super::super::engine::config(DebugInfo::Kept);
        let engine = wasmtime::Engine::new(&config).unwrap();
        let other = Cache::open(folder.path().join("code"), &engine).unwrap();
        assert_eq!(other.load(plugin), None);
        // Under this engine's name it is no entry of this engine all the same.
        fs::copy(cache.entry_path(plugin), other.entry_path(plugin)).unwrap();
        assert_eq!(other.load(plugin), None);
        assert!(cache.load(plugin).is_some());
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let engine = wasmtime::Engine::new(&super::super::engine::config(DebugInfo::LeftOut)).unwrap();
        assert!(matches!(
            Cache::open(path, &engine),
            Err(CacheError::NotPrivate(_))
        ));
    }
}
