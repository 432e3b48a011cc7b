//! The row of a node.

use cbor4ii::serde::{from_slice, to_vec};
use hypervisor_store::{KeyId, Row, Table, Under};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::error::Error;
use crate::tag::Tag;

/// The nodes, by their tags.
pub const NODES: Table = Table {
    name: "nodes",
    under: Under::Platform,
};

/// One start of one host in a fleet, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What the ids of its sessions end in.
    pub tag: Tag,
    /// Where others reach it; none where they cannot.
    pub address: Option<Address>,
    /// The version of the host.
    pub host: String,
    /// When it joined, by the database's clock: Unix time, microseconds.
    pub started: u64,
    /// When it was last seen, likewise.
    pub seen: u64,
    /// It takes nothing new, and is about to end.
    pub leaving: bool,
    /// It takes no connections any more: its sessions have ended, and what it began goes on.
    pub closed: bool,
    /// Sessions that it holds.
    pub sessions: u64,
    /// The keys of the fleet that it has, by their ids.
    pub keys: Vec<KeyId>,
    /// Whether it was seen lately enough.
    pub alive: bool,
    /// The version of its row.
    pub(crate) row: u64,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) address: Option<Address>,
    pub(crate) host: String,
    pub(crate) started: u64,
    pub(crate) seen: u64,
    pub(crate) leaving: bool,
    pub(crate) closed: bool,
    pub(crate) sessions: u64,
    pub(crate) keys: Vec<KeyId>,
}

impl Value {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        to_vec(Vec::new(), self).map_err(|error| Error::Form(error.to_string()))
    }

    pub(crate) fn decode(row: &Row) -> Result<Self, Error> {
        from_slice(&row.value).map_err(|error| Error::Form(error.to_string()))
    }

    /// The node whose row this is, at this time.
    pub(crate) fn node(self, tag: Tag, row: u64, (now, dead): (u64, u64)) -> Node {
        Node {
            tag,
            alive: now.saturating_sub(self.seen) < dead,
            address: self.address,
            host: self.host,
            started: self.started,
            seen: self.seen,
            leaving: self.leaving,
            closed: self.closed,
            sessions: self.sessions,
            keys: self.keys,
            row,
        }
    }
}
