//! The protocol from outside: vectors, decoders that are fed nonsense, and what both ends agree on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod agents;
mod decoders;
mod hkdf;
mod keys;
mod report;
mod session;
mod vectors;
mod wire;
