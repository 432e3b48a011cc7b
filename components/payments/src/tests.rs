//! The component against real signatures and scripted facilitators and chains.

mod arbitrary;
mod asking;
mod headers;
mod kit;
mod ledger;
mod oracle;
mod reconciling;
mod settling;
mod solana;
mod verifying;
