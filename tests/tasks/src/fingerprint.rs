//! Tells whether sources changed since something was built from them, by their content: a fresh checkout or a `touch` builds nothing
//! that is already there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::failure::{About, Failure};

/// A stamp file beside the result: the fingerprint of what the result was built from.
pub struct Stamp {
    file: PathBuf,
    fingerprint: String,
}

impl Stamp {
    /// The stamp in `file`, to be compared with the sources as they are now. `skip` names entries that are no sources.
    pub fn of(file: PathBuf, sources: &[PathBuf], skip: &[&str]) -> Result<Self, Failure> {
        let mut hasher = DefaultHasher::new();
        for source in sources {
            add(source, skip, &mut hasher)?;
        }
        Ok(Self {
            file,
            fingerprint: format!("{:016x}\n", hasher.finish()),
        })
    }

    /// Whether the sources are those that were there when `keep` was called last.
    pub fn is_current(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|kept| kept == self.fingerprint)
    }

    /// Remembers the sources. Called after the build, so that one that failed is tried again.
    pub fn keep(&self) -> Result<(), Failure> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder).about(folder.display())?;
        }
        std::fs::write(&self.file, &self.fingerprint).about(self.file.display())
    }
}

fn add(path: &Path, skip: &[&str], hasher: &mut DefaultHasher) -> Result<(), Failure> {
    path.file_name().hash(hasher);
    if !path.is_dir() {
        std::fs::read(path).about(path.display())?.hash(hasher);
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).about(path.display())? {
        let entry = entry.about(path.display())?;
        let name = entry.file_name();
        if !skip.iter().any(|skipped| *skipped == name) {
            entries.push(entry.path());
        }
    }
    entries.sort();
    entries.len().hash(hasher);
    entries.iter().try_for_each(|entry| add(entry, skip, hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_until_a_source_changes() {
        let folder = std::env::temp_dir().join(format!("autobench-stamp-{}", std::process::id()));
        let sources = folder.join("sources");
        std::fs::create_dir_all(sources.join("dist")).unwrap();
        std::fs::write(sources.join("a"), "1").unwrap();
        let stamp = || Stamp::of(folder.join("stamp"), std::slice::from_ref(&sources), &["dist"]).unwrap();

        assert!(!stamp().is_current());
        stamp().keep().unwrap();
        assert!(stamp().is_current());
        std::fs::write(sources.join("dist/skipped"), "x").unwrap();
        assert!(stamp().is_current());
        std::fs::rename(sources.join("a"), sources.join("b")).unwrap();
        assert!(!stamp().is_current());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
