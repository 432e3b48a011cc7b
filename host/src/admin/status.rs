//! What a host says of itself to its operator, in one document: for `hypervisor-ctl` and for the page. It has names of agents and
//! ids of owners, and of what clients do sizes, times and classes.

use std::collections::BTreeMap;

use hypervisor_telemetry as telemetry;
use hypervisor_telemetry::metrics::history::{self, Recent, Sample};
use hypervisor_telemetry::metrics::{self, StepTimes};
use serde::{Deserialize, Serialize};

use super::fleet::Fleet;
use crate::attestation::now;
use crate::executor::{HostIdentity, Surroundings};
use crate::manifest::hex;
use crate::pipeline::Host;

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the host.
    pub version: String,
    /// When it started: Unix time, seconds.
    pub started_at: u64,
    /// When this was written: Unix time, seconds.
    pub now: u64,
    /// `ready`, `not-ready` or `draining`.
    pub state: String,
    /// Why it is not ready; none where it is.
    pub reason: Option<String>,
    /// Where clients reach it.
    pub listening: String,
    /// Log levels.
    pub level: String,
    /// What makes evidence.
    pub attestation: Attestation,
    /// SHA-384 of the manifest, hex; none where nothing attests.
    pub manifest_sha384: Option<String>,
    /// Entries of the component log.
    pub log_entries: u64,
    /// The plugins in use.
    pub plugins: Vec<Plugin>,
    /// What there is room for, and how much of it is taken.
    pub in_use: Vec<InUse>,
    /// Sessions that are held.
    pub sessions: u64,
    /// How long the steps of the pipeline took since the start.
    pub steps: Vec<StepTimes>,
    /// The last minutes, oldest first.
    pub samples: Vec<Sample>,
    /// The last sealed requests, newest first.
    pub recent: Vec<Recent>,
    /// What each owner has here.
    pub owners: Vec<Owner>,
    /// The nodes of the fleet; none where the host is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
}

/// What makes evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// The backend: `none` where nothing attests.
    pub backend: String,
    /// Whether what it makes proves nothing.
    pub simulated: bool,
    /// When the collateral expires, Unix time in seconds; none where the host has none.
    pub collateral_expires_at: Option<u64>,
    /// What waits for a quote.
    pub waiting: u64,
}

/// A plugin in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// What it is: `policy`, `payments`, a language, or the name of what answers in the host's own name.
    pub name: String,
    /// SHA-384 of the component, hex.
    pub sha384: String,
    /// SHA-256 of its rules, hex; none for what has none.
    pub rules_sha256: Option<String>,
}

/// Something that there is room for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// What: `slots`, `queue`, `bytes`, `errands` or `turns`.
    pub name: String,
    /// How much is taken.
    pub used: u64,
    /// How much there is.
    pub most: u64,
    /// Since when all of it has been taken, Unix time in seconds; none where there was room a moment ago.
    pub full_since: Option<u64>,
}

/// What an owner has on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The id of the owner's key; `operator` for agents of the registry.
    pub owner: String,
    /// Agents, private ones too.
    pub agents: Vec<Agent>,
    /// Environments.
    pub environments: u64,
    /// Bytes of their memory that are kept.
    pub environment_bytes: u64,
}

/// A deployed agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// `name.owner`, by which it can be taken down.
    pub address: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// Whether only its owner may know of it.
    pub private: bool,
    /// When it was deployed: Unix time, seconds.
    pub deployed_at: u64,
}

impl Status {
    /// Of a host that runs.
    pub(crate) fn of(host: &Host) -> Self {
        let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        let reason = host.not_ready();
        let HostIdentity {
            backend, simulated, ..
        } = Surroundings::identity(host.facts());
        let waiting = host.quotes_waiting().unwrap_or_default();
        let in_hand = host.account().in_hand().into_iter();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: host.started_at(),
            now: now(),
            state: match (reason, host.drain().is_on()) {
                (None, _) => "ready",
                (Some(_), false) => "not-ready",
                (Some(_), true) => "draining",
            }
            .to_owned(),
            reason: reason.map(str::to_owned),
            listening: host.config().listening.to_string(),
            level: telemetry::levels(),
            attestation: Attestation {
                backend,
                simulated,
                collateral_expires_at: host.collateral_expires_at(),
                waiting: waiting.iter().map(|(_, waiting)| number(*waiting)).sum(),
            },
            manifest_sha384: host.manifest_sha384(),
            log_entries: host.facts().log().length(),
            plugins: plugins(host),
            in_use: in_hand
                .map(|it| InUse {
                    name: it.name.to_owned(),
                    used: it.used,
                    most: it.most,
                    full_since: history::full_since(it.name),
                })
                .collect(),
            sessions: number(host.sessions().count()),
            steps: metrics::steps(),
            samples: history::samples(),
            recent: history::recent(),
            owners: owners(host),
            fleet: Fleet::of(host),
        }
    }
}

fn plugins(host: &Host) -> Vec<Plugin> {
    let snapshot = host.snapshot();
    let rules = snapshot.plugins.policy();
    let rules = rules.map(|policy| hex(policy.rules_digest()));
    let of = |name: &str, sha384: String| Plugin {
        name: name.to_owned(),
        sha384,
        rules_sha256: rules.clone().filter(|_| name == "policy"),
    };
    let loaded = snapshot.plugins.loaded();
    let loaded = (loaded.iter()).map(|plugin| of(plugin.name(), plugin.sha384().to_owned()));
    let fronts = (host.fronts().loaded()).map(|(name, sha384)| of(name, hex(&sha384)));
    let page = (host.page().sha384()).map(|sha384| of("status", hex(&sha384)));
    loaded.chain(fronts).chain(page).collect()
}

fn owners(host: &Host) -> Vec<Owner> {
    let mut owners = BTreeMap::<String, Owner>::new();
    for agent in host.agents().all().agents {
        let owner = agent.address.rsplit('.').next().unwrap_or_default();
        let known = owners.entry(owner.to_owned()).or_default();
        known.agents.push(Agent {
            name: agent.name.clone(),
            address: agent.address.clone(),
            version: agent.version.clone(),
            digest: agent.digest.to_string(),
            private: agent.private,
            deployed_at: agent.deployed_at,
        });
    }
    let environments = host.environments().map(|it| it.by_owner());
    for (owner, count, bytes) in environments.unwrap_or_default() {
        let known = owners.entry(owner).or_default();
        (known.environments, known.environment_bytes) = (count, bytes);
    }
    let named = |(owner, known)| Owner { owner, ..known };
    owners.into_iter().map(named).collect()
}
