//! Files that are there whole or not at all, also after a crash.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::Error;

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}

/// A file of at most `maximum` bytes; none where there is none.
///
/// # Errors
/// [`Error::TooLarge`], and where it cannot be read.
pub fn read(path: &Path, maximum: usize) -> Result<Option<Vec<u8>>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("read", path))?,
    };
    let mut bytes = Vec::new();
    file.take(maximum as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    match bytes.len() > maximum {
        true => Err(Error::TooLarge {
            what: "file",
            maximum: format!("{maximum} bytes of {}", path.display()),
        }),
        false => Ok(Some(bytes)),
    }
}

/// Puts a file in the place of what has its name, at once. Its writer has to be the only one.
///
/// # Errors
/// Where it cannot be written; what was there stays.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // One name, so that whoever is stopped leaves no more than one such file, and the next writes over it.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_parent(path)
    };
    write().map_err(failed("write", path))
}

/// Makes a folder, and those that it is in.
pub(super) fn folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
        folder(parent)?;
    }
    std::fs::create_dir(path)
        .and_then(|()| sync_parent(path))
        .map_err(failed("make", path))
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", path)),
    }
}

pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::open(path).map_err(failed("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", path)(error)),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
