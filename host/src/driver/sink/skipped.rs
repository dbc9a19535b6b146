//! Bytes that were skipped, as files.

use super::DeviceSink;

/// Files of skipped bytes that are kept per device; the oldest goes.
const SKIPPED_FILES_LIMIT: usize = 16;

impl DeviceSink {
    /// Keeps skipped bytes in a file and names it, or says why not.
    pub(super) fn dump(&self, offset: u64, bytes: &[u8]) -> String {
        if self.withholding.is_on(self.clock.monotonic_ns()) {
            return ", not kept because a secret command was under way".to_owned();
        }
        let path = self.dumps.join(format!("{}@{offset}.bytes", self.device));
        let written = std::fs::create_dir_all(&self.dumps).and_then(|()| {
            self.forget_old_dumps();
            // Its owner's alone, as all that is kept of a line.
            crate::durable::replace(&path, bytes)
        });
        match written {
            Ok(()) => format!(", kept in {}", path.display()),
            Err(error) => format!(", not kept in {}: {error}", path.display()),
        }
    }

    fn forget_old_dumps(&self) {
        let prefix = format!("{}@", self.device);
        let mut files: Vec<_> = std::fs::read_dir(&self.dumps)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|file| file.file_name().to_string_lossy().starts_with(&prefix))
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
            .collect();
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(SKIPPED_FILES_LIMIT);
        for (_, path) in files.into_iter().take(surplus) {
            // One file too many does no harm; the next dump tries again.
            let _ = std::fs::remove_file(path);
        }
    }
}
