//! Putting an image together.

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::cpio::{Node, Tree};
use crate::error::Error;
use crate::pe::Program;

/// Sections of a unified kernel image (UAPI group, "Unified Kernel Image"). No `.osrel`: systemd-stub would put a further archive before
/// the initial file system for it.
pub(crate) const KERNEL: &str = ".linux";
pub(crate) const COMMAND_LINE: &str = ".cmdline";
pub(crate) const INITRD: &str = ".initrd";

/// What an image is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// systemd-stub, which measures the rest and starts the kernel.
    pub stub: &'a [u8],
    /// The kernel, as its distribution signed it.
    pub kernel: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// The initial file system.
    pub tree: Tree,
}

/// The image: a program that firmware starts.
///
/// # Errors
/// Where the stub is no program, or has no room for the sections.
pub fn assemble(mut parts: Parts<'_>) -> Result<Vec<u8>, Error> {
    // The kernel opens it for the first process; before `/dev` is mounted it must be there.
    let console = Node::Device { major: 5, minor: 1 };
    parts.tree.0.insert("dev".to_owned(), Node::Folder);
    parts.tree.0.insert("dev/console".to_owned(), console);
    let initrd = compress_to_vec(parts.tree.write().as_slice(), CompressionLevel::Fastest);
    Program::parse(parts.kernel, "the kernel")?;
    Program::parse(parts.stub, "the stub")?.with_sections(&[
        (COMMAND_LINE, parts.command_line.trim().as_bytes()),
        (INITRD, &initrd),
        (KERNEL, parts.kernel),
    ])
}
