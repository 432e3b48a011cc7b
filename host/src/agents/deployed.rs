//! One deployed agent.

use std::sync::{Arc, PoisonError, RwLock};

use hypervisor_agents::{Address, Owner};
use hypervisor_protocol::agent::AgentWorld;
use hypervisor_protocol::{AgentImport, AgentInfo, AgentLog, HexArray};
use serde::{Deserialize, Serialize};

use super::PREFIX as AGENTS_PREFIX;
use super::log::Log;
use super::terms::Terms;
use crate::executor::{Import, Offer, granted};

/// An agent that is deployed. What changes about it is its log, and whether its code is in memory.
pub struct Deployed {
    pub(super) id: u64,
    pub(super) terms: Terms,
    /// Unix time, microseconds, of the first deployment under this address.
    pub(super) deployed_at: u64,
    pub(super) code: RwLock<Code>,
    pub(super) persistence: Persistence,
    /// Bytes that it takes in the store.
    pub(super) stored: u64,
    pub(super) log: Arc<Log>,
}

/// What was found out about a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) world: AgentWorld,
    pub(super) imports: Vec<AgentImport>,
    /// Names of what is granted, for log and policy.
    pub(super) granted: Vec<String>,
}

impl About {
    pub(super) fn new(world: AgentWorld, imports: &[Import]) -> Self {
        Self {
            world,
            granted: granted(imports),
            imports: imports
                .iter()
                .map(|import| AgentImport {
                    name: import.name.clone(),
                    standing: import.standing.to_string(),
                    host_version: import.host_version.map(str::to_owned),
                })
                .collect(),
        }
    }

    /// Names of what it imports.
    pub(super) fn import_names(&self) -> Vec<String> {
        self.imports
            .iter()
            .map(|import| import.name.clone())
            .collect()
    }
}

/// Where an agent's machine code is to be had.
#[derive(Clone)]
pub(super) enum Code {
    /// Here, until it is in the store.
    Memory(Arc<[u8]>),
    /// In the store.
    Store,
    /// It is to be compiled from the registry's component.
    Registry,
}

/// Whether an agent survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It is sealed on the disk.
    Sealed,
    /// It is in the registry.
    Registry,
    /// It ends with the host: the platform gives no key that would outlive it.
    Process,
}

impl Deployed {
    /// Its number in this host.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its name and owner.
    pub fn address(&self) -> &Address {
        &self.terms.address
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.terms.address.owner
    }

    /// SHA-256 of the component.
    pub fn digest(&self) -> &[u8; 32] {
        &self.terms.digest
    }

    /// SHA-384 of the component.
    pub fn sha384(&self) -> &[u8; 48] {
        &self.terms.sha384
    }

    /// Interfaces that it imports.
    pub fn import_names(&self) -> Vec<String> {
        self.terms.about.import_names()
    }

    /// What it does.
    pub fn description(&self) -> &str {
        &self.terms.manifest.description
    }

    /// What a call costs; none where it is free.
    pub fn offers(&self) -> Option<&Arc<[Offer]>> {
        self.terms.offers.as_ref()
    }

    /// Whether it is run like a program, and needs the whole request first.
    pub fn is_command(&self) -> bool {
        self.terms.about.world == AgentWorld::Command
    }

    /// Bytes of one answer that is kept whole.
    pub fn output_limit(&self) -> u64 {
        self.terms.limits.output.as_u64()
    }

    /// What it wrote.
    pub fn log(&self) -> AgentLog {
        self.log.read()
    }

    pub(super) fn code(&self) -> Code {
        let code = self.code.read().unwrap_or_else(PoisonError::into_inner);
        code.clone()
    }

    pub(super) fn set_code(&self, code: Code) {
        *self.code.write().unwrap_or_else(PoisonError::into_inner) = code;
    }

    /// What may be said of it. `reference` is the shortest name that it has.
    pub(super) fn info(&self, reference: &str) -> AgentInfo {
        let manifest = &self.terms.manifest;
        AgentInfo {
            name: self.terms.address.name.to_string(),
            address: self.terms.address.to_string(),
            path: format!("{AGENTS_PREFIX}{reference}/"),
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
            persistent: self.persistence != Persistence::Process,
            note: (self.persistence == Persistence::Process).then(|| {
                "this platform gives the host no sealing key, so a restart of the host ends the agent"
                    .to_owned()
            }),
            deployed_at: self.deployed_at / 1_000_000,
        }
    }
}
