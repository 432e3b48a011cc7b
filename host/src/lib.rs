//! The host: serves the HTTP API and runs clients' programs in sandboxes.
//!
//! The library exists for the binary, its tests and the benchmarks; its parts are [`config`], the [`executor`] (programs
//! in, outcomes out), [`sessions`], payments, the HTTP [`api`] and the [`server`] that carries it.

pub mod admin;
pub mod agents;
pub mod api;
pub mod attestation;
pub mod config;
pub mod error;
pub mod manifest;
pub mod metrics;
mod origins;
pub mod parts;
pub mod payments;
pub mod server;
pub mod sessions;
pub mod telemetry;

/// Runs components; and how the host sends their requests.
pub mod executor {
    pub use hypervisor_runtime::*;

    pub(crate) use crate::origins::{http_error, send};
}
