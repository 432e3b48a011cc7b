//! The log that a host keeps of what it does, its audit trail: what an entry is, and the documents in which it is proved.
//!
//! ```text
//! entry       = kind, 1 byte ‖ time, Unix milliseconds, u64 BE ‖ digest, 32 bytes
//! origin      = "hypervisor/audit/" ‖ the trail's id, 32 hex digits ‖ "" or "/passing"
//! lp(x)       = length, u32 BE ‖ x
//! ```
//!
//! | kind | what happened | digest |
//! |---|---|---|
//! | 1 | a sealed request was answered | the answer's commitment |
//! | 2 | a plain request to an agent was answered | SHA-256("hypervisor/v1 audit-call" ‖ lp(request id) ‖ lp(address) ‖ lp(component)) |
//! | 3 | a plugin or its rules were swapped | SHA-256("hypervisor/v1 audit-swap" ‖ lp(plugin) ‖ lp(manifest before) ‖ lp(manifest after)) |
//! | 4 | an operator acted by the admin port | SHA-256("hypervisor/v1 audit-admin" ‖ lp(action) ‖ lp(subject)) |
//! | 5, 6 | the host started, or ended in order | SHA-256("hypervisor/v1 audit-start" ‖ lp(identity key)) |
//!
//! The leaf, the tree and its proofs are those of [`crate::tree`], heads are checkpoints ([`crate::checkpoint`]) that the host's identity
//! key signs, and a proof is [`crate::Proof`] with the entry as extra data.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::checkpoint::{SignedCheckpoint, decimal};
use crate::proof::{divided, path_of, write_path};
use crate::tree::{Hash, MAX_PROOF};
use crate::{Error, note};

/// Bytes of an entry.
pub const ENTRY: usize = 41;
/// An entry is in the tree of a head that was signed no later than this after what it is of: the maximum merge delay.
pub const MERGE_DELAY: Duration = Duration::from_secs(1);

const ORIGIN: &str = "hypervisor/audit/";
const PASSING: &str = "/passing";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A sealed request was answered.
    Execution = 1,
    /// A plain request to an agent was answered.
    Call = 2,
    /// A plugin or its rules were swapped.
    Swap = 3,
    /// An operator acted by the admin port.
    Admin = 4,
    /// The host started.
    Start = 5,
    /// The host ended in order: what happened until then is in the trail. A start that does not follow this one says that the host
    /// ended otherwise, and that entries of the last [`MERGE_DELAY`] may be missing.
    Stop = 6,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Execution,
        Self::Call,
        Self::Swap,
        Self::Admin,
        Self::Start,
        Self::Stop,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Call => "call",
            Self::Swap => "swap",
            Self::Admin => "admin",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }

    /// Whether its digest is a commitment to one answer, which is in a trail once.
    pub fn is_commitment(self) -> bool {
        matches!(self, Self::Execution | Self::Call)
    }
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub kind: Kind,
    /// When, by the host's clock, which its operator sets: Unix time, milliseconds.
    pub time: u64,
    /// What it is of.
    pub digest: [u8; 32],
}

impl Entry {
    /// The bytes that are hashed into the leaf.
    pub fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let (kind, rest) = bytes.split_at_mut(1);
        let (time, digest) = rest.split_at_mut(8);
        kind.fill(self.kind as u8);
        time.copy_from_slice(&self.time.to_be_bytes());
        digest.copy_from_slice(&self.digest);
        bytes
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::malformed("entry of an audit trail", reason);
        let bytes: &[u8; ENTRY] = bytes.try_into().map_err(|_| wrong("it has 41 bytes"))?;
        let (kind, rest) = bytes.split_first_chunk::<1>().unwrap_or((&[0], &[]));
        let (time, digest) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let kind = Kind::ALL.into_iter().find(|it| [*it as u8] == *kind);
        Ok(Self {
            kind: kind.ok_or_else(|| wrong("this program does not know its kind"))?,
            time: u64::from_be_bytes(*time),
            digest: digest.try_into().unwrap_or_default(),
        })
    }

    /// The answer to a plain request: the request's id as the header `x-request-id` has it, the agent's address, and the SHA-384 of its
    /// component.
    pub fn call(request_id: &str, address: &str, component: &[u8; 48]) -> [u8; 32] {
        let parts = [request_id.as_bytes(), address.as_bytes(), component];
        digest("hypervisor/v1 audit-call", &parts)
    }

    /// A swap: the plugin's name, and the SHA-384 of the manifest before and after it.
    pub fn swap(plugin: &str, before: &[u8; 48], after: &[u8; 48]) -> [u8; 32] {
        let parts = [plugin.as_bytes(), before, after];
        digest("hypervisor/v1 audit-swap", &parts)
    }

    /// Something that an operator did: its name, and what it was done to.
    pub fn admin(action: &str, subject: &str) -> [u8; 32] {
        let parts = [action.as_bytes(), subject.as_bytes()];
        digest("hypervisor/v1 audit-admin", &parts)
    }

    /// A start or an end of the host with this identity key, in SEC1, compressed.
    pub fn start(identity: &[u8]) -> [u8; 32] {
        digest("hypervisor/v1 audit-start", &[identity])
    }
}

fn digest(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(label);
    for part in parts {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        hasher.update(length.to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The name of a trail: the origin of its heads, and the name of the keys that sign them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Random, made with the trail.
    pub id: [u8; 16],
    /// Whether the trail goes on after a restart of its host. One that does not says so in each head.
    pub is_lasting: bool,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u128::from_be_bytes(self.id);
        let end = if self.is_lasting { "" } else { PASSING };
        write!(f, "{ORIGIN}{id:032x}{end}")
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::malformed("origin of an audit trail", "it names none");
        let rest = text.strip_prefix(ORIGIN).ok_or_else(wrong)?;
        let (id, is_lasting) = match rest.strip_suffix(PASSING) {
            Some(id) => (id, false),
            None => (rest, true),
        };
        let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let is_id = id.len() == 32 && id.bytes().all(lower);
        let id = u128::from_str_radix(id, 16).ok().filter(|_| is_id);
        Ok(Self {
            id: id.ok_or_else(wrong)?.to_be_bytes(),
            is_lasting,
        })
    }
}

/// The most bytes of a proof of consistency.
pub const MAX_CONSISTENCY: usize = note::MAX_LENGTH + MAX_PROOF * 45 + 64;

/// A proof that a tree continues an earlier one: the body that C2SP's witnesses are sent (tlog-witness, `add-checkpoint`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// Entries of the earlier tree.
    pub old: u64,
    /// The proof.
    pub path: Vec<Hash>,
    /// The checkpoint of the later one.
    pub checkpoint: SignedCheckpoint,
}

impl Consistency {
    /// Reads a proof. What it says is worth nothing before it is verified.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "proof of consistency";
        let (head, checkpoint) = divided(WHAT, MAX_CONSISTENCY, bytes)?;
        let wrong = |reason: &str| Error::malformed(WHAT, reason);
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.and_then(decimal);
        let old = old.ok_or_else(|| wrong("its first line is not `old` and a number"))?;
        let path = path_of(lines).map_err(wrong)?;
        Ok(Self {
            old,
            path,
            checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())?,
        })
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        write_path(f, &self.path)?;
        write!(f, "\n{}", self.checkpoint)
    }
}
