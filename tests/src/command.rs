//! The command line as an engineer types it, beside a daemon that runs.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Bench, Daemon};

/// What a command said, and how it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub text: String,
    /// Standard error.
    pub errors: String,
}

impl Ran {
    /// Standard output as JSON, one value per line.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
            .collect()
    }
}

impl Bench {
    /// Runs `autobench` in the bench's folder until it ends.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.artifacts.binary);
        command
            .current_dir(self.folder())
            .args(arguments)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AUTOBENCH_")))
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .expect("autobench runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code(),
            text: text(&output.stdout),
            errors: text(&output.stderr),
        }
    }

    /// Runs `autobench --json` with the address of a daemon behind the arguments.
    pub async fn ask(&self, daemon: &Daemon, arguments: &[&str]) -> Ran {
        let url = daemon.url();
        let mut all = vec!["--json"];
        all.extend(arguments);
        all.extend(["--url", &url]);
        self.run(&all).await
    }
}
