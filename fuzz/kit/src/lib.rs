//! Ways into decoders that are private to the host and to the client, or are in crates that bring the engine: their own sources, by links, so
//! that no interface of theirs is any wider for being fuzzed.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "a part of each source is called"
)]

// What manifests take from the crate of egress is linked here, too.
extern crate self as hypervisor_egress;

mod error;
mod manifest;
mod name;
mod origin;
mod pattern;

pub mod client;
pub mod host;
pub mod simulated;

pub use error::PatternError;
pub use manifest::Manifest;
pub use name::Name;
pub use origin::Origin;
pub use pattern::{AllowList, OriginPattern};
