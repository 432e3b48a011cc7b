//! Attacks: what a stranger, a client, a guest or a plugin tried once, and what the host does about it now. Each test says what the
//! attacker wants, bounds what it spends, and asserts what everybody else still gets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod account;
mod admin;
mod agents;
mod audit;
mod browser;
mod connections;
mod evidence;
mod execution;
mod fleet;
mod fronts;
mod mcp;
mod memory;
mod order;
mod outgoing;
mod payments;
mod pipeline;
mod process;
mod rotation;
mod sign_in;
mod streams;
mod turns;
