//! Deploying and removing: compiled, measured, kept and switched in, in that order.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use hypervisor_protocol::{AgentInfo, Rejection};
use hypervisor_runtime::{PrepareError, refusal};

use crate::agents::Agents;
use crate::deployed::{Deployed, Terms};
use crate::error::{rejected, words};
use crate::log::Log;
use crate::name::{Address, Owner};
use crate::plan::Plan;
use crate::store::Record;
use crate::surroundings::Event;

/// Why the operator's wish to take an agent down was not met.
pub enum NotTaken {
    /// The name means none, or several: their addresses.
    Which(Vec<String>),
    /// It was not removed.
    Failed(String),
}

impl Agents {
    /// Compiles, measures and keeps an agent, and has it answer from here on. Requests to an earlier agent of the same
    /// address finish on that one.
    ///
    /// # Errors
    /// What is wrong with it, or [`PrepareError::Busy`]; nothing has changed then.
    pub async fn deploy(&self, plan: Plan) -> Result<AgentInfo, PrepareError> {
        let deployed = self.deployed(plan).await;
        self.host.note(match &deployed {
            Ok(_) => Event::Deployed,
            Err(_) => Event::Refused,
        });
        deployed
    }

    async fn deployed(&self, plan: Plan) -> Result<AgentInfo, PrepareError> {
        let Plan {
            terms,
            component,
            owner,
            manifest_text,
            from,
        } = plan;
        let from = from.as_deref();
        let code = self.compile(&terms, from, &component).await?;
        let _changing = self.changing.lock().await;
        let stored = stored(component.len(), code.as_bytes().len(), manifest_text.len());
        self.room_for(&terms.address, stored)?;
        self.fits(code.as_bytes().len())?;
        let before = self.set().get(&terms.address).cloned();
        let deployed_at = match before {
            Some(before) => before.deployed_at,
            None => tokio::task::block_in_place(|| self.store.now()).map_err(|e| unkept(&e))?,
        };
        let agent = Arc::new(self.make(terms, deployed_at, stored, false));
        let kept = code.as_bytes().to_vec();
        // Measured and linked before anything of it is kept, or anybody told that it is there.
        let linked = self.link(&agent, from, code).await?;
        let record = Record {
            owner: owner.as_ref(),
            manifest_text: &manifest_text,
            component: &component,
            code: &kept,
            code_fingerprint: &self.executor.code_fingerprint(),
            deployed_at,
            details: &details(&agent.terms)?,
        };
        let written = tokio::task::block_in_place(|| self.store.put(&record));
        agent.is_kept(written.map_err(|e| unkept(&e))?);
        self.loaded.insert(agent.id, linked).await;
        if let Some(before) = self.enter(&agent) {
            self.forget(&before).await;
        }
        tracing::info!(agents = self.len(), "an agent was deployed");
        Ok(self.info(&agent))
    }

    /// An agent with a number and a log of its own; nobody finds it yet.
    pub(crate) fn make(
        &self,
        terms: Terms,
        deployed_at: u64,
        stored: u64,
        is_cold: bool,
    ) -> Deployed {
        Deployed {
            id: self.next_id(),
            persistent: self.store.is_persistent() || *terms.owner() == Owner::Operator,
            terms,
            deployed_at,
            stored,
            writing: OnceLock::new(),
            is_cold,
            log: Arc::new(Log::new(self.settings.log, Arc::clone(&self.host))),
        }
    }

    /// Has an agent be found from here on, by its name and, unless it is private, by searches. Gives back the one before it.
    pub(crate) fn enter(&self, agent: &Arc<Deployed>) -> Option<Arc<Deployed>> {
        self.index.put_manifest(agent.id, &agent.terms.manifest);
        self.set_mut().insert(Arc::clone(agent))
    }

    /// Takes an agent away. Requests that it is answering it finishes.
    ///
    /// # Errors
    /// When it is another's place by now, or the disk fails.
    pub async fn remove(&self, agent: &Arc<Deployed>) -> Result<AgentInfo, PrepareError> {
        let _changing = self.changing.lock().await;
        let info = self.info(agent);
        let address = &agent.terms.address;
        let is_current = |current: &Arc<Deployed>| current.id == agent.id;
        if !self.set().get(address).is_some_and(is_current) {
            let detail = "it was removed or replaced meanwhile";
            return Err(rejected(Rejection::UnknownAgent, detail).into());
        }
        tokio::task::block_in_place(|| self.store.remove(address)).map_err(|e| unkept(&e))?;
        self.set_mut().remove(address);
        self.forget(agent).await;
        self.host.note(Event::Removed);
        tracing::info!(agents = self.len(), "an agent was removed");
        Ok(info)
    }

    /// Takes away the agent of this name or address, whoever's it is and whoever may know of it: a bare name is the operator's,
    /// else the only one of the name. Of one that is kept and was not taken up, by its address, there is nothing to be told.
    /// For the operator.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn take_down(&self, reference: &str) -> Result<Option<AgentInfo>, NotTaken> {
        let found = self.set().meant(reference);
        let failed = |error| {
            let words = refusal(error).map_or_else(|host| host, |exit| words(&exit));
            NotTaken::Failed(words)
        };
        match (found, reference.parse::<Address>()) {
            (Ok(agent), _) => self.remove(&agent).await.map(Some).map_err(failed),
            (Err(none), Ok(address)) if none.is_empty() => {
                let _changing = self.changing.lock().await;
                let removed = tokio::task::block_in_place(|| self.store.remove(&address));
                match removed.map_err(|e| failed(unkept(&e)))? {
                    true => Ok(None),
                    false => Err(NotTaken::Which(Vec::new())),
                }
            }
            (Err(all), _) => {
                let all = all.iter().map(|it| it.terms.address.to_string()).collect();
                Err(NotTaken::Which(all))
            }
        }
    }

    pub(crate) async fn forget(&self, agent: &Deployed) {
        self.loaded.invalidate(&agent.id).await;
        self.index.remove(agent.id);
    }
}

/// Bytes that an agent takes in the store.
pub(crate) fn stored(component: usize, code: usize, manifest: usize) -> u64 {
    let total = component.saturating_add(code).saturating_add(manifest);
    u64::try_from(total).unwrap_or(u64::MAX)
}

/// What is kept of what was found out about a component.
pub(crate) fn details(terms: &Terms) -> Result<Vec<u8>, PrepareError> {
    serde_json::to_vec(&terms.about).map_err(|e| unkept(&e))
}

pub(crate) fn unkept(error: &dyn Display) -> PrepareError {
    PrepareError::Host(format!("the store of agents: {error}"))
}
