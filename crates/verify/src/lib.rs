//! The verifier: holds evidence of a confidential component host against a policy, and says why.
//!
//! There is no I/O and no async here, and no clock: the caller brings the time. The crate builds for wasm32-wasip2, and for
//! wasm32-unknown-unknown with the feature `js`.
//!
//! [`Policy::parse`] reads a policy file, [`Expected`] says what the verifier knows by itself (its nonce, its session), and
//! [`verify`] holds [`Evidence`] against both. The [`Verdict`] lists every check, passed or not, with its inputs and, for a
//! failure, what to do; [`Verdict::to_ear`] is its EAR-shaped JSON.
//!
//! The formats are those of [`hypervisor_evidence`], whose items are here under the same names.

#![deny(missing_docs)]

pub mod boot_log;
pub mod error;
pub mod ima;
pub mod policy;
pub mod verdict;
mod verify;

#[doc(no_inline)]
pub use hypervisor_evidence::*;

pub use boot_log::BootLog;
pub use error::PolicyError;
pub use policy::Policy;
pub use verdict::{Assurance, Check, CheckId, Status, Verdict};
pub use verify::{Challenge, Connection, Expected, ExpectedSubject, fingerprint, verify};
