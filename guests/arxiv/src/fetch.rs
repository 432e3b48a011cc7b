//! Asking arXiv.

use std::env;

use http_kit::{Error, Url, answer, error_name, prepare, read_incoming};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Method, RequestOptions};

use crate::feed::Unreadable;

const DEFAULT_BASE: &str = "https://export.arxiv.org";
/// An answer longer than this is not read: 50 entries have about 150 kB.
const LONGEST_ANSWER: usize = 4 << 20;

const SECOND: u64 = 1_000_000_000;
const CONNECT: u64 = 10 * SECOND;
/// A search takes arXiv seconds.
const FIRST_BYTE: u64 = 25 * SECOND;
const BETWEEN_BYTES: u64 = 10 * SECOND;

/// Why there is no answer of arXiv's.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("ARXIV_BASE is not an http or https URL")]
    Base,
    #[error("arXiv does not answer: {0}")]
    Unreachable(&'static str),
    #[error("the request to arXiv failed: {0}")]
    Failed(Error),
    #[error("arXiv answers with status {0}")]
    Status(u16),
    #[error("arXiv's answer is not UTF-8")]
    Encoding,
    #[error("arXiv's answer cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Http(code) => Self::Unreachable(error_name(&code)),
            error => Self::Failed(error),
        }
    }
}

/// What arXiv answers to a GET of `target`.
pub fn get(target: &str) -> Result<String, Failure> {
    let base = env::var("ARXIV_BASE").unwrap_or_else(|_| DEFAULT_BASE.to_owned());
    let url =
        Url::parse(&format!("{}{target}", base.trim_end_matches('/'))).ok_or(Failure::Base)?;
    let request = prepare(
        &Method::Get,
        &url,
        &[
            ("accept", "application/atom+xml"),
            (
                "user-agent",
                concat!("arxiv-agent/", env!("CARGO_PKG_VERSION")),
            ),
        ],
    )?;
    let options = RequestOptions::new();
    // Hints: the agent's own deadline holds where the host does not take them.
    let _ = options.set_connect_timeout(Some(CONNECT));
    let _ = options.set_first_byte_timeout(Some(FIRST_BYTE));
    let _ = options.set_between_bytes_timeout(Some(BETWEEN_BYTES));

    let coming = outgoing_handler::handle(request, Some(options)).map_err(Error::from)?;
    coming.subscribe().block();
    let response = answer(&coming)?;
    if response.status() != 200 {
        return Err(Failure::Status(response.status()));
    }
    let body = response
        .consume()
        .map_err(|()| Error::Taken("response's body"))?;
    let content = read_incoming(&body, LONGEST_ANSWER)?;
    String::from_utf8(content).map_err(|_| Failure::Encoding)
}
