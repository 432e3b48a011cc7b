//! The errors of the crates whose sources are linked here.

mod agents;
mod client;
mod egress;

pub use agents::{ManifestError, NameError};
pub use client::Error;
pub use egress::PatternError;
