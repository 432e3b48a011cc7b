//! Why a server cannot serve, or did not end as it should.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a server cannot serve, or did not end as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be bound.
    #[error(
        "cannot listen on {address}: {source}; choose another `listening` address or stop what holds it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Signals cannot be listened for.
    #[error("listening for signals: {0}")]
    Signals(io::Error),
    /// A file that the configuration names is not what it should be.
    #[error("configuration key `{key}`: {message}")]
    File {
        /// What the configuration calls it.
        key: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// Serving stopped before every execution had finished.
    #[error("the drain deadline of {deadline:?} passed with {remaining} connections still open")]
    DrainDeadline {
        /// How long the end waited.
        deadline: Duration,
        /// Connections cut off.
        remaining: usize,
    },
}
