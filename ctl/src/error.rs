//! Why a command cannot finish: each error names the thing that is wrong and what mends it.

use std::io;
use std::path::PathBuf;

/// Why a command cannot finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A plugin or this machine is not what the host needs.
    #[error(transparent)]
    Host(#[from] hypervisor::error::Error),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] hypervisor::config::Error),
    /// A guest image cannot be measured.
    #[error(transparent)]
    Image(#[from] hypervisor_image::Error),
    /// The host's program, which the manifest names, was not found.
    #[error(
        "cannot read the host's program, which its manifest names by digest, at {}; name it with --host",
        .0.display()
    )]
    NoHost(PathBuf),
    /// No admin port was named.
    #[error(
        "name the host's admin port with --admin, or in [admin] `listening` of its configuration"
    )]
    NoAdminPort,
    /// There is no policy to ask.
    #[error("the configuration names no policy: set `component` and `rules` in [policy]")]
    NoPolicy,
    /// The host did not swap a plugin.
    #[error("nothing was swapped: {0}")]
    NotSwapped(String),
    /// The admin port was not reached, or refused what was asked.
    #[error("{0}")]
    Admin(String),
    /// What a host measures cannot be exported, or was not.
    #[error("{0}")]
    Telemetry(String),
    /// A plugin was not fetched.
    #[error(transparent)]
    Registry(#[from] hypervisor_oci::Error),
    /// A log cannot be read, is not to be continued, or cannot be written.
    #[error(transparent)]
    Log(#[from] hypervisor_tlog::Error),
    /// Something cannot be published, or is not in the log.
    #[error("{0}")]
    Publish(String),
    /// This machine gave no quote.
    #[error("cannot record a quote: {0}; `hypervisor-ctl doctor` says what this machine offers")]
    NotRecorded(String),
    /// A file given on the command line cannot be read.
    #[error("cannot read {}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file given on the command line cannot be written.
    #[error("cannot write {}", path.display())]
    FileUnwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Any other failure of the operating system.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}
