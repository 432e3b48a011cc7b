//! `[agents]`: deployed agents, and where they may send requests.

use bytesize::ByteSize;
use hypervisor_agents::Deployers;
use hypervisor_egress::{AllowList, NetworkError, Networks, OriginPattern};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// What `deploy` says where it leaves the answer to `owners`.
const OWNERS: &str = "owners";

/// Most agents, of the host or of one owner.
const MOST_AGENTS: usize = 100_000;

/// Which clients may deploy components of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deploy {
    /// `"owners"`: those that `owners` names, and nobody where it names none.
    #[default]
    Owners,
    /// `true`: those that `owners` names, and everybody where it names none.
    On,
    /// `false`: nobody.
    Off,
}

impl Serialize for Deploy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Owners => serializer.serialize_str(OWNERS),
            Self::On => serializer.serialize_bool(true),
            Self::Off => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Deploy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Deploy;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or \"owners\"")
            }

            fn visit_bool<E>(self, is_on: bool) -> Result<Deploy, E> {
                Ok(if is_on { Deploy::On } else { Deploy::Off })
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Deploy, E> {
                if text == OWNERS {
                    Ok(Deploy::Owners)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// `[agents]`: deployed agents, and where they may send requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agents {
    /// Whether clients may deploy components of their own; by default those that `owners` names. Those of the registry can be
    /// deployed either way.
    pub deploy: Deploy,
    /// Who may: public keys of owners, or their ids, in hex.
    pub owners: Vec<String>,
    /// Agents at once; beyond it a deployment is refused.
    pub deployed: usize,
    /// Agents of one owner at once.
    pub per_owner: usize,
    /// Components and machine code of all agents on the disk, bytes.
    pub stored: ByteSize,
    /// The same, of one owner.
    pub stored_per_owner: ByteSize,
    /// Machine code of agents in memory, bytes; least recently used goes first and comes back from the disk.
    pub loaded: ByteSize,
    /// Origins that agents may reach, as far as their manifests list them: `https://api.example.org`,
    /// `https://*.example.org`; `*` is any. By default none.
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
            deploy: Deploy::default(),
            owners: Vec::new(),
            deployed: 1000,
            per_owner: 100,
            stored: ByteSize::gib(4),
            stored_per_owner: ByteSize::mib(512),
            loaded: ByteSize::mib(512),
            outgoing: Vec::new(),
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
    /// `deploy` and `owners`, read.
    pub fn deployers(&self) -> Deployers {
        deployers(self.deploy, &self.owners)
    }

    /// `outgoing`, read.
    ///
    /// # Errors
    /// The entry that is no origin.
    pub fn allowed(&self) -> Result<AllowList, Error> {
        origins("agents.outgoing", &self.outgoing)
    }

    /// `private_networks` and `denied_networks`, read.
    ///
    /// # Errors
    /// The entry that is not a range.
    pub fn networks(&self) -> Result<Networks, Error> {
        let wrong = |key| {
            move |e: NetworkError| Error::Value {
                key,
                message: e.to_string(),
            }
        };
        Networks::parse(&self.private_networks)
            .map_err(wrong("agents.private_networks"))?
            .without(&self.denied_networks)
            .map_err(wrong("agents.denied_networks"))
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let wrong = |key, message: String| Err(Error::Value { key, message });
        self.allowed()?;
        self.networks()?;
        for (key, value) in [
            ("agents.deployed", self.deployed),
            ("agents.per_owner", self.per_owner),
        ] {
            if value > MOST_AGENTS {
                return wrong(key, format!("{value} is over {MOST_AGENTS}"));
            }
        }
        for (key, value) in [
            ("agents.connections", self.connections),
            ("agents.connections_per_owner", self.connections_per_owner),
            ("agents.connections_per_agent", self.connections_per_agent),
            ("agents.connections_per_call", self.connections_per_call),
        ] {
            if !(1..=100_000).contains(&value) {
                return wrong(key, "must be 1 to 100000".to_owned());
            }
        }
        if !(1..=64).contains(&self.depth) {
            return wrong("agents.depth", "must be 1 to 64".to_owned());
        }
        check_owners("agents.owners", &self.owners)
    }
}

/// Who may, by what the operator says and whom he names.
pub(crate) fn deployers(deploy: Deploy, owners: &[String]) -> Deployers {
    match deploy {
        Deploy::Owners | Deploy::On if !owners.is_empty() => Deployers::Listed(owners.to_vec()),
        Deploy::On => Deployers::Everybody,
        Deploy::Owners | Deploy::Off => Deployers::Nobody,
    }
}

/// Origins that a key of the configuration lists.
pub(crate) fn origins(key: &'static str, origins: &[String]) -> Result<AllowList, Error> {
    let read = |text: &String| {
        let message = |e| format!("`{text}`: {e}");
        text.parse::<OriginPattern>().map_err(message)
    };
    let read: Result<_, String> = origins.iter().map(read).collect();
    read.map_err(|message| Error::Value { key, message })
}

/// Whether owners are named as they can be.
pub(crate) fn check_owners(key: &'static str, owners: &[String]) -> Result<(), Error> {
    let is_hex = |owner: &&String| {
        let digits = owner.strip_prefix("0x").unwrap_or(owner);
        matches!(digits.len(), 32 | 66 | 130) && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    match owners.iter().find(|owner| !is_hex(owner)) {
        Some(owner) => {
            let message = format!("`{owner}` is neither a public key nor an owner's id in hex");
            Err(Error::Value { key, message })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(text: &str) -> Result<Agents, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn nobody_deploys_until_owners_are_named_or_the_operator_says_so() {
        let listed = || Deployers::Listed(vec!["aa".to_owned()]);
        for (text, deployers) in [
            ("", Deployers::Nobody),
            ("deploy = 'owners'", Deployers::Nobody),
            ("deploy = false", Deployers::Nobody),
            ("deploy = true", Deployers::Everybody),
            ("owners = ['aa']", listed()),
            ("owners = ['aa']\ndeploy = true", listed()),
            ("owners = ['aa']\ndeploy = false", Deployers::Nobody),
        ] {
            assert_eq!(agents(text).unwrap().deployers(), deployers, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_it_may_be() {
        let error = agents("deploy = 'everybody'").unwrap_err().to_string();
        assert!(error.contains("true, false or \"owners\""), "{error}");
    }

    #[test]
    fn agents_reach_nothing_until_the_operator_says_so() {
        assert!(Agents::default().outgoing.is_empty());
    }
}
