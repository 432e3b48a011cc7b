//! The ledger from outside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod fleet;
mod fleet_model;
#[path = "../../../store/tests/all/shared.rs"]
#[allow(dead_code, reason = "tests of other crates use more of it")]
mod shared;
mod sign_in;
mod store;
