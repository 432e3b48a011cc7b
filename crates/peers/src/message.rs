//! What joiner and member say to each other, CBOR. Each comes from somebody who has proved nothing yet: all parts have bounds.

use hypervisor_protocol::{ContentFormat, HexArray, HexBytes, PublicKey, SessionId};
use serde::{Deserialize, Serialize};

use crate::error::Refused;

/// Bytes of a message at most: evidence, and the rest.
pub(crate) const MOST_BYTES: usize = hypervisor_evidence::evidence::MAX_LENGTH + (4 << 10);
/// Bytes of a nonce.
pub(crate) const NONCE: usize = 32;
/// Characters of a reason that somebody else gives.
const WORDS: usize = 400;

/// A member's first answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Challenge {
    pub(crate) exchange: SessionId,
    /// The member's public key of this exchange.
    pub(crate) public_key: HexBytes,
    pub(crate) nonce: HexArray<NONCE>,
    /// The ids of the keys that it has.
    #[serde(default)]
    pub(crate) keys: Vec<HexArray<8>>,
}

/// What a joiner proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    pub(crate) exchange: SessionId,
    /// The joiner's public key of this exchange.
    pub(crate) public_key: HexBytes,
    pub(crate) nonce: HexArray<NONCE>,
    pub(crate) evidence: HexBytes,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The member's evidence, and the keys.
    Given {
        evidence: HexBytes,
        sealed: HexBytes,
    },
    /// A check failed, or it was no such message.
    Refused { check: String, reason: String },
    /// Ask again: others are being judged, or the platform makes quotes for others.
    Busy,
}

impl Answer {
    pub(crate) fn refused(refused: &Refused) -> Self {
        Self::Refused {
            check: refused.check.clone(),
            reason: refused.reason.clone(),
        }
    }
}

/// A message whose form is wrong. What a decoder says of it may quote it.
pub(crate) fn malformed(reason: &str) -> Refused {
    Refused {
        check: "message".to_owned(),
        reason: plain(reason),
    }
}

pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Writing to memory cannot fail, and these types have no value that CBOR cannot hold.
    ContentFormat::Cbor.encode(message).unwrap_or_default()
}

pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    if bytes.len() > MOST_BYTES {
        return Err(malformed("it is too long"));
    }
    let decoded = ContentFormat::Cbor.decode(bytes);
    decoded.map_err(|error| malformed(&error.to_string()))
}

/// A key that the other end names.
pub(crate) fn key(bytes: &HexBytes) -> Result<PublicKey, Refused> {
    PublicKey::from_sec1(&bytes.0).map_err(|error| malformed(&error.to_string()))
}

/// Words of somebody who has proved nothing, for an error and the log.
pub(crate) fn plain(words: &str) -> String {
    let shown = words.chars().take(WORDS);
    shown
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_of_a_stranger_are_one_short_line() {
        assert_eq!(plain("a\nb\u{1b}[1mc"), "a?b?[1mc");
        assert_eq!(plain(&"x".repeat(10_000)).len(), WORDS);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode::<Challenge>(&bytes);
            let _ = decode::<Proof>(&bytes);
            let _ = decode::<Answer>(&bytes);
        }

        #[test]
        fn what_is_encoded_is_decoded(exchange: [u8; 16], key: [u8; 33], nonce: [u8; 32], evidence: Vec<u8>) {
            let proof = Proof {
                exchange: SessionId::from_bytes(exchange),
                public_key: HexBytes(key.to_vec()),
                nonce: HexArray(nonce),
                evidence: HexBytes(evidence),
            };
            prop_assert_eq!(decode::<Proof>(&encode(&proof)).unwrap(), proof);
        }
    }
}
