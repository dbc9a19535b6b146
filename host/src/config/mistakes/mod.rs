//! Mistakes that people make, and exactly what they are told.

mod devices;
mod doors;
mod environment;
mod files;
mod good;
mod manual;
mod values;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

/// A folder with a bench in it: two plugins, and whatever a test writes.
struct Bench {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, &'static str)>,
    overrides: Overrides,
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            folder,
            environment: vec![("HOME", "/home/nobody")],
            overrides: Overrides::default(),
        };
        std::fs::create_dir(bench.path("plugins")).unwrap();
        std::fs::set_permissions(bench.path("plugins"), std::fs::Permissions::from_mode(0o755)).unwrap();
        bench
            .file("plugins/power-meter.wasm", "")
            .file("plugins/atx.wasm", "")
            .file("plugins.toml", text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    fn loader(&self) -> ConfigLoader {
        let environment = self.environment.iter().copied().collect();
        ConfigLoader::new(self.path("plugins.toml"), environment, self.overrides.clone())
    }

    fn load(&self) -> Result<BenchConfig, ConfigErrors> {
        self.loader().load()
    }

    /// What is wrong, one line each, with the folder's name left out.
    fn told(&self) -> Vec<String> {
        let problems = match self.load() {
            Ok(config) => config.warnings,
            Err(errors) => errors.problems,
        };
        let folder = self.folder.path().display().to_string();
        problems
            .iter()
            .map(|problem| {
                problem
                    .to_string()
                    .replace(&format!("{folder}/"), "")
                    .replace(&folder, ".")
            })
            .collect()
    }
}

#[track_caller]
fn check(text: &str, told: &[&str]) {
    assert_eq!(Bench::new(text).told(), told, "for:\n{text}");
}

const METER: &str =
    "[devices.meter]\nplugin = \"power-meter\"\n[devices.meter.ports.main]\nsim = \"wattsup\"\n";
