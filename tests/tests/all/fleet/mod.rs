//! Hosts that are one service.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod agents;
mod altered;
mod database;
mod environments;
pub(crate) mod kit;
mod manifests;
mod partitions;
mod payments;
mod peers;
mod pooler;
pub(crate) mod rotation;
mod routing;
