//! Planning a deployment: every check that needs no compiler.

use std::sync::Arc;

use hypervisor_agents::{Address, Manifest, Name, Owner, RegistryError};
use hypervisor_protocol::{HexBytes, PublicKey, Rejection};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use super::Agents;
use super::deploy::stored;
use super::deployed::{About, Deployed};
use super::terms::{Terms, limits, listed};
use crate::executor::{AgentInspection, Client, Exit, PrepareError, sha256};
use crate::metrics;

/// An agent that passed every check that needs no compiler.
pub struct Plan {
    pub(super) terms: Terms,
    /// None for the operator.
    pub(super) owner: Option<PublicKey>,
    pub(super) manifest_text: Zeroizing<String>,
    pub(super) component: Vec<u8>,
}

impl Plan {
    /// The address that it gets.
    pub fn address(&self) -> &Address {
        &self.terms.address
    }

    /// SHA-256 of the component.
    pub fn digest(&self) -> &[u8; 32] {
        &self.terms.digest
    }

    /// Interfaces that it imports.
    pub fn import_names(&self) -> Vec<String> {
        self.terms.about.import_names()
    }

    /// Bytes that it takes in the store at the least: the machine code is not there yet.
    fn stored(&self) -> u64 {
        stored(self.component.len(), 0, self.manifest_text.len())
    }

    /// Bytes of the component.
    pub fn component_bytes(&self) -> usize {
        self.component.len()
    }
}

/// Why an agent of the registry is not deployed.
pub enum Refused {
    /// It is deployed already, and the registry's is no other.
    There(Arc<Deployed>),
    /// The registry has none of this name.
    Unknown,
    /// Something is wrong with it.
    Unfit(String),
}

/// Words for an end that is no success.
pub fn words(exit: &Exit) -> String {
    match exit {
        Exit::Rejected { detail, .. } => detail.clone(),
        Exit::Denied { reason } | Exit::Trap { reason } => reason.clone(),
        Exit::Limit {
            which,
            used,
            allowed,
        } => format!("it reaches the limit {which:?}: {used} of {allowed}"),
        Exit::Ok | Exit::Code { .. } => "it cannot be deployed".to_owned(),
    }
}

pub(super) fn rejected(problem: Rejection, detail: impl Into<String>) -> Exit {
    metrics::deploy("refused");
    Exit::Rejected {
        problem,
        detail: detail.into(),
    }
}

