//! Paid executions: a real chain, the official facilitator and clients, and facilitators that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod agent_callers;
pub(crate) mod agents;
mod bad_input;
mod catalogue;
mod charging;
mod clients;
mod credentials;
mod disk;
mod environments;
mod faults;
mod identifiers;
mod kills;
pub(crate) mod kit;
mod ledger;
mod lies;
mod metered;
mod oracle;
mod quotes;
mod receipts;
mod reorg;
pub(crate) mod sign_in;
mod solana;
mod swap;
