//! What a host proves of itself, and what this client makes of it.
//!
//! [`Client::open_attested_session`] asks for a session with a nonce of its own and holds the evidence against a
//! [`Policy`]. Only then can a program be sent, and each run of that session is verified afterwards too: the receipt that
//! the host signs, and on routes that have it the quote over the result. A session that was opened this way gives no
//! [`crate::Execution`] that is not verified.
//!
//! [`Client::verify_host`] asks a host who it is without running anything, and [`Client::evidence`] only fetches.
//!
//! Formats, policies and the checks themselves are in [`hypervisor_verify`].
//!
//! [`Client::open_attested_session`]: crate::Client::open_attested_session
//! [`Client::verify_host`]: crate::Client::verify_host
//! [`Client::evidence`]: crate::Client::evidence
//! [`Policy`]: hypervisor_verify::Policy

mod execution;
mod host;
mod refusal;
mod session;

use std::time::{SystemTime, UNIX_EPOCH};

use hypervisor_protocol::ContentFormat;
use hypervisor_verify::{Challenge, Evidence, VerifierNonce};

use crate::error::Error;

pub use execution::ExecutionAttestation;
pub(crate) use execution::{Exchange, verify_execution};
pub use refusal::{FailedCheck, Refusal, Stage};
pub use session::SessionAttestation;

/// Bytes of the nonces that this client makes.
const NONCE_LENGTH: usize = 32;

/// This machine's time: Unix time, seconds. A clock before 1970 counts as 1970, at which no evidence is valid.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// A fresh nonce of 32 random bytes, made now. Use it for one question.
///
/// # Errors
/// [`Error::Nonce`] when the operating system gives no randomness.
pub fn challenge() -> Result<Challenge, Error> {
    let mut bytes = [0; NONCE_LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| Error::Nonce {
        reason: error.to_string(),
    })?;
    let nonce = VerifierNonce::new(bytes).map_err(|error| Error::Nonce {
        reason: error.to_string(),
    })?;
    Ok(Challenge {
        nonce,
        made_at: now(),
    })
}

/// Evidence from a file or an answer, CBOR or JSON: JSON starts with a brace, which no CBOR map does.
///
/// # Errors
/// As [`Evidence::decode`].
pub fn decode_evidence(bytes: &[u8]) -> Result<Evidence, hypervisor_verify::Error> {
    let format = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => ContentFormat::Json,
        _ => ContentFormat::Cbor,
    };
    Evidence::decode(format, bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_challenges_have_different_nonces() {
        assert_ne!(challenge().unwrap().nonce, challenge().unwrap().nonce);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode_evidence(&bytes);
        }
    }
}
