//! Where the plugins are.

use std::path::PathBuf;

/// What to do when one is not there.
pub const HINT: &str = "Build the plugins first: cargo demo --build-only. Their folder: AUTOBENCH_PLUGINS, unless they are in \
                        target/autobench/plugins of the workspace.";

pub fn path_of(stem: &str) -> PathBuf {
    let folder = std::env::var_os("AUTOBENCH_PLUGINS").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../target/autobench/plugins"
            ))
        },
        PathBuf::from,
    );
    folder.join(format!("{stem}.wasm"))
}
