//! Evidence of what a confidential component host is and runs: its formats, and who makes its quotes.
//!
//! There is no I/O and no async here, and no clock: the caller brings the time. The crate builds for wasm32-wasip2, and for
//! wasm32-unknown-unknown with the feature `js`.
//!
//! # What a host makes
//!
//! | item | what for |
//! |---|---|
//! | [`ComponentLog`], [`LogEntry`] | measure before load: `append` gives the digest to extend RTMR3 with, `head` what is bound |
//! | [`manifest::digest`] | SHA-384 of the manifest's CBOR |
//! | [`Binding`], [`Subject`], [`Backend`] | all that a quote is about; `report_data` gives the 64 bytes to ask a quote for |
//! | [`VerifierNonce`] | the nonce of a request, from hex or bytes |
//! | [`Quote`] | what the platform returned without what follows it in its buffer, over the report data that was asked for |
//! | [`Vtpm`] | what a TPM adds where the hardware's report is over its key, and not over the host's 64 bytes |
//! | [`snp::certificates_of_table`] | the certificates of a SEV-SNP report, from what Linux gives beside it |
//! | [`ResultTree`], [`InclusionProof`], [`ResultRoot`] | many results under one quote |
//! | [`SessionEntry`], [`SessionProof`] | many sessions under one quote |
//! | [`Evidence`], [`RawQuote`] | quote, binding, log, manifest, collateral as one CMW collection, CBOR or JSON |
//! | [`Receipt`], [`Statement`] | COSE_Sign1 by the identity key: of an exchange, of a component's claim |
//!
//! [`Attester`] is who makes the quotes. What verifies evidence is a crate of its own, `hypervisor-verify`.
//!
//! # Example
//!
//! ```
//! use hypervisor_evidence::{Backend, Binding, ComponentLog, LogEntry, Subject};
//! use hypervisor_protocol::PrivateKey;
//!
//! # fn main() -> Result<(), hypervisor_evidence::Error> {
//! let mut log = ComponentLog::new();
//! log.append(LogEntry::new("payments", b"\0asm", vec!["wasi:clocks/wall-clock@0.2.6".to_owned()]))?;
//! let binding = Binding {
//!     subject: Subject::Identity,
//!     nonce: Some("6f8a0e3c51d2b79408c6ae1f9d3b5274".parse()?),
//!     identity_public_key: PrivateKey::generate().public_key().clone(),
//!     tls_key: None,
//!     manifest_digest: hypervisor_evidence::manifest::digest(b"\xa0"),
//!     log: log.head(),
//!     register_bound: false,
//!     backend: Backend::Tdx,
//!     boot_id: [7; 16],
//! };
//! let report_data = binding.report_data();
//! assert_eq!(&report_data.as_bytes()[..8], b"HYPERVSR");
//! assert_eq!(Binding::decode(&binding.encode())?, binding);
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub mod attester;
pub mod binding;
pub mod cmw;
mod cose;
mod document;
pub mod error;
pub mod evidence;
pub mod log;
pub mod manifest;
pub mod merkle;
pub mod nonce;
mod reader;
pub mod receipt;
pub mod report_data;
pub mod sealing;
pub mod snp;
pub mod statement;
pub mod tdx;
pub mod vtpm;

pub use attester::{
    Attester, AttesterError, Capabilities, Quote, QuoteFormat, REGISTER, REPORT_DATA,
    extend_and_check,
};
pub use binding::{Backend, Binding, Peer, SessionEntry, SessionProof, Subject};
pub use error::Error;
pub use evidence::{Evidence, RawQuote};
pub use log::{ComponentLog, LogEntry, LogHead};
pub use merkle::{InclusionProof, ResultRoot, ResultTree};
pub use nonce::VerifierNonce;
pub use receipt::Receipt;
pub use report_data::{Purpose, ReportData};
pub use sealing::{SEALING_KEY, SealingKey};
pub use statement::Statement;
pub use vtpm::Vtpm;
