//! What a client does to hosts that behave and to hosts that do not, and the `hv` command.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod agents;
mod agents_command;
mod attest;
mod attest_command;
mod attested;
mod call_command;
mod card_command;
mod endless;
mod new_command;
mod packages_command;
mod pay;
mod pay_command;
mod support;
