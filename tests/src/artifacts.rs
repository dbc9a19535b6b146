//! What the stories run: the binary, plugins, fixtures and the page, as `cargo verify` has built them.

use std::path::{Path, PathBuf};

/// Where things are.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The daemon.
    pub binary: PathBuf,
    /// Folder of the plugins.
    pub plugins: PathBuf,
    /// Folder of the fixture drivers.
    pub fixtures: PathBuf,
    /// Folder of the page.
    pub web: PathBuf,
}

impl Artifacts {
    /// Reads the environment.
    pub fn find() -> Self {
        Self {
            binary: path_of("AUTOBENCH_BIN"),
            plugins: path_of("AUTOBENCH_PLUGINS"),
            fixtures: path_of("AUTOBENCH_FIXTURES"),
            web: path_of("AUTOBENCH_WEB"),
        }
    }

    /// A plugin's bytes.
    pub fn plugin(&self, stem: &str) -> Vec<u8> {
        read(&self.plugins.join(format!("{stem}.wasm")))
    }

    /// The bytes of a driver in another language, an example of its SDK.
    pub fn example(stem: &str) -> Vec<u8> {
        read(&path_of("AUTOBENCH_EXAMPLES").join(format!("{stem}.wasm")))
    }

    /// A fixture driver's bytes.
    pub fn fixture(&self, stem: &str) -> Vec<u8> {
        read(&self.fixtures.join(format!("{stem}.wasm")))
    }
}

/// The same driver as another file: a custom section with a number is added, which changes the hash and nothing else.
pub fn variant_of(wasm: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = wasm.to_vec();
    let name = b"variant";
    let content = number.to_le_bytes();
    bytes.push(0);
    bytes.push(u8::try_from(1 + name.len() + content.len()).unwrap());
    bytes.push(u8::try_from(name.len()).unwrap());
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&content);
    bytes
}

fn path_of(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set; the stories are run by `cargo verify`, which builds what they need and names it"));
    let path = PathBuf::from(path);
    assert!(
        path.exists(),
        "{variable} is {}, which is not there",
        path.display()
    );
    path
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
