//! The two formats of a body: JSON (RFC 8259) and CBOR (RFC 8949).

use std::convert::Infallible;

use cbor4ii::core::dec::{Error as Cbor, Read, Reference};
use cbor4ii::serde::{DecodeError, Deserializer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// How deep a CBOR body or report may nest. The deepest of this protocol is 3.
const CBOR_NESTING: usize = 16;
/// The decoder takes up to two steps into a level.
const STEPS: usize = 2 * CBOR_NESTING;

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

/// Decodes one CBOR value that fills the input. (The encoder's own crate reads byte strings in small pieces into a growing
/// buffer, which took eight times as long as the one copy here.)
pub(crate) fn decode_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let malformed = |reason| Error::Decode {
        format: "CBOR",
        reason,
    };
    let mut input = Input {
        rest: bytes,
        steps: STEPS,
    };
    let decoded = T::deserialize(&mut Deserializer::new(&mut input));
    let offset = bytes.len().saturating_sub(input.rest.len());
    match decoded {
        Ok(value) if input.rest.is_empty() => Ok(value),
        Ok(_) => Err(malformed(format!(
            "{} bytes follow the value",
            input.rest.len()
        ))),
        Err(DecodeError::Custom(text)) => Err(malformed(format!("{text} at byte {offset}"))),
        Err(DecodeError::Core(error)) => Err(malformed(match error {
            // A length beyond the end is only found out at the end.
            Cbor::Eof { .. } => format!("the input ends early, after {} bytes", bytes.len()),
            Cbor::DepthOverflow { .. } => format!("nested deeper than {CBOR_NESTING} levels"),
            Cbor::Mismatch { name, .. } => format!("no {name} at byte {offset}"),
            _ => format!("not CBOR of this protocol at byte {offset}"),
        })),
    }
}

/// The whole input: the decoder can borrow from it.
struct Input<'de> {
    rest: &'de [u8],
    steps: usize,
}

impl<'de> Read<'de> for Input<'de> {
    type Error = Infallible;

    fn fill<'short>(&'short mut self, want: usize) -> Result<Reference<'de, 'short>, Infallible> {
        Ok(Reference::Long(self.rest.get(..want).unwrap_or(self.rest)))
    }

    fn advance(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }

    fn step_in(&mut self) -> bool {
        let left = self.steps.checked_sub(1);
        self.steps = left.unwrap_or_default();
        left.is_some()
    }

    fn step_out(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }
}
