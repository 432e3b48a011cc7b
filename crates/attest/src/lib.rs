//! Evidence of what a confidential component host is and runs: its formats, and the verifier that says why.
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
//! | [`tdx::trim`] | a quote without what follows it in its buffer |
//! | [`snp::certificates_of_table`] | the certificates of a SEV-SNP report, from what Linux gives beside it |
//! | [`ResultTree`], [`InclusionProof`], [`ResultRoot`] | many results under one quote |
//! | [`Evidence`], [`RawQuote`] | quote, binding, log, manifest, collateral as one CMW collection, CBOR or JSON |
//! | [`Receipt`], [`Statement`] | COSE_Sign1 by the identity key: of an exchange, of a component's claim |
//!
//! # What a verifier does
//!
#![cfg_attr(
    feature = "verify",
    doc = "[`Policy::parse`] reads a policy file, [`Expected`] says what the verifier knows by itself (its nonce, its session), and
[`verify`] holds [`Evidence`] against both. The [`Verdict`] lists every check, passed or not, with its inputs and, for a
failure, what to do; [`Verdict::to_ear`] is its EAR-shaped JSON."
)]
//!
//! # Example
//!
//! ```
//! use hypervisor_attest::{Backend, Binding, ComponentLog, LogEntry, Subject};
//! use hypervisor_protocol::PrivateKey;
//!
//! # fn main() -> Result<(), hypervisor_attest::Error> {
//! let mut log = ComponentLog::new();
//! log.append(LogEntry::new("payments", b"\0asm", vec!["wasi:clocks/wall-clock@0.2.6".to_owned()]))?;
//! let binding = Binding {
//!     subject: Subject::Identity,
//!     nonce: Some("6f8a0e3c51d2b79408c6ae1f9d3b5274".parse()?),
//!     identity_public_key: PrivateKey::generate().public_key().clone(),
//!     manifest_digest: hypervisor_attest::manifest::digest(b"\xa0"),
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
pub mod snp;
pub mod statement;
pub mod tdx;

pub use binding::{Backend, Binding, Subject};
pub use error::Error;
pub use evidence::{Evidence, RawQuote};
pub use log::{ComponentLog, LogEntry, LogHead};
pub use merkle::{InclusionProof, ResultRoot, ResultTree};
pub use nonce::VerifierNonce;
pub use receipt::Receipt;
pub use report_data::{Purpose, ReportData};
pub use statement::Statement;

#[cfg(feature = "verify")]
pub mod policy;
#[cfg(feature = "verify")]
pub mod verdict;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "verify")]
pub use policy::Policy;
#[cfg(feature = "verify")]
pub use verdict::{Assurance, Check, CheckId, Status, Verdict};
#[cfg(feature = "verify")]
pub use verify::{Challenge, Expected, ExpectedSubject, verify};
