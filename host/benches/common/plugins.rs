//! Where the plugins are.

use std::path::{Path, PathBuf};

/// What to do when one is not there.
pub const HINT: &str = "Build the plugins first: cargo demo --build-only. Their folder: AUTOBENCH_PLUGINS, unless they are in \
                        target/autobench/plugins of the workspace.";

pub fn path_of(stem: &str) -> PathBuf {
    below("AUTOBENCH_PLUGINS", "plugins", stem)
}

/// A component in the folder that a variable names, or in this one of the workspace.
pub fn below(variable: &str, folder: &str, stem: &str) -> PathBuf {
    let folder = std::env::var_os(variable).map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../target/autobench")
                .join(folder)
        },
        PathBuf::from,
    );
    folder.join(format!("{stem}.wasm"))
}
