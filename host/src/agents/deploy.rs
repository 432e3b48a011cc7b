//! Deploying and removing: checked first, then compiled, measured, kept and switched in, in that order.

use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hypervisor_agents::{Address, Manifest, Name, Owner, RegistryError};
use hypervisor_egress::{AllowList, OriginPattern};
use hypervisor_protocol::{AgentInfo, HexBytes, PublicKey, Rejection};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use super::Agents;
use super::deployed::{About, Code, Deployed, Persistence, Plan, name_in_log};
use super::log::Log;
use crate::config::Limits;
use crate::error::Error;
use crate::executor::{Exit, Offer, PrepareError, micros, sha256};
use crate::metrics;

/// Entries of the component log that deployments leave for swaps, and for loading what is deployed.
const RESERVED_ENTRIES: usize = 256;

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

fn rejected(problem: Rejection, detail: impl Into<String>) -> Exit {
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
    pub fn plan(
        &self,
        owner: &PublicKey,
        component: Vec<u8>,
        manifest: &[u8],
    ) -> Result<Plan, Exit> {
        let id = Owner::from(owner);
        if !self.may_deploy(owner, &id) {
            let detail = "this host's operator does not let this owner deploy ([agents] `deploy` and `owners`)";
            return Err(rejected(Rejection::NotOwner, detail));
        }
        let invalid = |detail: String| rejected(Rejection::InvalidManifest, detail);
        let text = str::from_utf8(manifest)
            .map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|_| invalid("the manifest is not UTF-8".to_owned()))?;
        let manifest = Manifest::parse(manifest).map_err(|e| invalid(e.to_string()))?;
        let plan = self.check(Some(owner), id, manifest, text, component)?;
        self.room_for(&plan.address)?;
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
        let plan = self
            .check(
                None,
                Owner::Operator,
                found.manifest,
                found.manifest_text,
                found.component,
            )
            .map_err(unfit)?;
        let there = self.set().get(&plan.address).cloned();
        match there {
            Some(there) if there.digest == plan.digest && there.manifest == plan.manifest => {
                Err(Refused::There(there))
            }
            _ => self.room_for(&plan.address).map(|()| plan).map_err(unfit),
        }
    }

    fn may_deploy(&self, owner: &PublicKey, id: &Owner) -> bool {
        let listed = |entry: &String| {
            let entry = entry.strip_prefix("0x").unwrap_or(entry).to_lowercase();
            entry == id.to_string()
                || entry
                    .parse::<HexBytes>()
                    .is_ok_and(|bytes| owner.is_sec1(&bytes.0))
        };
        let owners = &self.settings.owners;
        self.settings.deploy && (owners.is_empty() || owners.iter().any(listed))
    }

    /// Whether there is room for one more, of this owner.
    fn room_for(&self, address: &Address) -> Result<(), Exit> {
        let set = self.set();
        if set.get(address).is_some() {
            return Ok(());
        }
        let full = |detail: String| Err(rejected(Rejection::TooManyAgents, detail));
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
    ) -> Result<Plan, Exit> {
        let invalid = |detail: String| rejected(Rejection::InvalidManifest, detail);
        let inspection = self
            .executor
            .inspect_agent(&component)
            .map_err(|refusal| rejected(refusal.problem, refusal.detail))?;
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
        Ok(Plan {
            address: Address {
                name: manifest.name.clone(),
                owner: id,
            },
            owner: owner.cloned(),
            digest: sha256(&component),
            sha384: Sha384::digest(&component).into(),
            about: About::new(inspection.world, &inspection.imports),
            limits,
            listed: Arc::new(listed),
            offers,
            manifest,
            manifest_text,
            component,
        })
    }

    /// The offers for an agent's price; none where it is free.
    fn priced(&self, manifest: &Manifest) -> Result<Option<Arc<[Offer]>>, String> {
        let Some(price) = &manifest.price else {
            return Ok(None);
        };
        if manifest.private {
            return Err(
                "a private agent has no price: nobody but its owner can call it".to_owned(),
            );
        }
        let payments = self
            .payments
            .as_ref()
            .ok_or("`price`: this host takes no payments")?;
        let offers = payments
            .offers_for(price, manifest.pay_to.as_deref())
            .map_err(|e| format!("`price`: {e}"))?;
        Ok(Some(offers.into()))
    }

    /// Compiles, measures and keeps an agent, and has it answer from here on. Requests to an earlier agent of the same
    /// address finish on that one.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub async fn deploy(&self, plan: Plan) -> Result<AgentInfo, Exit> {
        if let (Some(offers), Some(payments)) = (&plan.offers, &self.payments) {
            payments.agrees(offers).await.map_err(|e| {
                let detail = format!("`price` and `pay_to`: {e}");
                rejected(Rejection::InvalidManifest, detail)
            })?;
        }
        let code = self
            .executor
            .compile_agent(&plan.component, &plan.limits)
            .await
            .map_err(|error| end(&error))?;
        let _changing = self.changing.lock().await;
        self.room_for(&plan.address)?;
        if self.executor.facts().room_in_log() < RESERVED_ENTRIES {
            let detail = "the host's component log is nearly full; its operator has to restart it";
            return Err(rejected(Rejection::TooManyAgents, detail));
        }
        let log_name = name_in_log(&plan.address, plan.manifest.private);
        self.measure(&log_name, plan.sha384, &plan.about.granted)
            .map_err(|error| end(&error))?;
        let before = self.set().get(&plan.address).cloned();
        let deployed_at = before
            .as_ref()
            .map_or_else(now_micros, |agent| agent.deployed_at);
        let code: Arc<[u8]> = code.as_bytes().into();
        let record = self.record(&plan, deployed_at)?;
        let persistence = match (&plan.address.owner, self.store.is_persistent()) {
            (_, true) => Persistence::Sealed,
            (Owner::Operator, false) => Persistence::Registry,
            (Owner::Key { .. }, false) => Persistence::Memory,
        };
        let agent = Arc::new(Deployed {
            id: self.next_id(),
            code: RwLock::new(Code::Memory(Arc::clone(&code))),
            log: self.new_log(),
            address: plan.address,
            manifest: plan.manifest,
            digest: plan.digest,
            sha384: plan.sha384,
            about: plan.about,
            limits: plan.limits,
            listed: plan.listed,
            offers: plan.offers,
            deployed_at,
            persistence,
        });
        // Linked before anything of it is kept, or anybody told that it is there.
        self.ready(&agent).await.map_err(|error| end(&error))?;
        if let Err(exit) = self.keep(&agent, &record, &code) {
            self.forget(&agent).await;
            return Err(exit);
        }
        if persistence == Persistence::Sealed {
            agent.set_code(Code::Store);
        }
        if let Err(error) = self.index(&agent) {
            tracing::warn!(error, "an agent is not in the index");
        }
        let before = self.set_mut().insert(Arc::clone(&agent));
        if let Some(before) = before {
            self.forget(&before).await;
        }
        metrics::deploy("deployed");
        tracing::info!(agents = self.len(), "an agent was deployed");
        Ok(self.info(&agent))
    }

    /// What is kept of an agent besides its code.
    fn record(&self, plan: &Plan, deployed_at: u64) -> Result<Kept, Exit> {
        let details = serde_json::to_vec(&plan.about).map_err(|e| unkept(&e))?;
        Ok(Kept {
            owner: plan.owner.clone(),
            manifest_text: plan.manifest_text.clone(),
            component: if self.store.is_persistent() {
                plan.component.clone()
            } else {
                Vec::new()
            },
            details,
            deployed_at,
        })
    }

    /// Writes an agent to the disk, as far as it may be there.
    fn keep(&self, agent: &Deployed, kept: &Kept, code: &[u8]) -> Result<(), Exit> {
        let fingerprint = self.executor.code_fingerprint();
        let record = hypervisor_agents::Record {
            owner: kept.owner.as_ref(),
            manifest_text: &kept.manifest_text,
            component: &kept.component,
            code,
            code_fingerprint: &fingerprint,
            deployed_at: kept.deployed_at,
            details: &kept.details,
        };
        tokio::task::block_in_place(|| {
            if *agent.owner() == Owner::Operator {
                self.store
                    .set_deployed(&agent.address.name, kept.deployed_at)?;
            }
            self.store.put(&record)
        })
        .map_err(|e| unkept(&e))
    }

    fn new_log(&self) -> Arc<Log> {
        let bytes = usize::try_from(self.settings.log.as_u64()).unwrap_or(usize::MAX);
        Arc::new(Log::new(bytes))
    }

    fn index(&self, agent: &Deployed) -> Result<(), String> {
        if agent.manifest.private {
            return Ok(());
        }
        let manifest = &agent.manifest;
        self.index
            .put(
                agent.id,
                manifest.name.as_str(),
                &manifest.description,
                &manifest.skills,
            )
            .map_err(|e| e.to_string())
    }

    /// Takes an agent away. Requests that it is answering it finishes.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remove(&self, agent: &Arc<Deployed>) -> Result<AgentInfo, Exit> {
        let _changing = self.changing.lock().await;
        let info = self.info(agent);
        let address = &agent.address;
        let is_current = |current: &Arc<Deployed>| current.id == agent.id;
        if !self.set().get(address).is_some_and(is_current) {
            let detail = "it was removed or replaced meanwhile";
            return Err(rejected(Rejection::UnknownAgent, detail));
        }
        let gone = tokio::task::block_in_place(|| {
            if address.owner == Owner::Operator {
                self.store.unset(&address.name)?;
            }
            self.store.remove(address)
        });
        gone.map_err(|e| {
            tracing::error!(error = %e, "cannot remove an agent");
            Exit::Trap {
                reason: "the host cannot remove the agent from its disk".to_owned(),
            }
        })?;
        self.set_mut().remove(address);
        self.forget(agent).await;
        metrics::deploy("removed");
        tracing::info!(agents = self.len(), "an agent was removed");
        Ok(info)
    }

    async fn forget(&self, agent: &Deployed) {
        self.loaded.invalidate(&agent.id).await;
        if let Err(error) = self.index.remove(agent.id) {
            tracing::warn!(%error, "cannot take an agent out of the index");
        }
    }

    /// Takes up what was deployed before a restart. What cannot be taken up is named in the log and left where it is.
    pub(super) fn take_up(&self) -> Result<(), Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Agents(e.to_string());
        let stored = self.store.list().map_err(|e| failed(&e))?;
        for damaged in stored.damaged {
            tracing::error!(error = %damaged, "an agent cannot be read");
        }
        for head in stored.agents {
            let about = serde_json::from_slice(&head.details);
            let limits = limits(&head.manifest, &self.limits);
            let listed = listed(&head.manifest);
            let (Ok(about), Ok(limits), Ok(listed)) = (about, limits, listed) else {
                tracing::error!("an agent does not fit this host's configuration any more");
                continue;
            };
            let offers = match self.priced(&head.manifest) {
                Ok(offers) => offers,
                Err(reason) => {
                    tracing::error!(reason, "an agent cannot be paid for any more");
                    continue;
                }
            };
            self.enter(Deployed {
                id: self.next_id(),
                address: head.address(),
                digest: head.digest,
                sha384: head.sha384,
                about,
                limits,
                listed: Arc::new(listed),
                offers,
                deployed_at: head.deployed_at,
                code: RwLock::new(Code::Store),
                persistence: Persistence::Sealed,
                log: self.new_log(),
                manifest: head.manifest,
            });
        }
        for (name, deployed_at) in self.store.deployed_names().map_err(|e| failed(&e))? {
            let address = Address {
                name: name.clone(),
                owner: Owner::Operator,
            };
            if self.set().get(&address).is_some() {
                // The sealed store had it: what was deployed stays.
                continue;
            }
            match self.plan_registered(name.as_str()) {
                Ok(plan) => self.enter(Deployed {
                    id: self.next_id(),
                    address: plan.address,
                    manifest: plan.manifest,
                    digest: plan.digest,
                    sha384: plan.sha384,
                    about: plan.about,
                    limits: plan.limits,
                    listed: plan.listed,
                    offers: plan.offers,
                    deployed_at,
                    code: RwLock::new(Code::Registry),
                    persistence: Persistence::Registry,
                    log: self.new_log(),
                }),
                Err(Refused::There(_)) => {}
                Err(Refused::Unknown) => {
                    tracing::error!(%name, "an agent that was deployed is not in the registry any more");
                }
                Err(Refused::Unfit(reason)) => {
                    tracing::error!(%name, reason, "an agent of the registry cannot be taken up");
                }
            }
        }
        Ok(())
    }

    fn enter(&self, agent: Deployed) {
        let agent = Arc::new(agent);
        if let Err(error) = self.index(&agent) {
            tracing::warn!(error, "an agent is not in the index");
        }
        self.set_mut().insert(agent);
    }
}

