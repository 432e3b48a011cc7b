//! The attesting side: quotes and runtime registers of the TEE that the host runs in.
//!
//! [`Tsm`] is the [`Attester`](hypervisor_evidence::Attester) of real hardware, through Linux's configfs-tsm, Intel TDX and AMD
//! SEV-SNP alike. Its quotes are not verified: that is for whoever relies on them.
//!
//! Where the platform derives keys for a guest, [`Tsm::sealing_key`] gives one that survives a restart ([`sealing`]).
//!
//! [`doctor`] tells what a machine offers, [`record`](mod@record) keeps its quotes for tests elsewhere.

pub mod doctor;
mod entry;
pub mod error;
pub mod fs;
mod provider;
pub mod record;
mod registers;
pub mod sealing;
pub mod tsm;

pub use error::{Error, Refusal};
pub use fs::{SystemFs, TsmFs};
pub use provider::Provider;
pub use tsm::{Paths, Retry, Tsm};
