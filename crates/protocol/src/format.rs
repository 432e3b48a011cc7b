//! The two formats of a body: JSON (RFC 8259) and CBOR (RFC 8949).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// How deep a CBOR body or report may nest. The deepest of this protocol is 3.
const CBOR_NESTING: usize = 16;

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentFormat {
    /// `application/json`: bytes are hex.
    Json,
    /// `application/cbor`: bytes are byte strings.
    Cbor,
}

impl ContentFormat {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Cbor => "application/cbor",
        }
    }

    /// The format of a media type; its parameters (`; charset=utf-8`) and case do not matter (RFC 9110 §8.3.1).
    pub fn from_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Cbor]
            .into_iter()
            .find(|format| essence.eq_ignore_ascii_case(format.media_type()))
    }

    /// Decodes a whole body: bytes after the value are refused, nesting is bounded, and lengths in the input are not trusted
    /// with allocations.
    ///
    /// # Errors
    /// [`Error::Decode`] with the decoder's message (the field, and the position where the format tells).
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Error> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| Error::Decode {
                format: "JSON",
                reason: error.to_string(),
            }),
            Self::Cbor => decode_cbor(bytes),
        }
    }

    /// Encodes a body.
    ///
    /// # Errors
    /// [`Error::Encode`] for a value that the format can not express.
    pub fn encode<T: Serialize>(self, value: &T) -> Result<Vec<u8>, Error> {
        match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| Error::Encode {
                format: "JSON",
                reason: error.to_string(),
            }),
            Self::Cbor => {
                let mut bytes = Vec::new();
                encode_cbor_into(value, &mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// Appends a value as CBOR.
pub(crate) fn encode_cbor_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    ciborium::into_writer(value, bytes).map_err(|error| Error::Encode {
        format: "CBOR",
        reason: error.to_string(),
    })
}

/// Decodes one CBOR value that fills the input.
pub(crate) fn decode_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    use ciborium::de::Error as Cbor;
    let malformed = |reason| Error::Decode {
        format: "CBOR",
        reason,
    };
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, CBOR_NESTING).map_err(
        |error| {
            malformed(match error {
                Cbor::Io(_) => format!("the input ends early, after {} bytes", bytes.len()),
                Cbor::Syntax(offset) => format!("not CBOR at byte {offset}"),
                Cbor::Semantic(Some(offset), text) => format!("{text} at byte {offset}"),
                Cbor::Semantic(None, text) => text,
                Cbor::RecursionLimitExceeded => {
                    format!("nested deeper than {CBOR_NESTING} levels")
                }
            })
        },
    )?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(malformed(format!("{} bytes follow the value", rest.len())))
    }
}