/// Unix time, microseconds: who was first is decided by it.
fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, micros)
}

/// What is kept of an agent besides its code.
struct Kept {
    owner: Option<PublicKey>,
    manifest_text: Zeroizing<String>,
    component: Vec<u8>,
    details: Vec<u8>,
    deployed_at: u64,
}

fn unkept(error: &dyn std::fmt::Display) -> Exit {
    tracing::error!(%error, "cannot keep an agent");
    metrics::deploy("refused");
    Exit::Trap {
        reason: "the host cannot write the agent to its disk".to_owned(),
    }
}

fn end(error: &PrepareError) -> Exit {
    metrics::deploy("refused");
    match error {
        PrepareError::Program(exit) => exit.clone(),
        PrepareError::Host(message) => {
            tracing::error!(message, "an agent cannot be prepared");
            Exit::Trap {
                reason: "the host failed; its log has the reason".to_owned(),
            }
        }
    }
}

/// The host's limits with the manifest's in their place, none of which may be higher.
fn limits(manifest: &Manifest, host: &Limits) -> Result<Limits, String> {
    let mut limits = host.clone();
    let own = &manifest.limits;
    let above = |key: &str, host: &dyn std::fmt::Display| {
        format!("`limits.{key}` is above this host's own, {host}")
    };
    if let Some(cpu) = own.cpu {
        if cpu > host.cpu {
            return Err(above("cpu", &humantime::format_duration(host.cpu)));
        }
        limits.cpu = cpu;
    }
    if let Some(wall) = own.wall {
        if wall > host.wall {
            return Err(above("wall", &humantime::format_duration(host.wall)));
        }
        limits.wall = wall;
    }
    if let Some(memory) = own.memory {
        if memory > host.memory {
            return Err(above("memory", &host.memory));
        }
        limits.memory = memory;
    }
    if let Some(output) = own.output {
        if output > host.output {
            return Err(above("output", &host.output));
        }
        limits.output = output;
    }
    Ok(limits)
}

fn listed(manifest: &Manifest) -> Result<AllowList, String> {
    manifest
        .outgoing
        .iter()
        .map(|text| {
            text.parse::<OriginPattern>()
                .map_err(|e| format!("`outgoing`: {e}"))
        })
        .collect()
}
