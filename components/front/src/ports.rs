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

/// What comes of a request, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Status and header fields, once.
    Head(u16, &'a Fields),
    /// Some of the body.
    Body(&'a [u8]),
}

/// Answers that come piece by piece.
pub trait Streams {
    /// Sends a request and gives what comes of it to `each`, until that says false: no more is wanted then, and the other side is told so.
    /// Of the body come at most [`Asked::limit`] bytes; more of it is [`WebError::Broken`].
    fn stream(
        &self,
        asked: &Asked,
        each: &mut dyn FnMut(Piece<'_>) -> bool,
    ) -> Result<(), WebError>;
}

/// The client that waits for an answer, of which it gets one: whole, or piece by piece.
pub trait Client {
    /// Begins an answer that comes piece by piece. What is begun already is left as it is.
    fn open(&self, status: u16, headers: &[(&'static str, String)]);

    /// A piece of it. An error where the client is gone or does not read.
    fn push(&self, piece: &[u8]) -> Result<(), WebError>;

    /// That it is whole.
    fn close(&self);
}

/// The world.
pub trait Ports {
    /// Sends a request and reads the answer.
    fn send(&self, asked: &Asked) -> Result<Answer, WebError>;

    /// Waits, within what time there is for the whole request; false where there is not so much.
    fn pause(&self, milliseconds: u64) -> bool;
}
