//! Initial file systems: cpio archives in the form that the kernel unpacks ("newc"), with names in order and no time, owner or inode
//! that depends on where and when they were made.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::Error;

const MAGIC: &[u8] = b"070701";
const HEADER: usize = 110;
const ALIGNMENT: usize = 4;
const END: &str = "TRAILER!!!";
/// Kinds of files in a mode (inode(7)).
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it can be run.
        program: bool,
    },
    /// A symbolic link to this path.
    Link(String),
    /// A character device.
    Device {
        /// Its driver.
        major: u32,
        /// Which of the driver's.
        minor: u32,
    },
}

/// A tree of files. Names are paths without a leading slash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(pub BTreeMap<String, Node>);

impl Tree {
    /// What is in a folder. Of permissions only remains whether a file can be run.
    ///
    /// # Errors
    /// Where something cannot be read, or is neither file, folder nor link.
    pub fn of_folder(root: &Path) -> Result<Self, Error> {
        let mut tree = Self::default();
        tree.add(root, "")?;
        Ok(tree)
    }

    fn add(&mut self, folder: &Path, prefix: &str) -> Result<(), Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let entry = entry.map_err(at(folder))?;
            let path = entry.path();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let found = fs::symlink_metadata(&path).map_err(at(&path))?;
            let node = if found.is_dir() {
                self.add(&path, &format!("{name}/"))?;
                Node::Folder
            } else if found.is_symlink() {
                let target = fs::read_link(&path).map_err(at(&path))?;
                Node::Link(target.to_string_lossy().into_owned())
            } else if found.is_file() {
                Node::File {
                    bytes: fs::read(&path).map_err(at(&path))?,
                    program: found.permissions().mode() & 0o111 != 0,
                }
            } else {
                return Err(Error::Special { path });
            };
            self.0.insert(name, node);
        }
        Ok(())
    }

    /// The archive.
    pub fn write(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (number, (name, node)) in (1..).zip(&self.0) {
            let (mode, bytes, device) = match node {
                Node::Folder => (FOLDER | 0o755, &[][..], (0, 0)),
                Node::File { bytes, program } => {
                    let mode = if *program { 0o755 } else { 0o644 };
                    (FILE | mode, bytes.as_slice(), (0, 0))
                }
                Node::Link(target) => (LINK | 0o777, target.as_bytes(), (0, 0)),
                Node::Device { major, minor } => (DEVICE | 0o600, &[][..], (*major, *minor)),
            };
            record(&mut archive, number, mode, name, bytes, device);
        }
        record(&mut archive, 0, 0, END, &[], (0, 0));
        archive
    }

    /// Reads an archive that [`Tree::write`] made.
    ///
    /// # Errors
    /// Where it ends too early or has something else in it.
    pub fn read(archive: &[u8]) -> Result<Self, Error> {
        let mut tree = Self::default();
        let mut rest = archive;
        loop {
            let header = take(&mut rest, HEADER)?;
            if !header.starts_with(MAGIC) {
                return Err(refused("a record does not begin with its magic number"));
            }
            let number = |field: usize| -> Result<usize, Error> {
                let from = MAGIC.len().saturating_add(field.saturating_mul(8));
                header
                    .get(from..from.saturating_add(8))
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .and_then(|digits| usize::from_str_radix(digits, 16).ok())
                    .ok_or_else(|| refused("a number of a record is not one"))
            };
            let (mode, size, length) = (number(1)?, number(6)?, number(11)?);
            let named = take(&mut rest, padded(HEADER, length))?;
            let name = named
                .get(..length.saturating_sub(1))
                .and_then(|name| std::str::from_utf8(name).ok())
                .ok_or_else(|| refused("a name is not UTF-8"))?;
            if name == END {
                return Ok(tree);
            }
            let bytes = take(&mut rest, padded(0, size))?;
            let bytes = bytes.get(..size).unwrap_or_default();
            let mode = u32::try_from(mode).unwrap_or_default();
            let node = match mode & KIND {
                FOLDER => Node::Folder,
                FILE => Node::File {
                    bytes: bytes.to_vec(),
                    program: mode & 0o111 != 0,
                },
                LINK => Node::Link(
                    String::from_utf8(bytes.to_vec())
                        .map_err(|_| refused("a link is not UTF-8"))?,
                ),
                DEVICE => Node::Device {
                    major: u32::try_from(number(9)?).unwrap_or_default(),
                    minor: u32::try_from(number(10)?).unwrap_or_default(),
                },
                _ => {
                    return Err(refused(
                        "there is something else than files, folders and links",
                    ));
                }
            };
            tree.0.insert(name.to_owned(), node);
        }
    }
}

