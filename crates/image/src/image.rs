//! An image that was put together: what is in it.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;

use crate::assemble::{COMMAND_LINE, INITRD, KERNEL};
use crate::cpio::Tree;
use crate::error::Error;
use crate::pe::{Program, Section};

/// The most that an initial file system may be unpacked: an image that says more is not one of `make image`.
const LARGEST: u64 = 4 << 30;

/// An image.
#[derive(Debug)]
pub struct Image<'a> {
    pub(crate) program: Program<'a>,
    pub(crate) sections: Vec<Section<'a>>,
}

impl<'a> Image<'a> {
    /// Reads an image.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let program = Program::parse(bytes, "the image")?;
        let sections = program.sections()?;
        let image = Self { program, sections };
        for needed in [KERNEL, COMMAND_LINE, INITRD] {
            image.section(needed)?;
        }
        Ok(image)
    }

    fn section(&self, name: &'static str) -> Result<&'a [u8], Error> {
        let mut named = self.sections.iter();
        named
            .find(|section| section.name == name.as_bytes())
            .map(|section| section.bytes)
            .ok_or(Error::NoSection(name))
    }

    /// The kernel.
    ///
    /// # Errors
    /// Where there is none.
    pub fn kernel(&self) -> Result<&'a [u8], Error> {
        self.section(KERNEL)
    }

    /// The kernel's command line.
    ///
    /// # Errors
    /// Where there is none, or it is not text.
    pub fn command_line(&self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.section(COMMAND_LINE)?)
            .map_err(|_| Error::Archive("the command line is not UTF-8".to_owned()))
    }

    /// The initial file system, as it is in the image.
    ///
    /// # Errors
    /// Where there is none.
    pub fn initrd(&self) -> Result<&'a [u8], Error> {
        self.section(INITRD)
    }

    /// The initial file system's files.
    ///
    /// # Errors
    /// Where it cannot be unpacked.
    pub fn tree(&self) -> Result<Tree, Error> {
        let refused = |reason: &dyn std::fmt::Display| Error::Archive(reason.to_string());
        let decoder = StreamingDecoder::new(self.initrd()?).map_err(|error| refused(&error))?;
        let mut archive = Vec::new();
        let read = decoder.take(LARGEST).read_to_end(&mut archive);
        read.map_err(|error| refused(&error))?;
        Tree::read(&archive)
    }
}
