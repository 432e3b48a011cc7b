//! The ledger from outside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod fleet;
mod fleet_model;
mod sign_in;
mod store;
