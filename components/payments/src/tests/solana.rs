//! Payments on Solana against real transactions and scripted facilitators and endpoints.

mod changing;
pub mod kit;
mod settling;
mod verifying;
