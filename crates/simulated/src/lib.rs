//! SIMULATED, NOT A TEE.
//!
//! A [`Simulator`] makes Intel TDX quotes that are right in every byte and prove nothing: the keys come from a seed, the root is
//! its own, and whoever has the seed can say anything. It is for development without hardware and for tests.
//!
//! It is a trust domain of its own. Nothing may choose it silently: a host simulates only when its operator says so, and a
//! verifier accepts it only when it is told this root's [fingerprint](Simulator::fingerprint), never because evidence asks for
//! it. Every certificate's subject, the quote's user data and MROWNER say that it is simulated.
//!
//! The same seed and options give the same bytes: keys by HKDF, signatures by RFC 6979, no clock.

mod boot_log;
mod builder;
mod collateral;
pub mod error;
mod keys;
mod pki;
mod platform;
mod quote;
mod sgx_extension;
mod simulator;
mod td;

pub use boot_log::boot;
pub use builder::SimulatorBuilder;
pub use error::Error;
pub use pki::MARK;
pub use platform::{ComponentTcb, PlatformTcb};
pub use quote::{MR_OWNER, USER_DATA};
pub use simulator::Simulator;
pub use td::{QuoteBody, XFAM, attribute};
