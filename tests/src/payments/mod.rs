//! Payments with real parts: a development chain with Circle's USDC, the official facilitator and clients, a payer
//! whose payments can be bent, and a facilitator that misbehaves on purpose.
//!
//! `scripts/setup-payments.sh` installs what `tests/payments` needs.

pub mod account;
pub mod chain;
pub mod facilitator;
pub mod faulty;
pub mod kills;
pub mod official;
pub mod oracle;
pub mod orders;
pub mod permit2;
pub mod purchase;
pub mod script;
pub mod sign;
pub mod solana;

pub use account::{Address, Payer};
pub use chain::Chain;
pub use facilitator::Facilitator;
pub use purchase::Purchase;
pub use sign::{Payment, Version};
pub use solana::Solana;
