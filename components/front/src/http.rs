//! A request of a client's and what it is answered with.

use crate::fields::Fields;

/// The longest body of a request, in bytes.
pub const LONGEST_BODY: usize = 16 * 1024 * 1024;

/// A request of a client's.
pub struct Incoming {
    /// The method, in upper case; empty for one that no front takes.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// The host that it was sent to.
    pub host: Option<String>,
    /// Header fields.
    pub fields: Fields,
    /// The body of a POST; that of any other method is not read.
    pub body: Body,
}

/// A body.
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than [`LONGEST_BODY`].
    TooLong,
    /// It broke off.
    Broken,
}

/// What it is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The status.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}
