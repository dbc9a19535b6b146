//! Watching folders for changed files. Folders and not files: editors put a new file in place of the old one, and a watch on the old one
//! would see nothing more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Paths that may wait. A folder in which more files change at once is reported as a whole, by its own path.
const CHANGED_LIMIT: usize = 256;

/// Tells which paths below some folders have changed.
pub struct FolderWatch {
    // Held for its thread; dropping it ends the watch.
    _watcher: RecommendedWatcher,
    changes: Arc<Changes>,
}

#[derive(Default)]
struct Changes {
    paths: Mutex<BTreeSet<PathBuf>>,
    notify: Notify,
}

impl FolderWatch {
    /// Watches folders, not what is below their folders. One that is not there is left out; its parent tells when it comes.
    pub fn new<'a>(folders: impl IntoIterator<Item = &'a Path>) -> notify::Result<Self> {
        let folders: Vec<PathBuf> = folders
            .into_iter()
            .filter(|folder| folder.is_dir())
            .map(Path::to_owned)
            .collect();
        let changes = Arc::new(Changes::default());
        let noted = Arc::clone(&changes);
        let watched = folders.clone();
        let mut watcher = notify::recommended_watcher(move |event| note(&noted, &watched, event))?;
        for folder in &folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self {
            _watcher: watcher,
            changes,
        })
    }

    /// Waits for changes and takes them. Nothing is lost when the future is dropped.
    pub async fn changed(&self) -> BTreeSet<PathBuf> {
        loop {
            let notified = self.changes.notify.notified();
            let paths = std::mem::take(&mut *self.changes.paths.lock());
            if !paths.is_empty() {
                return paths;
            }
            notified.await;
        }
    }
}

fn note(changes: &Changes, watched: &[PathBuf], event: notify::Result<notify::Event>) {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!(channel = "app", "watching for changed files: {error}");
            return;
        }
    };
    if event.need_rescan() {
        // The system dropped events: anything may have changed.
        changes.paths.lock().extend(watched.iter().cloned());
        changes.notify.notify_one();
        return;
    }
    // Reading a file and touching its metadata change nothing that matters, and our own reading would wake us for ever.
    let matters = match event.kind {
        EventKind::Access(notify::event::AccessKind::Close(notify::event::AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    };
    if !matters {
        return;
    }
    let mut paths = changes.paths.lock();
    for path in event.paths {
        if paths.len() < CHANGED_LIMIT {
            paths.insert(path);
        } else if let Some(folder) = path.parent() {
            paths.insert(folder.to_owned());
        }
    }
    drop(paths);
    changes.notify.notify_one();
}
