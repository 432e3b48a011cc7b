//! One deployed agent, and the terms that it is deployed on.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use hypervisor_egress::AllowList;
use hypervisor_protocol::agent::AgentWorld;
use hypervisor_protocol::{AgentImport, AgentInfo, AgentLog, HexArray};
use hypervisor_runtime::{Action, ActionKind, AgentId, AgentInspection, Limits, granted};
use serde::{Deserialize, Serialize};

use crate::log::Log;
use crate::manifest::Manifest;
use crate::name::{Address, Owner};

/// What the path of a request to an agent begins with.
pub const PREFIX: &str = "/agents/";

/// An agent that is deployed. What changes about it is its log alone.
pub struct Deployed {
    /// Its number in this host.
    pub id: u64,
    /// What was settled when it was deployed.
    pub terms: Terms,
    /// Unix time, microseconds, of the first deployment under this address.
    pub deployed_at: u64,
    /// Whether it survives a restart.
    pub(crate) persistent: bool,
    /// Bytes that it takes in the store.
    pub(crate) stored: u64,
    /// Which deployment it is in the store, once it is there.
    pub(crate) writing: OnceLock<[u8; 16]>,
    /// It came from the registry at the start, and nothing of it is compiled yet.
    pub(crate) is_cold: bool,
    pub(crate) log: Arc<Log>,
}

impl Deployed {
    /// Notes which deployment it is in the store.
    pub(crate) fn is_kept(&self, writing: [u8; 16]) {
        // It is written once.
        let _ = self.writing.set(writing);
    }
}

/// What is settled of an agent before it has code.
pub struct Terms {
    /// Its name and owner.
    pub address: Address,
    /// What its owner says of it.
    pub manifest: Manifest,
    /// SHA-256 of the component.
    pub digest: [u8; 32],
    /// SHA-384 of the component.
    pub sha384: [u8; 48],
    /// Its limits: the host's, with its own in their place.
    pub limits: Limits,
    pub(crate) about: About,
    /// The origins of its manifest.
    pub(crate) listed: AllowList,
}

/// What was found out about a component. Kept with it, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) world: AgentWorld,
    pub(crate) imports: Vec<AgentImport>,
    /// Names of what is granted, for log and policy.
    pub(crate) granted: Vec<String>,
}

impl From<AgentInspection> for About {
    fn from(inspection: AgentInspection) -> Self {
        let granted = granted(&inspection.imports);
        let imports = inspection.imports.into_iter().map(|import| AgentImport {
            standing: import.standing.to_string(),
            host_version: import.host_version.map(str::to_owned),
            name: import.name,
        });
        Self {
            world: inspection.world,
            granted,
            imports: imports.collect(),
        }
    }
}

impl Terms {
    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.address.owner
    }

    /// Whether it is run like a program, and needs the whole request first.
    pub fn is_command(&self) -> bool {
        self.about.world == AgentWorld::Command
    }

    /// What a policy is asked about it. `resource` is what is done with it.
    pub fn action(&self, kind: ActionKind, resource: impl Into<Cow<'static, str>>) -> Action {
        let imports = self.about.imports.iter().map(|it| it.name.clone());
        Action {
            agent: Some(self.id()),
            imports: imports.collect(),
            ..Action::new(kind, self.digest, resource)
        }
    }

    /// What a policy knows it by.
    pub fn id(&self) -> AgentId {
        AgentId {
            name: self.address.name.to_string(),
            owner: self.address.owner.to_string(),
            address: self.address.to_string(),
        }
    }

    /// The name that the component log has for it.
    pub(crate) fn name_in_log(&self) -> String {
        if *self.owner() == Owner::Protocol {
            format!("protocol/{}", self.address.name)
        } else if self.manifest.private {
            "agent/private".to_owned()
        } else {
            format!("agent/{}", self.address)
        }
    }
}

impl Deployed {
    /// What it wrote.
    pub fn log(&self) -> AgentLog {
        self.log.read()
    }

    /// What may be said of it. `reference` is the shortest name that it has.
    pub(crate) fn info(&self, reference: &str) -> AgentInfo {
        let Terms {
            address, manifest, ..
        } = &self.terms;
        AgentInfo {
            name: address.name.to_string(),
            address: address.to_string(),
            path: format!("{PREFIX}{reference}/"),
            description: manifest.description.clone(),
            version: manifest.version.clone(),
            world: self.terms.about.world,
            skills: manifest.skills.clone(),
            private: manifest.private,
            price: manifest.price.clone(),
            digest: HexArray(self.terms.digest),
            sha384: HexArray(self.terms.sha384),
            outgoing: manifest.outgoing.clone(),
            reuse: manifest.reuse,
            imports: self.terms.about.imports.clone(),
            persistent: self.persistent,
            note: (!self.persistent).then(|| {
                "this platform gives the host no sealing key, so a restart of the host ends the agent"
                    .to_owned()
            }),
            tool: manifest.tool.clone(),
            deployed_at: self.deployed_at / 1_000_000,
        }
    }
}
