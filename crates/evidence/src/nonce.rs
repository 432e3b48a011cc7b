//! The verifier's nonce: what makes evidence fresh for the one who asked.

use std::fmt;
use std::str::FromStr;

use hypervisor_protocol::HexBytes;

use crate::Error;

/// The fewest bytes of a nonce. Shorter ones could be guessed, and evidence be collected ahead of the question.
pub const MIN_LENGTH: usize = 16;

/// The most bytes of a nonce, as in EAT (RFC 9711 §4.1).
pub const MAX_LENGTH: usize = 64;

/// A nonce of 16 to 64 bytes, chosen by the verifier at random and used once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifierNonce(Vec<u8>);

impl VerifierNonce {
    /// A nonce from its bytes.
    ///
    /// # Errors
    /// [`Error::Nonce`] when they are fewer than 16 or more than 64, or all the same (a placeholder, not a random value).
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let reason = match bytes.len() {
            0 => "is empty".to_owned(),
            n if n < MIN_LENGTH => format!("is too short ({n} bytes)"),
            n if n > MAX_LENGTH => format!("is too long ({n} bytes)"),
            _ if bytes.iter().all(|byte| Some(byte) == bytes.first()) => {
                "is one byte repeated".to_owned()
            }
            _ => return Ok(Self(bytes)),
        };
        Err(Error::Nonce { reason })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for VerifierNonce {
    type Err = Error;

    /// From hex, either case, `0x` accepted.
    fn from_str(text: &str) -> Result<Self, Error> {
        // The decoder would take a long text to memory first.
        if text.len() > 2 * MAX_LENGTH + 2 {
            return Err(Error::Nonce {
                reason: format!("is too long ({} characters)", text.len()),
            });
        }
        let bytes: HexBytes = text.parse().map_err(|error| Error::Nonce {
            reason: format!("is not hex ({error})"),
        })?;
        Self::new(bytes)
    }
}

impl TryFrom<&[u8]> for VerifierNonce {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        Self::new(bytes)
    }
}

impl fmt::Debug for VerifierNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierNonce({self})")
    }
}

impl fmt::Display for VerifierNonce {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(&self.0))
    }
}
