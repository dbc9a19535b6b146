//! Files of the data folder that are whole after a crash, whatever was being written.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the whole beside the old and puts it in its place, so that a crash leaves one or the other. It belongs to its owner alone.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_aside(path, bytes, None, || Ok(()))
}

/// As [`replace`], if `still` says so once the new one lies beside the old.
pub fn replace_if(path: &Path, bytes: &[u8], still: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    write_aside(path, bytes, None, still)
}

fn write_aside(
    path: &Path,
    bytes: &[u8],
    permissions: Option<Permissions>,
    still: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let aside = path.with_extension("new");
    // One that a crash left behind may belong to nobody knows whom.
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    if let Err(error) = still() {
        fs::remove_file(&aside)?;
        return Err(error);
    }
    fs::rename(&aside, path)?;
    sync_folder(path)
}

/// As [`replace`], for a file that is not the daemon's own: it may be read and written by whom it could be before.
pub fn replace_in_kind(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let permissions = fs::metadata(path)?.permissions();
    write_aside(path, bytes, Some(permissions), || Ok(()))
}

/// Without it a file that was just made or moved may be gone after a power cut, however well its content was written.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
