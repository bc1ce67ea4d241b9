//! Who may read a file of SQLite's.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tracing::warn;

/// Read and written by its owner alone.
const OWNER_ALONE: u32 = 0o600;

/// Lets the owner alone read and write the file of a database, and what SQLite keeps beside it: addresses and keys of
/// customers are in them. SQLite gives the two others the permissions of the file, if it makes them. A file that belongs
/// to somebody else stays as it is, with a warning: he may have meant it so.
pub(super) fn make_private(file: &Path) -> io::Result<()> {
    let new = OpenOptions::new().write(true).create_new(true).mode(OWNER_ALONE).open(file);
    if let Err(error) = new
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            let narrowed = fs::set_permissions(&path, Permissions::from_mode(OWNER_ALONE));
            if let Err(error) = narrowed {
                warn!("others can read {}: {error}", Path::new(&path).display());
            }
        }
    }
    Ok(())
}
