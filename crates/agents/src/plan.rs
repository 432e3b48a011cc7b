//! Planning a deployment: every check that needs no compiler.

use std::sync::Arc;

use hypervisor_protocol::{PublicKey, Rejection};
use hypervisor_runtime::{AgentInspection, Client, Exit, PrepareError, sha256};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use crate::agents::Agents;
use crate::deploy::stored;
use crate::deployed::{Deployed, Terms};
use crate::error::{RegistryError, rejected, words};
use crate::manifest::Manifest;
use crate::name::{Address, Name, Owner};
use crate::surroundings::Event;

/// An agent that passed every check that needs no compiler.
pub struct Plan {
    /// What is settled of it.
    pub terms: Terms,
    /// Its component.
    pub component: Vec<u8>,
    /// None for the operator.
    pub(crate) owner: Option<PublicKey>,
    pub(crate) manifest_text: Zeroizing<String>,
    /// The network that it comes from; none where the registry has it.
    pub(crate) from: Option<String>,
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

impl Agents {
    /// Checks all that needs no compiler. `from` names the network that the request came from.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn plan(
        &self,
        from: &str,
        owner: &PublicKey,
        component: Vec<u8>,
        manifest: &[u8],
    ) -> Result<Plan, PrepareError> {
        let plan = self.planned(from, owner, component, manifest).await;
        plan.inspect_err(|_| self.host.note(Event::Refused))
    }

    async fn planned(
        &self,
        from: &str,
        key: &PublicKey,
        component: Vec<u8>,
        text: &[u8],
    ) -> Result<Plan, PrepareError> {
        let owner = Owner::from(key);
        if !self.settings.deployers.include(key) {
            let detail = format!(
                "this host's operator does not let this owner deploy; the id to be named in [agents] `owners`, unless `deploy` is false, is {owner}"
            );
            return Err(rejected(Rejection::NotOwner, detail).into());
        }
        let invalid = |detail| rejected(Rejection::InvalidManifest, detail);
        let manifest = Manifest::parse(text).map_err(|e| invalid(e.to_string()))?;
        // What was parsed is UTF-8, so nothing is replaced.
        let manifest_text = Zeroizing::new(String::from_utf8_lossy(text).into_owned());
        let client = Client::of(from.as_bytes(), owner.to_string().as_bytes());
        let inspection = self.executor.inspect_agent(client, &component).await?;
        let check = || self.checked(owner, manifest, inspection, &component);
        let plan = Plan {
            terms: tokio::task::block_in_place(check)?,
            component,
            owner: Some(key.clone()),
            manifest_text,
            from: Some(from.to_owned()),
        };
        self.room_for(&plan.terms.address, plan.stored())?;
        Ok(plan)
    }

    /// The same for an agent of the registry.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn plan_registered(&self, name: &str) -> Result<Plan, Refused> {
        let name: Name = name.parse().map_err(|_| Refused::Unknown)?;
        let found = self.catalog.load(&name).map_err(|error| match error {
            RegistryError::NotFound(_) => Refused::Unknown,
            other => Refused::Unfit(self.catalog.without_folder(&other)),
        })?;
        let unfit = |exit: Exit| {
            self.host.note(Event::Refused);
            Refused::Unfit(words(&exit))
        };
        let inspection = self.executor.inspect_registered(&found.component);
        let terms = inspection
            .and_then(|it| self.checked(Owner::Operator, found.manifest, it, &found.component));
        let plan = Plan {
            terms: terms.map_err(unfit)?,
            component: found.component,
            owner: None,
            manifest_text: found.manifest_text,
            from: None,
        };
        let there = self.set().get(&plan.terms.address).cloned();
        let is_the_same = |there: &Arc<Deployed>| {
            let (there, plan) = (&there.terms, &plan.terms);
            there.digest == plan.digest && there.manifest == plan.manifest
        };
        if let Some(there) = there.filter(is_the_same) {
            return Err(Refused::There(there));
        }
        self.room_for(&plan.terms.address, plan.stored())
            .map_err(unfit)?;
        Ok(plan)
    }

    fn checked(
        &self,
        owner: Owner,
        manifest: Manifest,
        inspection: AgentInspection,
        component: &[u8],
    ) -> Result<Terms, Exit> {
        if manifest.world.is_some_and(|it| it != inspection.world) {
            let detail = "`world` in the manifest is not what the component exports: a service exports wasi:http/incoming-handler, a command wasi:cli/run";
            return Err(rejected(Rejection::WrongWorld, detail));
        }
        let digests = (sha256(component), Sha384::digest(component).into());
        self.terms(owner, manifest, inspection.into(), digests)
            .map_err(|detail| rejected(Rejection::InvalidManifest, detail))
    }

    /// Whether machine code of this size can be in memory at all.
    pub(crate) fn fits(&self, code: usize) -> Result<(), Exit> {
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
    pub(crate) fn room_for(&self, address: &Address, stored: u64) -> Result<(), Exit> {
        let (set, settings) = (self.set(), &self.settings);
        let is_new = set.get(address).is_none();
        let (mut all, mut own) = ((0, stored), (0, stored));
        for other in set.all().filter(|it| it.terms.address != *address) {
            let with = |(agents, bytes): (usize, u64)| {
                (agents.saturating_add(1), bytes.saturating_add(other.stored))
            };
            all = with(all);
            if *other.terms.owner() == address.owner {
                own = with(own);
            }
        }
        let detail = if all.1 > settings.stored.as_u64() {
            format!(
                "the host's agents would take {} bytes, and the operator allows {} ([agents] `stored`)",
                all.1, settings.stored
            )
        } else if is_new && all.0 >= settings.deployed {
            format!(
                "the host has {} agents, as many as its operator allows ([agents] `deployed`)",
                all.0
            )
        } else if address.owner == Owner::Operator {
            return Ok(());
        } else if own.1 > settings.stored_per_owner.as_u64() {
            format!(
                "this owner's agents would take {} bytes, and the operator allows {} ([agents] `stored_per_owner`); remove one",
                own.1, settings.stored_per_owner
            )
        } else if is_new && own.0 >= settings.per_owner {
            format!(
                "this owner has {} agents, as many as the operator allows ([agents] `per_owner`); remove one",
                own.0
            )
        } else {
            return Ok(());
        };
        Err(rejected(Rejection::TooManyAgents, detail))
    }
}

impl Plan {
    /// Bytes that it takes in the store at the least: the machine code is not there yet.
    pub(crate) fn stored(&self) -> u64 {
        stored(self.component.len(), 0, self.manifest_text.len())
    }
}