fn refused(reason: &str) -> Error {
    Error::Archive(reason.to_owned())
}

/// `length` and what fills it up, where `before` bytes stand before it.
fn padded(before: usize, length: usize) -> usize {
    let end = before.saturating_add(length);
    end.saturating_next_multiple_of(ALIGNMENT)
        .saturating_sub(before)
}

trait SaturatingMultiple {
    fn saturating_next_multiple_of(self, of: usize) -> usize;
}

impl SaturatingMultiple for usize {
    fn saturating_next_multiple_of(self, of: usize) -> usize {
        self.checked_next_multiple_of(of).unwrap_or(Self::MAX)
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Error> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or_else(|| refused("it ends in the middle of a record"))?;
    *rest = left;
    Ok(taken)
}

/// `device` is the numbers of the device that the record stands for.
fn record(
    archive: &mut Vec<u8>,
    inode: u32,
    mode: u32,
    name: &str,
    bytes: &[u8],
    (major, minor): (u32, u32),
) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let named = length(name.as_bytes()).saturating_add(1);
    // Inode, mode, owner, group, links, time, size, the archive's device, the device's numbers, length of the name, checksum.
    let fields = [
        inode,
        mode,
        0,
        0,
        1,
        0,
        length(bytes),
        0,
        0,
        major,
        minor,
        named,
        0,
    ];
    archive.extend_from_slice(MAGIC);
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let file = |bytes: &[u8], program| Node::File {
            bytes: bytes.to_vec(),
            program,
        };
        Tree(
            [
                ("usr", Node::Folder),
                ("usr/program", file(b"runs", true)),
                ("usr/text", file(b"is read", false)),
                ("etc", Node::Link("usr".to_owned())),
                ("console", Node::Device { major: 5, minor: 1 }),
            ]
            .map(|(name, node)| (name.to_owned(), node))
            .into(),
        )
    }

    #[test]
    fn what_was_written_is_read() {
        let archive = tree().write();
        assert_eq!(Tree::read(&archive).unwrap(), tree());
        for end in 0..archive.len() {
            assert!(Tree::read(&archive[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_folder_gives_the_same_archive_wherever_and_whenever_it_was_filled() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut names = ["b", "a/c", "a/d"].to_vec();
        let archives = folders.each_ref().map(|folder| {
            let root = folder.path();
            fs::create_dir(root.join("a")).unwrap();
            names.reverse();
            for name in &names {
                fs::write(root.join(name), name).unwrap();
            }
            std::os::unix::fs::symlink("b", root.join("e")).unwrap();
            Tree::of_folder(root).unwrap().write()
        });
        assert_eq!(archives[0], archives[1]);
        let read = Tree::read(&archives[0]).unwrap();
        assert_eq!(read.0["e"], Node::Link("b".to_owned()));
        let names: Vec<&str> = read.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a/c", "a/d", "b", "e"]);
    }

    #[test]
    fn what_an_image_cannot_hold_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let refused = Tree::of_folder(folder.path()).unwrap_err();
        assert!(refused.to_string().contains("socket"), "{refused}");
    }
}
