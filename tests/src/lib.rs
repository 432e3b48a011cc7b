//! The kit of the end-to-end tests: a real host process, real programs, and requests that can be bent out of shape.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test kit fails by panicking"
)]

pub mod host;
pub mod programs;
pub mod raw;

pub use host::Host;
pub use raw::{Answer, RawSession};
