//! Digests of components as people write them, and as a call pins the agent that it means.
//!
//! The sealed name of a call (field 0) is `REFERENCE`, or `REFERENCE@DIGEST`: then the host runs the agent only if its component
//! has this digest. A digest is `sha256:` or `sha384:` and lower-case hex. It stands in the name, and not in a field of its own,
//! so that nobody in between can leave it out.
//!
//! A program that the session sent before may be named by its digest (`sha256:…`) in the place of its bytes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256, Sha384};

use crate::{Error, HexArray};

/// A component's digest, by one of the functions that are in use: a report names SHA-256, the component log SHA-384.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComponentDigest {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-384.
    Sha384([u8; 48]),
}

impl ComponentDigest {
    /// Whether it is the digest of a component with these two.
    pub fn matches(&self, sha256: &[u8; 32], sha384: &[u8; 48]) -> bool {
        match self {
            Self::Sha256(digest) => digest == sha256,
            Self::Sha384(digest) => digest == sha384,
        }
    }

    /// The digest of the same function over a component.
    #[must_use]
    pub fn of(&self, component: &[u8]) -> Self {
        match self {
            Self::Sha256(_) => Self::Sha256(Sha256::digest(component).into()),
            Self::Sha384(_) => Self::Sha384(Sha384::digest(component).into()),
        }
    }

    /// Takes the sealed name of a call apart.
    ///
    /// # Errors
    /// [`Error::InvalidDigest`] when what follows `@` is not the digest of a component.
    pub fn split(name: &[u8]) -> Result<(&[u8], Option<Self>), Error> {
        let Some(at) = name.iter().position(|byte| *byte == b'@') else {
            return Ok((name, None));
        };
        let (reference, digest) = name.split_at(at);
        let text = str::from_utf8(digest.get(1..).unwrap_or_default());
        let digest = text.map_err(|_| Error::InvalidDigest)?.parse()?;
        Ok((reference, Some(digest)))
    }
}

impl fmt::Display for ComponentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "sha256:{}", HexArray(*digest)),
            Self::Sha384(digest) => write!(f, "sha384:{}", HexArray(*digest)),
        }
    }
}

impl FromStr for ComponentDigest {
    type Err = Error;

    /// `sha256:` or `sha384:` and hex; or hex alone, whose length tells.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (function, digits) = match text.split_once(':') {
            Some((function, digits)) => (function, digits),
            None if text.len() == 64 => ("sha256", text),
            None => ("sha384", text),
        };
        let invalid = |_| Error::InvalidDigest;
        match function {
            "sha256" => Ok(Self::Sha256(bytes(digits).map_err(invalid)?.0)),
            "sha384" => Ok(Self::Sha384(bytes(digits).map_err(invalid)?.0)),
            _ => Err(Error::InvalidDigest),
        }
    }
}

/// What stands in the place of a program that the session sent before.
pub fn name_program(sha256: [u8; 32]) -> String {
    ComponentDigest::Sha256(sha256).to_string()
}

/// The SHA-256 of the program that is named in the place of its bytes; none where these are a program, or nothing that can run.
pub fn named_program(program: &[u8]) -> Option<[u8; 32]> {
    // Shorter than any component, and beginning as none does.
    let digits = program.strip_prefix(b"sha256:")?;
    bytes(str::from_utf8(digits).ok()?)
        .ok()
        .map(|digest| digest.0)
}

/// Lower-case hex without a prefix: one digest has one form.
fn bytes<const N: usize>(digits: &str) -> Result<HexArray<N>, Error> {
    let plain = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.bytes().all(plain) {
        return Err(Error::InvalidDigest);
    }
    digits.parse()
}
