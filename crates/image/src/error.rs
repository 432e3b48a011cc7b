//! What can be wrong with an image and with what it is made from.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no image, or no measurement of one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file of an image's tree is neither file, folder nor link.
    #[error("{} is neither a file, a folder nor a symbolic link, and an image holds nothing else", path.display())]
    Special {
        /// The file.
        path: PathBuf,
    },
    /// Not a program that UEFI firmware starts.
    #[error("{what} is not a PE32+ program: {reason}")]
    NotAProgram {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A unified kernel image lacks a section.
    #[error("the image has no section `{0}`: `make image` builds one that has")]
    NoSection(&'static str),
    /// The initial file system cannot be read.
    #[error("the initial file system of the image cannot be read: {0}")]
    Archive(String),
    /// Firmware that a launch measurement cannot be made for.
    #[error("no launch measurement for this firmware: {0}")]
    Firmware(String),
}
