//! The few file operations that the kernel's interface needs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// File operations on configfs and sysfs. A trait, so that tests can obey the kernel's semantics without a kernel.
pub trait TsmFs: Send + Sync {
    /// Makes a directory, which must not exist.
    ///
    /// # Errors
    ///
    /// As mkdir(2).
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes one directory and nothing in it: on configfs its files are the kernel's.
    ///
    /// # Errors
    ///
    /// As rmdir(2).
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Writes `bytes` at the start of an existing file, in one call, and closes it.
    ///
    /// # Errors
    ///
    /// As open(2) and write(2); `WriteZero` when the kernel took fewer bytes.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Reads a file of at most `limit` bytes, with a buffer for all of it.
    ///
    /// # Errors
    ///
    /// As open(2) and read(2); `FileTooLarge` when there is more.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFs;

impl TsmFs for SystemFs {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        if file.write(bytes)? == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        // One byte more than allowed tells a full file from one that is too long.
        let mut buffer = vec![0; limit.saturating_add(1)];
        let mut filled = 0;
        // The kernel gives all of it to the first read; the second sees the end.
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        if filled > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        buffer.truncate(filled);
        buffer.shrink_to_fit();
        Ok(buffer)
    }
}
