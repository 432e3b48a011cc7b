//! A trail from outside: what it proves, what it survives, and what it costs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod disk;
mod kills;
mod kit;
mod proofs;
mod size;
