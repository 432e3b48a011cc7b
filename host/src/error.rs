//! Errors that stop the host: each names the thing that is wrong and what mends it.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Why the host cannot start, or a command cannot finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] hypervisor_config::Error),
    /// The store of payments cannot be opened.
    #[error("cannot open the payment store {}: {message}; `executor_path` names its folder, and one host at a time may use it", path.display())]
    PaymentStore {
        /// The file.
        path: PathBuf,
        /// What the store said.
        message: String,
    },
    /// The host's own state cannot be used.
    #[error(
        "{0}; `executor_path` names the folder of the host's state, and one host at a time may use it"
    )]
    State(#[from] hypervisor_store::Error),
    /// What the hosts of a fleet share cannot be used.
    #[error("[fleet]: {0}")]
    Fleet(hypervisor_store::Error),
    /// The payment component does not take the operator's offers.
    #[error("[payments]: {0}")]
    Payments(String),
    /// The admin port cannot be opened.
    #[error(
        "cannot open the admin port {place}; choose another [admin] `listening` or stop what holds it"
    )]
    ListenAdmin {
        /// The address or path.
        place: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The token of the admin port cannot be had.
    #[error("cannot take the admin port's token from {}", path.display())]
    AdminToken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The operator's page cannot be made.
    #[error("[admin] `page`: {0}")]
    Page(String),
    /// The system cannot confine the host, and the configuration requires it.
    #[error("`hardening = \"require\"`: {0}")]
    Hardening(String),
    /// Agents cannot be taken up.
    #[error("[agents]: {0}")]
    Agents(String),
    /// A component of `[[protocols]]`.
    #[error("[[protocols]], `{name}`: {words}")]
    Protocol {
        /// What it is called.
        name: String,
        /// What is wrong with it.
        words: String,
    },
    /// Environments cannot be taken up.
    #[error("[environments]: {0}")]
    Environments(String),
    /// The host has no place in its fleet.
    #[error("[fleet]: {0}")]
    NoPlace(String),
    /// The host has no key of its fleet.
    #[error("[fleet]: {0}")]
    NoKey(#[from] hypervisor_peers::Error),
    /// The audit trail cannot be kept.
    #[error("[audit]: {0}; docs/AUDIT.md says what to do, and what clients will find")]
    Audit(String),
    /// Attestation cannot be had as the configuration asks for it.
    #[error("[attestation]: {0}; `hypervisor-ctl doctor` says what this machine offers")]
    Attestation(String),
    /// The runtime did not start.
    #[error(transparent)]
    Runtime(#[from] crate::executor::Error),
    /// The socket for other nodes cannot be bound.
    #[error("[fleet] `advertise`: cannot listen on {}: {source}", path.display())]
    ListenBeside {
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file that the configuration names cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A plugin or its rules cannot be used.
    #[error(transparent)]
    Plugin(#[from] crate::executor::PluginError),
    /// Any other operating-system failure.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The server cannot serve, or did not end as it should.
    #[error(transparent)]
    Server(#[from] hypervisor_server::Error),
}

impl Error {
    /// A value of the configuration that cannot be used with others, or by this build.
    pub(crate) fn value(key: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Config(hypervisor_config::Error::Value { key, message })
    }
}

/// An error for people: what went wrong on the first line, and below it what caused it where that says more.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut said = error.to_string();
    let mut text = format!("{said}\n");
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !said.contains(&words) {
            // A string takes everything.
            let _ = writeln!(text, "Caused by: {words}");
            said = words;
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn link(text: &'static str, source: Option<Link>) -> Link {
        Link {
            text,
            source: source.map(Box::new),
        }
    }

    #[test]
    fn causes_are_told_once_each() {
        let error = link(
            "cannot start: no file",
            Some(link("no file", Some(link("it was removed", None)))),
        );
        assert_eq!(
            chain(&error),
            "cannot start: no file\nCaused by: it was removed\n"
        );
    }
}
