//! Agents: deployed, called, chained, bought, swapped under, and removed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

pub(crate) mod binary_http;
mod chain;
mod commands;
mod deploying;
mod examples;
pub(crate) mod kit;
mod limits;
mod linked;
mod manifests;
mod misbehaviour;
mod outgoing;
mod owners;
mod permission;
pub(crate) mod persistence;
mod quotas;
mod registration;
mod registry;
mod replacing;
mod reuse;
mod sealed_calls;
mod search;
mod secrecy;
mod serving;
mod smuggling;
pub(crate) mod swap;
mod swap_under_load;
mod trailers;
