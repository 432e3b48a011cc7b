//! What a client does to hosts that behave and to hosts that do not, and the `hv` command.

mod agents;
mod agents_command;
mod attest;
mod attest_command;
mod attested;
mod call_command;
mod endless;
mod new_command;
mod pay;
mod pay_command;
mod support;
