//! What an agent is called: its name, and the address that only its owner can give.
//!
//! | | form | example |
//! |---|---|---|
//! | name | a DNS label: 1–63 of `a-z 0-9 -`, first a letter, last not a hyphen | `weather` |
//! | address | `name.owner`, the owner being 32 hex digits or `operator` | `weather.operator` |
//!
//! Two texts are the same name only if their bytes are: there is one spelling, so nothing is folded, trimmed or decoded.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use hypervisor_protocol::PublicKey;
use hypervisor_protocol::owner::{ID_LENGTH, owner_id};
use serde::{Deserialize, Serialize};

use crate::error::NameError;

/// Most bytes of a name: those of a DNS label.
pub const MAX_LENGTH: usize = 63;

/// The owner of the registry's agents, in an address.
const OPERATOR: &str = "operator";

/// What stands in its place for what answers in the host's own name.
const PROTOCOL: &str = "protocol";

/// An agent's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is a name.
fn check(text: &str) -> Result<(), NameError> {
    if text.len() > MAX_LENGTH {
        return Err(NameError::TooLong(text.len()));
    }
    let foreign = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '-');
    if let Some(found) = text.chars().find(foreign) {
        return Err(NameError::Character(found));
    }
    match (text.chars().next(), text.chars().last()) {
        (None, _) | (_, None) => Err(NameError::Empty),
        (Some(found), _) if !found.is_ascii_lowercase() => Err(NameError::Start(found)),
        (_, Some('-')) => Err(NameError::End),
        _ => Ok(()),
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        check(&text).map(|()| Self(text))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose an agent is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The operator's, from the registry.
    Operator,
    /// Nobody's: a component that answers in the host's own name, and is a stranger to every agent. No address is read as its.
    Protocol,
    /// That of whoever holds a key: its id, 32 hex digits in lower case.
    Key(String),
}

impl From<&PublicKey> for Owner {
    fn from(key: &PublicKey) -> Self {
        Self::Key(owner_id(key))
    }
}

impl FromStr for Owner {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        match text {
            OPERATOR => Ok(Self::Operator),
            id if id.len() == 2 * ID_LENGTH && id.bytes().all(is_digit) => {
                Ok(Self::Key(id.to_owned()))
            }
            _ => Err(NameError::Owner),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => OPERATOR,
            Self::Protocol => PROTOCOL,
            Self::Key(id) => id,
        })
    }
}

/// A name with its owner: there is one agent at most that it means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The name.
    pub name: Name,
    /// Whose it is.
    pub owner: Owner,
}

impl Address {
    /// Whether it is that of an agent of the registry.
    pub(crate) fn is_registered(&self) -> bool {
        self.owner == Owner::Operator
    }
}

impl FromStr for Address {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, owner) = text.split_once('.').ok_or(NameError::NoOwner)?;
        Ok(Self {
            name: name.parse()?,
            owner: owner.parse()?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.owner)
    }
}
