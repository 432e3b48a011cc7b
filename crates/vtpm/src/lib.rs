//! The attesting side where the hardware's report is not the guest's to ask for, or says nothing of what the guest booted: a TPM stands
//! between, whose key the hardware vouches for.
//!
//! [`VtpmAttester::azure`] takes the TPM of Azure's paravisor, for SEV-SNP and TDX, [`VtpmAttester::beside`] one beside an attester of the
//! guest's own, as on Google Cloud. Nothing is verified here: that is for whoever relies on the quotes.
//!
//! TPMs are spoken to in their own language, of which six commands are needed ([`Tpm`]); there is no C below it.

mod attester;
mod command;
pub mod error;
pub mod imds;
mod tpm;

pub use attester::{Paths, VtpmAttester};
pub use error::Error;
pub use imds::Imds;
pub use tpm::{Device, Tpm, Transport};
