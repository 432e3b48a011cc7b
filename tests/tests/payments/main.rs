//! Paid executions: a real chain, the official facilitator and clients, and facilitators that misbehave.

mod bad_input;
mod charging;
mod clients;
mod faults;
mod kit;
mod ledger;
mod oracle;
mod swap;
