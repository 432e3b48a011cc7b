//! Binary values on the wire: hex text in human-readable formats, byte strings in binary ones.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::Error;

/// Bytes of any length. JSON: lower-case hex, on input either case and an optional `0x` or `0X` prefix. CBOR: a byte string.
///
/// Decoding borrows the text from the input and writes straight into the `Vec`: the hex is never copied.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HexBytes(pub Vec<u8>);

/// Exactly `N` bytes, encoded as [`HexBytes`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HexArray<const N: usize>(pub [u8; N]);

impl<const N: usize> Default for HexArray<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// Decodes hex, upper or lower case, with an optional `0x` or `0X` prefix.
fn decode(text: &str) -> Result<Vec<u8>, Error> {
    let digits = match text.strip_prefix("0X") {
        // The decoder takes one `0x` off by itself; two prefixes are not hex.
        Some(rest) if rest.starts_with("0x") => {
            return Err(Error::InvalidHex {
                reason: "more than one 0x prefix".to_owned(),
            });
        }
        Some(rest) => rest,
        None => text,
    };
    const_hex::decode(digits).map_err(|error| Error::InvalidHex {
        reason: match error {
            const_hex::FromHexError::OddLength => {
                format!("odd number of digits ({}), two make a byte", text.len())
            }
            other => other.to_string(),
        },
    })
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data (hex text in JSON, a byte string in CBOR)")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Vec<u8>, E> {
        decode(text).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        decode(text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(BytesVisitor)
    } else {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&const_hex::encode(bytes))
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// Hex of the bytes, cut after 32 of them so that a program does not fill a log.
fn debug(name: &str, bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bytes.get(..32) {
        Some(head) if bytes.len() > 32 => {
            write!(
                f,
                "{name}({}… {} bytes)",
                const_hex::encode(head),
                bytes.len()
            )
        }
        _ => write!(f, "{name}({})", const_hex::encode(bytes)),
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("HexBytes", &self.0, f)
    }
}

impl fmt::Display for HexBytes {
    /// Lower-case hex without a prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(&self.0))
    }
}

impl std::str::FromStr for HexBytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        decode(text).map(Self)
    }
}

impl From<Vec<u8>> for HexBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for HexBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<HexBytes> for Vec<u8> {
    fn from(bytes: HexBytes) -> Self {
        bytes.0
    }
}

impl AsRef<[u8]> for HexBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> Serialize for HexArray<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for HexArray<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserialize(deserializer)?;
        Self::try_from(bytes.as_slice()).map_err(de::Error::custom)
    }
}

impl<const N: usize> fmt::Debug for HexArray<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug("HexArray", &self.0, f)
    }
}

impl<const N: usize> fmt::Display for HexArray<N> {
    /// Lower-case hex without a prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl<const N: usize> std::str::FromStr for HexArray<N> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(decode(text)?.as_slice())
    }
}

impl<const N: usize> TryFrom<&[u8]> for HexArray<N> {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        bytes.try_into().map(Self).map_err(|_| Error::InvalidHex {
            reason: format!("{} bytes where {N} are expected", bytes.len()),
        })
    }
}

impl<const N: usize> From<[u8; N]> for HexArray<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> AsRef<[u8]> for HexArray<N> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
