//! What the services of this folder share, on top of `wasi:http`: a response in one call, a body read within a limit,
//! a body passed on piece by piece, a request of their own.
//!
//! [http-hello](../../http-hello/src/lib.rs) shows the same calls without it.

mod client;
mod error;
mod fields;
mod pipe;
mod request;
mod response;

pub use client::{Url, answer, prepare};
pub use error::{Error, error_name, header_error_name};
pub use fields::{header, header_pairs};
pub use pipe::{Pipe, Step};
pub use request::{Target, method_name, read_body, read_incoming};
pub use response::{json, respond, start, write};
