//! The attesting side: quotes and runtime registers of the TEE that the host runs in.
//!
//! [`Attester`] is the boundary. [`Tsm`] implements it for real hardware through Linux's configfs-tsm, Intel TDX and AMD SEV-SNP
//! alike; the simulated attester lives in a crate of its own and is never chosen by this one. [`QuoteService`] stands in front of
//! either and asks the slow driver for one quote at a time.
//!
//! What leaves this crate as a quote is cut to its parsed end ([`trim`]) and is over the report data that was asked for. It is
//! not verified: that is for whoever relies on it.
//!
//! Where the platform derives keys for a guest, [`Attester::sealing_key`] gives one that survives a restart ([`sealing`]).
//!
//! [`doctor`] tells what a machine offers, [`record`](mod@record) keeps its quotes for tests elsewhere.

pub mod attester;
mod certificates;
pub mod doctor;
mod entry;
pub mod error;
pub mod fs;
mod provider;
pub mod record;
mod registers;
pub mod sealing;
pub mod service;
pub mod trim;
pub mod tsm;

pub use attester::{
    Attester, Backend, Capabilities, Quote, QuoteFormat, REGISTER, REPORT_DATA, extend_and_check,
    extended,
};
pub use error::{Error, Refusal};
pub use fs::{SystemFs, TsmFs};
pub use provider::Provider;
pub use sealing::{SEALING_KEY, SealingKey};
pub use service::{QueueLimits, QuoteService};
pub use tsm::{Paths, Retry, Tsm};
