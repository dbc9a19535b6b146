//! From files, environment and flags to a [`BenchConfig`]: what is written becomes what is meant, or a list of everything that is wrong.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::auth::{auth, refuse_network};
use super::daemon::daemon;
use super::devices::{Waiting, devices};
use super::layout::layout;
use super::model::{BenchConfig, DaemonConfig};
use super::problem::{ConfigErrors, Place, Source, Weight, folder_of};
use super::raw;
use super::tree::Findings;
use super::variables::{self, Environment, Overrides};

/// Largest configuration file. A bench with a thousand devices has a tenth of this.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads one bench's configuration, as often as asked. Environment and flags are those of the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLoader {
    path: PathBuf,
    environment: Environment,
    overrides: Overrides,
}

impl ConfigLoader {
    /// A loader for the main file `path`, named as it will stand in messages.
    pub fn new(path: impl Into<PathBuf>, environment: Environment, overrides: Overrides) -> Self {
        Self {
            path: path.into(),
            environment,
            overrides,
        }
    }

    /// The main file, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder whose `*.toml` files add devices to the main file.
    pub fn drop_in_folder(&self) -> PathBuf {
        folder_of(&self.path).join("plugins.d")
    }

    /// Reads everything anew. Either the whole configuration is good, with what is doubtful in `warnings`, or nothing of it is used.
    pub fn load(&self) -> Result<BenchConfig, ConfigErrors> {
        self.load_main(None, Waiting::Nobody)
    }

    /// As [`Self::load`], for a bench that runs with it: what these devices lack is doubtful only.
    pub fn load_to_run(&self, waiting: Waiting<'_>) -> Result<BenchConfig, ConfigErrors> {
        self.load_main(None, waiting)
    }

    /// As [`Self::load_to_run`], as if this text stood in the main file.
    pub fn load_text(&self, text: &str, waiting: Waiting<'_>) -> Result<BenchConfig, ConfigErrors> {
        self.load_main(Some(text), waiting)
    }

    fn load_main(&self, text: Option<&str>, waiting: Waiting<'_>) -> Result<BenchConfig, ConfigErrors> {
        let mut findings = Findings::default();
        let config = self.gather(text, waiting, &mut findings);
        let Findings {
            sources,
            mut problems,
            ..
        } = findings;
        let order = |file: &Path| sources.iter().position(|source| source.file == file);
        problems.sort_by_key(|problem| match &problem.place {
            Place::Text { file, span, .. } => (order(file).unwrap_or(usize::MAX), span.start),
            Place::File(_) | Place::Variable(_) | Place::Flag(_) => (usize::MAX, 0),
        });
        let failed = problems.iter().any(|problem| problem.weight == Weight::Error);
        match config {
            Some(config) if !failed => Ok(BenchConfig {
                warnings: problems,
                ..config
            }),
            _ => Err(ConfigErrors { problems, sources }),
        }
    }

    fn gather(
        &self,
        text: Option<&str>,
        waiting: Waiting<'_>,
        findings: &mut Findings,
    ) -> Option<BenchConfig> {
        let main = match text {
            Some(text) => Some(Source {
                file: self.path.clone(),
                text: text.into(),
            }),
            None => self.read_file(&self.path, findings),
        };
        let mut tree = findings.parse(main?);
        let drop_ins = drop_in_files(&self.drop_in_folder(), findings);
        for file in &drop_ins {
            if let Some(source) = self.read_file(file, findings) {
                let table = findings.parse(source);
                findings.merge(&mut tree, table, "");
            }
        }
        let raw = raw::read(tree, findings);
        let daemon = daemon(
            &raw.daemon,
            &self.path,
            &self.environment,
            &self.overrides,
            findings,
        );
        let (client, logs) = variables::read(&self.environment, findings);
        let auth = auth(&raw.tokens, findings);
        refuse_network(&daemon, &auth, &raw, &self.environment, &self.overrides, findings);
        let ingest = variables::read_ingest(&self.environment, findings);
        let folder = absolute(folder_of(&self.path));
        let devices = devices(&raw.devices, &daemon, &folder, waiting, findings);
        let plugins = devices
            .values()
            .map(|device| daemon.plugins_dir.join(format!("{}.wasm", device.plugin)));
        self.check_permissions(drop_ins.into_iter().chain(plugins).collect(), &daemon, findings);
        let layout = raw.layout.as_ref().map(|raw| layout(raw, &devices, findings));
        let path = absolute(&self.path);
        Some(BenchConfig {
            path,
            daemon,
            auth,
            client,
            logs,
            ingest,
            layout,
            devices,
            warnings: Vec::new(),
        })
    }

