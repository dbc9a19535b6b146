//! Which files have changed: plugins, the configuration, and the folders they are in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use autobench_core::driver::LogLevel;
use autobench_core::state::FORBIDDEN_KEYS;
use tokio::time::Instant;

use super::super::watch::FolderWatch;
use super::{Bench, Stem};
use crate::config::PluginName;

/// How long the configuration has to be quiet before it is read.
const QUIET: Duration = Duration::from_millis(30);
/// File names that are remembered as ignored; past it they are ignored without a word.
const IGNORED_LIMIT: usize = 64;
/// How often a plugin folder that is gone is looked for.
const FOLDER_RETRY: Duration = Duration::from_secs(1);

impl Bench {
    pub(super) async fn note(&mut self, paths: &BTreeSet<PathBuf>) {
        let now = Instant::now();
        let plugins_dir = self.config.daemon.plugins_dir.clone();
        let mut is_new_folder = false;
        for path in paths {
            if path.parent() == Some(&plugins_dir) {
                match stem_of(path) {
                    Ok(Some(stem)) => self.versions.file_changed(&stem, self.now_ns()),
                    Ok(None) => {}
                    Err(reason) => self.ignore(path, &reason),
                }
            } else if *path == plugins_dir {
                self.look_again(&plugins_dir);
            }
            if self.is_configuration(path) {
                self.config_changed = Some(now + QUIET);
                self.config_in_doubt = false;
            }
            if *path == self.drop_in_folder || plugins_dir.starts_with(path) {
                is_new_folder = true;
            }
        }
        if is_new_folder {
            self.watch_again();
        }
        self.act().await;
    }

    /// A folder that has come or gone is another one from now on, and the watch was on the old one.
    pub(super) fn watch_again(&mut self) {
        let plugins_dir = self.config.daemon.plugins_dir.clone();
        match watch(&plugins_dir, &self.config_path, &self.drop_in_folder) {
            Ok(watch) => self.watch = watch,
            Err(error) => self.log(
                LogLevel::Error,
                None,
                format!("changed files are no longer noticed: {error}"),
            ),
        }
        let was_gone = self.folder_due.is_some();
        let is_there = plugins_dir.is_dir();
        self.versions.folder(is_there);
        if is_there {
            self.folder_due = None;
            if was_gone {
                self.log(
                    LogLevel::Info,
                    None,
                    format!("the plugin folder {} is back", plugins_dir.display()),
                );
            }
            self.look_again(&plugins_dir);
        } else {
            self.folder_due = Some(Instant::now() + FOLDER_RETRY);
            if !was_gone {
                self.log(
                    LogLevel::Error,
                    None,
                    format!("the plugin folder {} is not there; drivers go on, and new files are taken when it is", plugins_dir.display()),
                );
            }
        }
    }

    pub(super) fn ignore_misnamed(&mut self) {
        let entries = std::fs::read_dir(&self.config.daemon.plugins_dir)
            .into_iter()
            .flatten()
            .flatten();
        for path in entries.map(|entry| entry.path()).collect::<Vec<_>>() {
            if let Err(reason) = stem_of(&path) {
                self.ignore(&path, &reason);
            }
        }
    }

    fn ignore(&mut self, path: &Path, reason: &str) {
        if self.ignored.len() < IGNORED_LIMIT && self.ignored.insert(path.to_owned()) {
            self.log(
                LogLevel::Warn,
                None,
                format!(
                    "{:?} in the plugin folder is ignored: {reason}",
                    path.file_name().unwrap_or_default()
                ),
            );
        }
    }

    fn is_configuration(&self, path: &Path) -> bool {
        let is_drop_in = path.extension().is_some_and(|extension| extension == "toml");
        path == self.config_path
            || path == self.drop_in_folder
            || (path.parent() == Some(&self.drop_in_folder) && is_drop_in)
    }

    /// Looks at every file, known or there, because changes may have been missed.
    fn look_again(&mut self, plugins_dir: &Path) {
        let mut stems: BTreeSet<Stem> = self.versions.plugins().cloned().collect();
        stems.extend(stems_in(plugins_dir));
        let now_ns = self.now_ns();
        for stem in &stems {
            self.versions.file_may_have_changed(stem, now_ns);
        }
    }
}

pub(super) fn watch(
    plugins_dir: &Path,
    config_path: &Path,
    drop_in_folder: &Path,
) -> std::io::Result<FolderWatch> {
    FolderWatch::new([plugins_dir, folder_of(config_path), drop_in_folder]).map_err(std::io::Error::other)
}

pub(super) fn stems_in(folder: &Path) -> Vec<Stem> {
    let mut stems: Vec<Stem> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| stem_of(&entry.path()).ok().flatten())
        .collect();
    stems.sort();
    stems
}

/// The stem of a plugin's file; none for a file that is no plugin by its name, and a reason for one that cannot be one.
fn stem_of(path: &Path) -> Result<Option<Stem>, String> {
    let is_wasm = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("wasm"));
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    // Editors and copying tools write hidden files beside the real one.
    if !is_wasm || name.starts_with('.') {
        return Ok(None);
    }
    let stem = name
        .strip_suffix(".wasm")
        .ok_or("its ending has to be .wasm in small letters")?;
    if FORBIDDEN_KEYS.contains(&stem) {
        return Err("its name would poison a mirror in a browser".to_owned());
    }
    PluginName::new(stem)
        .map(|stem| Some(stem.as_str().into()))
        .map_err(|error| error.to_string())
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
