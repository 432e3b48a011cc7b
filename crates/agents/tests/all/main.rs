//! Names, manifests, the registry, search and the store, from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod manifest;
mod name;
mod registry;
mod rows;
#[path = "../../../store/tests/all/shared.rs"]
#[allow(dead_code, reason = "tests of other crates use more of it")]
mod rows_of_hosts;
mod search;
mod shared;
mod store;
mod store_damage;
mod support;
