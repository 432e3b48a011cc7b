//! What the front needs of the world: requests inside the host, and time. Plain code behind it is tested natively.

use crate::error::WebError;
use crate::fields::Fields;

/// The host's own API, as everybody sees it.
pub const HOST: &str = "host.internal";
/// What stands behind an agent's reference in the name of its host.
pub const AGENTS: &str = ".agent.internal";

/// A request to the host or to an agent of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Host name: [`HOST`], or a reference with [`AGENTS`] behind it.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// Header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body; none differs from an empty one.
    pub body: Option<Vec<u8>>,
    /// How much of the answer's body is read.
    pub limit: usize,
}

impl Asked {
    /// A request to the host.
    pub fn host(method: &str, target: String, limit: usize) -> Self {
        Self {
            method: method.to_owned(),
            authority: HOST.to_owned(),
            target,
            headers: Vec::new(),
            body: None,
            limit,
        }
    }

    /// The same with a body.
    pub fn with_body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.headers.push(("content-type", content_type.to_owned()));
        self.body = Some(body);
        self
    }

    /// The same with a header field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header fields.
    pub fields: Fields,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
    /// Whether there was more of it than was to be read.
    pub is_cut: bool,
}

/// The world.
pub trait Ports {
    /// Sends a request and reads the answer.
    fn send(&self, asked: &Asked) -> Result<Answer, WebError>;

    /// Waits, within what time there is for the whole request; false where there is not so much.
    fn pause(&self, milliseconds: u64) -> bool;
}
