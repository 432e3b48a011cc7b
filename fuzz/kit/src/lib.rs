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
// And what is said of payments, from that of the ledger.
extern crate self as hypervisor_ledger;

mod error;
mod manifest;
mod name;
mod origin;
mod pattern;

pub mod client;
pub mod host;
pub mod plugin;
pub mod runtime;
pub mod simulated;

// Where the host has the values that come out of WIT, and its faults.
use plugin as executor;
use plugin as payments;

pub use error::PatternError;
pub use manifest::Manifest;
pub use name::Name;
pub use origin::Origin;
pub use pattern::{AllowList, OriginPattern};
pub use plugin::{Fields, Outcome, Payment, PaymentId};
