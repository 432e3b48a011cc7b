//! What can go wrong between a client and a host.

use hypervisor_protocol::Problem;

/// Why a request gave no execution.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's address is not one.
    #[error("`{url}` is not a server address: {reason}; give one such as http://127.0.0.1:8080")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host could not be reached, or the connection broke.
    #[error("cannot reach {server}: {}", chain(source))]
    Transport {
        /// The server's address.
        server: String,
        /// What the HTTP client said.
        source: reqwest::Error,
    },
    /// The host refused the request.
    #[error("the host refused the request ({}): {}{}", .0.title, .0.detail, request_id(.0))]
    Refused(Box<Problem>),
    /// The host answered with something that is not its API's.
    #[error("unexpected answer with status {status} from {server}; is it a host of this API?")]
    Unexpected {
        /// The server's address.
        server: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer failed verification: do not use it.
    #[error("verification failed: {0}")]
    Verification(hypervisor_protocol::Error),
    /// The protocol failed on this side.
    #[error(transparent)]
    Protocol(hypervisor_protocol::Error),
}

impl Error {
    /// Whether the answer was received and found not to be authentic.
    pub fn is_verification_failure(&self) -> bool {
        matches!(self, Self::Verification(_))
    }
}

fn request_id(problem: &Problem) -> String {
    problem
        .request_id
        .as_ref()
        .map(|id| format!(" [request {id}]"))
        .unwrap_or_default()
}

/// An HTTP client's error says little without its causes.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
