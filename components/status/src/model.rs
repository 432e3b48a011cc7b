//! The document that the page is made of. What a newer host says beside it is left out, and what an older one does not say is empty.

use serde::Deserialize;

use crate::error::Error;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    pub(crate) status: Status,
    /// Goes back with what the page changes: a page of somebody else's does not know it.
    pub(crate) csrf: String,
    /// Of the one style that the browser takes.
    pub(crate) nonce: String,
}

impl Document {
    pub(crate) fn read(text: &[u8]) -> Result<Self, Error> {
        Ok(serde_json::from_slice(text)?)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) started_at: u64,
    pub(crate) now: u64,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) listening: String,
    pub(crate) level: String,
    pub(crate) attestation: Attestation,
    pub(crate) manifest_sha384: Option<String>,
    pub(crate) log_entries: u64,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) in_use: Vec<InUse>,
    pub(crate) sessions: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) recent: Vec<Recent>,
    pub(crate) owners: Vec<Owner>,
    /// None where the host is alone.
    pub(crate) fleet: Option<Fleet>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Fleet {
    pub(crate) tag: String,
    pub(crate) takeovers: u64,
    pub(crate) forwarded: u64,
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) tag: String,
    pub(crate) address: Option<String>,
    pub(crate) version: String,
    pub(crate) state: String,
    pub(crate) started_at: u64,
    pub(crate) seen_at: u64,
    pub(crate) sessions: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Attestation {
    pub(crate) backend: String,
    pub(crate) simulated: bool,
    pub(crate) collateral_expires_at: Option<u64>,
    pub(crate) waiting: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) sha384: String,
    pub(crate) rules_sha256: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct InUse {
    pub(crate) name: String,
    pub(crate) used: u64,
    pub(crate) most: u64,
    pub(crate) full_since: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Step {
    pub(crate) step: String,
    pub(crate) count: u64,
    pub(crate) half_us: u64,
    pub(crate) most_us: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Sample {
    pub(crate) runs: u64,
    pub(crate) refused: u64,
    pub(crate) half_us: u64,
    pub(crate) most_us: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Recent {
    pub(crate) at: u64,
    pub(crate) kind: String,
    pub(crate) outcome: String,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) cpu_us: u64,
    pub(crate) wall_us: u64,
    pub(crate) peak_memory_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    pub(crate) owner: String,
    pub(crate) agents: Vec<Agent>,
    pub(crate) environments: u64,
    pub(crate) environment_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Agent {
    pub(crate) address: String,
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) private: bool,
    pub(crate) deployed_at: u64,
}