    fn read_file(&self, file: &Path, findings: &mut Findings) -> Option<Source> {
        match read_text(file) {
            Ok(text) => Some(Source {
                file: file.to_owned(),
                text: text.into(),
            }),
            Err(ReadError { message, hint }) => {
                let place = Place::File(file.to_owned());
                findings.problem(Weight::Error, "unreadable", place, message, hint);
                None
            }
        }
    }

    /// Whoever may write these files and folders decides what runs on the bench.
    fn check_permissions(&self, files: BTreeSet<PathBuf>, daemon: &DaemonConfig, findings: &mut Findings) {
        let weight = if daemon.listen.ip().is_loopback() {
            Weight::Warning
        } else {
            Weight::Error
        };
        let drop_in_folder = self.drop_in_folder();
        let paths = [
            self.path.as_path(),
            folder_of(&self.path),
            &drop_in_folder,
            &daemon.plugins_dir,
        ];
        for path in paths.into_iter().chain(files.iter().map(PathBuf::as_path)) {
            let Ok(metadata) = std::fs::metadata(path) else {
                continue;
            };
            // In a sticky folder only the owner of a file can replace it.
            let is_sticky_folder = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
            if metadata.mode() & 0o022 != 0 && !is_sticky_folder {
                let place = Place::File(path.to_owned());
                let message = format!(
                    "others than its owner may write it (mode {:o}), and with it decide what runs on the bench",
                    metadata.mode() & 0o7777
                );
                findings.problem(
                    weight,
                    "writable-by-others",
                    place,
                    message,
                    format!("run chmod go-w {}", path.display()),
                );
            }
        }
    }
}

struct ReadError {
    message: String,
    hint: String,
}

fn read_text(file: &Path) -> Result<String, ReadError> {
    let fail = |message: String, hint: &str| ReadError {
        message,
        hint: hint.to_owned(),
    };
    let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fail(
            "there is no such file".into(),
            "name the bench's file, for example --config plugins.toml, or write one: docs/configuration.md shows how",
        ),
        std::io::ErrorKind::PermissionDenied => {
            fail("it may not be read by this user".into(), "change its permissions, or run as its owner")
        }
        _ => fail(format!("it cannot be read: {error}"), ""),
    })?;
    if !metadata.is_file() {
        return Err(fail("it is not a regular file".into(), "name a TOML file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(fail(
            "it is larger than 1 MiB".into(),
            "this does not look like a configuration",
        ));
    }
    let bytes = std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => fail(
            "it may not be read by this user".into(),
            "change its permissions, or run as its owner",
        ),
        _ => fail(format!("it cannot be read: {error}"), ""),
    })?;
    String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".into(), "save it as UTF-8"))
}

/// The `*.toml` files of a folder in the order of their names; a folder that is not there has none.
fn drop_in_files(folder: &Path, findings: &mut Findings) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                let place = Place::File(folder.to_owned());
                findings.problem(
                    Weight::Error,
                    "unreadable",
                    place,
                    format!("it cannot be read: {error}"),
                    "",
                );
            }
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
        })
        .collect();
    files.sort();
    files
}

/// The same path from the root, so that it stays the same wherever the daemon's working folder goes.
pub fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // `absolute` leaves `.` out only inside the path; the folder of a bare file name ends in one.
    path.components().collect()
}
