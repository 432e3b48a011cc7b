//! `[agents]`: deployed agents, and where they may send requests.

use bytesize::ByteSize;
use hypervisor_egress::{AllowList, NetworkError, Networks, OriginPattern};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// `[agents]`: deployed agents, and where they may send requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agents {
    /// Whether clients may deploy components of their own. Those of the registry can be deployed either way.
    pub deploy: bool,
    /// Who may: public keys of owners, or their ids, in hex; everybody where the list is empty.
    pub owners: Vec<String>,
    /// Agents at once; beyond it a deployment is refused.
    pub deployed: usize,
    /// Agents of one owner at once.
    pub per_owner: usize,
    /// Machine code of agents in memory, bytes; least recently used goes first and comes back from the disk.
    pub loaded: ByteSize,
    /// Origins that agents may reach at all, beside what their manifests say: `https://api.example.org`,
    /// `https://*.example.org`; `*` is any.
    pub outgoing: Vec<String>,
    /// Networks that agents may reach although they are private, as CIDR ranges: `10.1.0.0/16`.
    pub private_networks: Vec<String>,
    /// Networks that they may not reach although they are public: the host's own public address, where the machine does not know
    /// it itself.
    pub denied_networks: Vec<String>,
    /// Connections that all agents may have open at once; beyond it a request is refused.
    pub connections: usize,
    /// The same for the agents of one owner.
    pub connections_per_owner: usize,
    /// For one agent.
    pub connections_per_agent: usize,
    /// For one call of an agent.
    pub connections_per_call: usize,
    /// Agents in a chain, where agents call agents.
    pub depth: usize,
    /// What is kept of an agent's output, for its owner, bytes.
    pub log: ByteSize,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            deploy: true,
            owners: Vec::new(),
            deployed: 1000,
            per_owner: 100,
            loaded: ByteSize::mib(512),
            outgoing: vec!["*".to_owned()],
            private_networks: Vec::new(),
            denied_networks: Vec::new(),
            connections: 1024,
            connections_per_owner: 256,
            connections_per_agent: 64,
            connections_per_call: 16,
            depth: 8,
            log: ByteSize::kib(64),
        }
    }
}

impl Agents {
    /// `outgoing`, read.
    ///
    /// # Errors
    /// The entry that is no origin.
    pub fn allowed(&self) -> Result<AllowList, Error> {
        self.outgoing
            .iter()
            .map(|text| text.parse::<OriginPattern>())
            .collect::<Result<_, _>>()
            .map_err(|e| Error::ConfigValue {
                key: "agents.outgoing",
                message: e.to_string(),
            })
    }

    /// `private_networks` and `denied_networks`, read.
    ///
    /// # Errors
    /// The entry that is not a range.
    pub fn networks(&self) -> Result<Networks, Error> {
        let wrong = |key| {
            move |e: NetworkError| Error::ConfigValue {
                key,
                message: e.to_string(),
            }
        };
        Networks::parse(&self.private_networks)
            .map_err(wrong("agents.private_networks"))?
            .without(&self.denied_networks)
            .map_err(wrong("agents.denied_networks"))
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let wrong = |key, message: String| Err(Error::ConfigValue { key, message });
        self.allowed()?;
        self.networks()?;
        for (key, value) in [
            ("agents.deployed", self.deployed),
            ("agents.per_owner", self.per_owner),
        ] {
            if value > 100_000 {
                return wrong(key, format!("{value} is over 100000"));
            }
        }
        for (key, value) in [
            ("agents.connections", self.connections),
            ("agents.connections_per_owner", self.connections_per_owner),
            ("agents.connections_per_agent", self.connections_per_agent),
            ("agents.connections_per_call", self.connections_per_call),
        ] {
            if !(1..=100_000).contains(&value) {
                return wrong(key, format!("{value} is outside 1 to 100000"));
            }
        }
        if !(1..=64).contains(&self.depth) {
            return wrong("agents.depth", format!("{} is outside 1 to 64", self.depth));
        }
        let is_hex = |owner: &&String| {
            let digits = owner.strip_prefix("0x").unwrap_or(owner);
            matches!(digits.len(), 32 | 66 | 130) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        };
        match self.owners.iter().find(|owner| !is_hex(owner)) {
            Some(owner) => wrong(
                "agents.owners",
                format!("`{owner}` is neither a public key nor an owner's id in hex"),
            ),
            None => Ok(()),
        }
    }
}
