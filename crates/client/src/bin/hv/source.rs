//! Where a component comes from: a file, standard input, or a registry.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use hypervisor_oci::{Access, Reference, SCHEME};

use crate::Failure;
use crate::console::read;

/// A component that a command takes.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file, or standard input for `-`.
    File(PathBuf),
    /// An artifact of a registry, which begins with `oci://`.
    Registry(Reference),
}

impl Source {
    /// For the command line.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(Self::parse)
    }

    fn parse(given: OsString) -> Result<Self, hypervisor_oci::Error> {
        match given.to_str() {
            Some(text) if text.starts_with(SCHEME) => text.parse().map(Self::Registry),
            _ => Ok(Self::File(given.into())),
        }
    }

    /// What it holds: from a registry, what is named by its digest or signed.
    pub(crate) async fn read(&self, access: &Access) -> Result<Vec<u8>, Failure> {
        match self {
            Self::File(path) => read(path),
            Self::Registry(reference) => Ok(access.pull(reference).await?.component),
        }
    }

    /// The file that it is in.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Registry(_) => None,
        }
    }
}
