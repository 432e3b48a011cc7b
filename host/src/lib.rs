//! The host: serves the HTTP API and runs clients' programs in sandboxes.
//!
//! The library exists for the binary, its tests and the benchmarks. A request comes in by the [server](hypervisor_server), becomes a call in
//! [`ingress`], and goes its one way through the [`pipeline`]: programs in, outcomes out of the [`executor`].

pub mod admin;
pub mod agents;
pub mod args;
pub mod attestation;
mod audit;
pub mod environments;
pub mod error;
mod fleet;
pub mod fronts;
pub mod hardening;
pub mod ingress;
pub mod manifest;
pub mod page;
pub mod parts;
pub mod payments;
pub mod pipeline;
pub mod sessions;
mod snapshot;
pub mod state;

pub use hypervisor_config as config;

/// Also of compilers, and of whatever else links the host: it keeps less of what was freed, in fewer pieces.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs components.
pub mod executor {
    pub use hypervisor_runtime::*;
}
