//! A guest with a TPM: swtpm with what a cloud puts into it, a simulator as the hardware, and a metadata service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod guest;
mod service;
mod swtpm;

pub(crate) use guest::{Guest, policy};
pub(crate) use service::{answering, quoting};
pub(crate) use swtpm::{ALL_PCRS, Swtpm};
