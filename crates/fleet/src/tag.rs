//! What names one start of one host in its fleet.

use std::fmt;

use crate::error::Error;

/// Random, and no other live host's: the last bytes of the id of each session that the host opens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub [u8; 4]);

impl Tag {
    /// A random one.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(Self(bytes))
    }

    /// The one in a session's id.
    pub fn of(id: &[u8; 16]) -> Self {
        let [.., a, b, c, d] = *id;
        Self([a, b, c, d])
    }

    /// A session's id with this one in it. Version and variant of the UUID, and its time, stay.
    pub fn within(self, mut id: [u8; 16]) -> [u8; 16] {
        if let Some(last) = id.last_chunk_mut() {
            *last = self.0;
        }
        id
    }

    /// The one whose text this is.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 4];
        const_hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_end_of_an_id_and_leaves_the_rest() {
        let id: [u8; 16] = std::array::from_fn(|at| at as u8);
        let tag = Tag([0xde, 0xad, 0xbe, 0xef]);
        let marked = tag.within(id);
        assert_eq!(Tag::of(&marked), tag);
        assert_eq!(marked[..12], id[..12]);
        assert_eq!(Tag::parse(&tag.to_string()), Some(tag));
        assert_eq!(Tag::parse("dead"), None);
    }
}
