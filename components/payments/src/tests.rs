//! The component against real signatures and scripted facilitators and chains.

mod arbitrary;
mod asking;
mod extending;
mod fuzz;
mod headers;
mod kit;
mod ledger;
mod oracle;
mod permit2;
mod reconciling;
mod settling;
mod signing_in;
mod solana;
mod verifying;
