//! Files and folders that are their owner's alone, whatever the umask and whoever made them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::Error;

/// Makes a folder that nobody else can enter, or shuts the one that is there, and the files in it.
///
/// # Errors
/// [`Error::Io`].
pub fn private_folder(path: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(io("make", path))?;
    shut(path)?;
    for entry in fs::read_dir(path).map_err(io("read", path))? {
        let entry = entry.map_err(io("read", path))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            shut(&entry.path())?;
        }
    }
    Ok(())
}

/// Opens a file for reading and writing that nobody else can read, or makes it.
pub(crate) fn private_file(path: &Path) -> Result<File, Error> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.mode(0o600).open(path).map_err(io("open", path))?;
    shut(path)?;
    Ok(file)
}

/// Writes a file that is not there yet and that nobody else can read, whole or not at all. Where another process was faster, its file is
/// the one.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
            _ => File::open(folder)?.sync_all(),
        }
    };
    write().map_err(io("write", path))
}

fn shut(path: &Path) -> Result<(), Error> {
    let found = fs::metadata(path).map_err(io("read", path))?;
    let mode = found.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o700))
        .map_err(io("take the rights of others from", path))
}

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io(action, path.to_owned(), source)
}
