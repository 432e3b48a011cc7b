//! The id of a session.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Error;

/// The id of a session: the 16 bytes of a UUIDv7 (RFC 9562 §5.7), which are also the salt of its key schedule.
///
/// JSON: the hyphenated form (32 plain hex digits accepted); CBOR: a byte string of 16. Ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new id from the system clock and random bits.
    #[expect(
        clippy::new_without_default,
        reason = "each id is different, which is not what a default is"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }

    /// An id from its 16 bytes; the UUID version is not checked.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    /// The hyphenated form, lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The parser also takes braces and `urn:uuid:`, of other lengths.
        if !matches!(text.len(), 32 | 36) {
            return Err(Error::InvalidSessionId);
        }
        Uuid::try_parse(text)
            .map(|id| Self(id.into_bytes()))
            .map_err(|_| Error::InvalidSessionId)
    }
}

impl TryFrom<&[u8]> for SessionId {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| Error::InvalidSessionId)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = SessionId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session id (UUID text in JSON, a byte string of 16 in CBOR)")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SessionId, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<SessionId, E> {
        SessionId::try_from(bytes).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(IdVisitor)
        } else {
            deserializer.deserialize_byte_buf(IdVisitor)
        }
    }
}
