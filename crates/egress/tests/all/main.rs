//! Requests to servers of a test's own: where they may go, what comes back, and how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod addresses;
mod destinations;
mod exchange;
mod origins;
mod patterns;
mod pool;
mod support;
mod tls;
