//! Evidence through a TPM: of real machines in clouds, and of a TPM of this test's own above a simulator.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attacks;
mod files;
mod made;
mod real;
mod rules;