impl Agents {
    /// Checks all that needs no compiler.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn plan(
        &self,
        owner: &PublicKey,
        component: Vec<u8>,
        manifest: &[u8],
    ) -> Result<Plan, PrepareError> {
        let id = Owner::from(owner);
        if !self.may_deploy(owner, &id) {
            let detail = format!(
                "this host's operator does not let this owner deploy; the id to be named in [agents] `owners`, unless `deploy` is false, is {id}"
            );
            return Err(rejected(Rejection::NotOwner, detail).into());
        }
        let invalid = |detail: String| rejected(Rejection::InvalidManifest, detail);
        let text = str::from_utf8(manifest)
            .map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|_| invalid("the manifest is not UTF-8".to_owned()))?;
        let manifest = Manifest::parse(manifest).map_err(|e| invalid(e.to_string()))?;
        let client = Client::of(id.to_string().as_bytes());
        let inspection = self.executor.inspect_agent(client, &component).await?;
        let check = || self.check(Some(owner), id, manifest, text, component, inspection);
        let plan = tokio::task::block_in_place(check)?;
        self.room_for(&plan.terms.address, plan.stored())?;
        Ok(plan)
    }

    /// The same for an agent of the registry.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn plan_registered(&self, name: &str) -> Result<Plan, Refused> {
        let name: Name = name.parse().map_err(|_| Refused::Unknown)?;
        let found = self
            .registry
            .load(&name, self.limits.body.as_u64())
            .map_err(|error| match error {
                RegistryError::NotFound { .. } => Refused::Unknown,
                other => Refused::Unfit(self.catalog.without_folder(&other)),
            })?;
        let unfit = |exit: Exit| Refused::Unfit(words(&exit));
        let inspection = self
            .executor
            .inspect_registered(&found.component)
            .map_err(unfit)?;
        let plan = self
            .check(
                None,
                Owner::Operator,
                found.manifest,
                found.manifest_text,
                found.component,
                inspection,
            )
            .map_err(unfit)?;
        let there = self.set().get(&plan.terms.address).cloned();
        match there {
            Some(there)
                if there.terms.digest == plan.terms.digest
                    && there.terms.manifest == plan.terms.manifest =>
            {
                Err(Refused::There(there))
            }
            _ => self
                .room_for(&plan.terms.address, plan.stored())
                .map(|()| plan)
                .map_err(unfit),
        }
    }

    /// Whether this owner may deploy, and keep what is deployed.
    pub(super) fn may_deploy(&self, owner: &PublicKey, id: &Owner) -> bool {
        let listed = |entry: &String| {
            let entry = entry.strip_prefix("0x").unwrap_or(entry).to_lowercase();
            entry == id.to_string()
                || entry
                    .parse::<HexBytes>()
                    .is_ok_and(|bytes| owner.is_sec1(&bytes.0))
        };
        let owners = &self.settings.owners;
        self.settings.takes_deployments() && (owners.is_empty() || owners.iter().any(listed))
    }

    /// Whether machine code of this size can be in memory at all.
    pub(super) fn fits(&self, code: usize) -> Result<(), Exit> {
        let most = self.settings.loaded;
        if u64::try_from(code).is_ok_and(|code| code <= most.as_u64()) {
            return Ok(());
        }
        let detail = format!(
            "its machine code has {code} bytes, more than the {most} that the operator allows for all agents ([agents] `loaded`)"
        );
        Err(rejected(Rejection::TooManyAgents, detail))
    }

    /// Whether there is room for one more, of this owner, that takes `stored` bytes: in place of one of the same address, if
    /// there is one.
    pub(super) fn room_for(&self, address: &Address, stored: u64) -> Result<(), Exit> {
        let set = self.set();
        let full = |detail: String| Err(rejected(Rejection::TooManyAgents, detail));
        let (mut of_all, mut of_owner) = (stored, stored);
        for other in set.all().filter(|other| other.address() != address) {
            of_all = of_all.saturating_add(other.stored);
            if *other.owner() == address.owner {
                of_owner = of_owner.saturating_add(other.stored);
            }
        }
        let (most, of_each) = (self.settings.stored, self.settings.stored_per_owner);
        if of_all > most.as_u64() {
            return full(format!(
                "the host's agents would take {of_all} bytes, and the operator allows {most} ([agents] `stored`)"
            ));
        }
        if address.owner != Owner::Operator && of_owner > of_each.as_u64() {
            return full(format!(
                "this owner's agents would take {of_owner} bytes, and the operator allows {of_each} ([agents] `stored_per_owner`); remove one"
            ));
        }
        if set.get(address).is_some() {
            return Ok(());
        }
        if set.len() >= self.settings.deployed {
            return full(format!(
                "the host has {} agents, as many as its operator allows ([agents] `deployed`)",
                set.len()
            ));
        }
        let own = set
            .all()
            .filter(|agent| *agent.owner() == address.owner)
            .count();
        if address.owner != Owner::Operator && own >= self.settings.per_owner {
            return full(format!(
                "this owner has {own} agents, as many as the operator allows ([agents] `per_owner`); remove one"
            ));
        }
        Ok(())
    }

    fn check(
        &self,
        owner: Option<&PublicKey>,
        id: Owner,
        manifest: Manifest,
        manifest_text: Zeroizing<String>,
        component: Vec<u8>,
        inspection: AgentInspection,
    ) -> Result<Plan, Exit> {
        let invalid = |detail: String| rejected(Rejection::InvalidManifest, detail);
        if manifest
            .world
            .is_some_and(|world| world != inspection.world)
        {
            let detail = "`world` in the manifest is not what the component exports: a service exports wasi:http/incoming-handler, a command wasi:cli/run";
            return Err(rejected(Rejection::WrongWorld, detail));
        }
        let limits = limits(&manifest, &self.limits).map_err(invalid)?;
        let listed = listed(&manifest).map_err(invalid)?;
        let offers = self.priced(&manifest).map_err(invalid)?;
        let terms = Terms {
            address: Address {
                name: manifest.name.clone(),
                owner: id,
            },
            digest: sha256(&component),
            sha384: Sha384::digest(&component).into(),
            about: About::new(inspection.world, &inspection.imports),
            limits,
            listed: Arc::new(listed),
            offers,
            manifest,
        };
        Ok(Plan {
            terms,
            owner: owner.cloned(),
            manifest_text,
            component,
        })
    }
}
