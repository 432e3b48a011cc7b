//! Deploying and removing: compiled, measured, kept and switched in, in that order.

use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hypervisor_agents::{Address, Owner, Record, StoreError};
use hypervisor_protocol::{AgentInfo, Rejection};

use super::Agents;
use super::deployed::{Code, Deployed, Persistence};
use super::log::Log;
use super::plan::{Plan, rejected};
use super::terms::Terms;
use crate::executor::{Client, Exit, PrepareError, micros};
use crate::metrics;
use crate::payments::Teller;

impl Agents {
    /// Compiles, measures and keeps an agent, and has it answer from here on. Requests to an earlier agent of the same
    /// address finish on that one.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub(crate) async fn deploy(
        &self,
        plan: Plan,
        teller: Option<&Teller>,
    ) -> Result<AgentInfo, Exit> {
        let Plan {
            terms,
            owner,
            manifest_text,
            component,
        } = plan;
        if let (Some(offers), Some(teller)) = (&terms.offers, teller) {
            teller.agrees(offers).await.map_err(|e| {
                let detail = format!("`price` and `pay_to`: {e}");
                rejected(Rejection::InvalidManifest, detail)
            })?;
        }
        let client = Client::of(terms.address.owner.to_string().as_bytes());
        let code = self
            .executor
            .compile_agent(client, &component, &terms.limits.execution())
            .await
            .map_err(|error| end(&error))?;
        let _changing = self.changing.lock().await;
        let stored = stored(component.len(), code.as_bytes().len(), manifest_text.len());
        self.room_for(&terms.address, stored)?;
        self.fits(code.as_bytes().len())?;
        self.room_in_log(&terms)?;
        let deployed_at = self
            .set()
            .get(&terms.address)
            .map_or_else(now_micros, |before| before.deployed_at);
        let code: Arc<[u8]> = code.as_bytes().into();
        let details = serde_json::to_vec(&terms.about).map_err(|e| unkept(&e))?;
        let persistence = match (&terms.address.owner, self.store.is_persistent()) {
            (_, true) => Persistence::Sealed,
            (Owner::Operator, false) => Persistence::Registry,
            (Owner::Key { .. }, false) => Persistence::Process,
        };
        let in_memory = Code::Memory(Arc::clone(&code));
        let agent = Arc::new(self.make(terms, deployed_at, in_memory, persistence, stored));
        // Measured and linked before anything of it is kept, or anybody told that it is there.
        self.ready(&agent).await.map_err(|error| end(&error))?;
        let record = Record {
            owner: owner.as_ref(),
            manifest_text: &manifest_text,
            component: &component,
            code: &code,
            code_fingerprint: &self.executor.code_fingerprint(),
            deployed_at,
            details: &details,
        };
        if let Err(exit) = self.keep(&agent, &record) {
            self.forget(&agent).await;
            return Err(exit);
        }
        agent.set_code(Code::Store);
        self.index(&agent);
        let before = self.set_mut().insert(Arc::clone(&agent));
        if let Some(before) = before {
            self.forget(&before).await;
        }
        metrics::deploy("deployed");
        tracing::info!(agents = self.len(), "an agent was deployed");
        Ok(self.info(&agent))
    }

    /// An agent with a number and a log of its own; nobody finds it yet.
    pub(super) fn make(
        &self,
        terms: Terms,
        deployed_at: u64,
        code: Code,
        persistence: Persistence,
        stored: u64,
    ) -> Deployed {
        let log = usize::try_from(self.settings.log.as_u64()).unwrap_or(usize::MAX);
        Deployed {
            id: self.next_id(),
            terms,
            deployed_at,
            code: RwLock::new(code),
            persistence,
            stored,
            log: Arc::new(Log::new(log)),
        }
    }

    /// Writes an agent to the disk, as far as it may be there.
    fn keep(&self, agent: &Deployed, record: &Record<'_>) -> Result<(), Exit> {
        tokio::task::block_in_place(|| {
            self.store.put(record)?;
            let address = agent.address();
            if address.owner == Owner::Operator {
                let noted = self.store.set_deployed(&address.name, record.deployed_at);
                if noted.is_err() {
                    self.store.remove(address)?;
                }
                return noted;
            }
            Ok::<_, StoreError>(())
        })
        .map_err(|e| unkept(&e))
    }

    /// Has searches find an agent, unless it is private.
    pub(super) fn index(&self, agent: &Deployed) {
        let manifest = &agent.terms.manifest;
        if manifest.private {
            return;
        }
        self.index.put(
            agent.id,
            manifest.name.as_str(),
            &manifest.description,
            &manifest.skills,
        );
    }

    /// Takes an agent away. Requests that it is answering it finishes.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remove(&self, agent: &Arc<Deployed>) -> Result<AgentInfo, Exit> {
        let _changing = self.changing.lock().await;
        let info = self.info(agent);
        let address = agent.address();
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

    /// Takes away the agent of this name or address, whoever's it is and whoever may know of it: a bare name is the operator's,
    /// else the only one of the name. Of one that is kept and was not taken up, by its address, there is nothing to be told.
    /// For the operator.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn take_down(&self, reference: &str) -> Result<Option<AgentInfo>, NotTaken> {
        let found = self.set().meant(reference);
        match (found, reference.parse::<Address>()) {
            (Ok(agent), _) => self
                .remove(&agent)
                .await
                .map(Some)
                .map_err(NotTaken::Failed),
            (Err(none), Ok(address)) if none.is_empty() => {
                let _changing = self.changing.lock().await;
                let removed = tokio::task::block_in_place(|| self.store.remove(&address));
                match removed.map_err(|e| NotTaken::Failed(unkept(&e)))? {
                    true => Ok(None),
                    false => Err(NotTaken::Which(Vec::new())),
                }
            }
            (Err(all), _) => {
                let all = all.iter().map(|it| it.address().to_string()).collect();
                Err(NotTaken::Which(all))
            }
        }
    }

    async fn forget(&self, agent: &Deployed) {
        self.loaded.invalidate(&agent.id).await;
        self.index.remove(agent.id);
    }
}

/// Why the operator's wish to take an agent down was not met.
pub enum NotTaken {
    /// The name means none, or several: their addresses.
    Which(Vec<String>),
    /// It was not removed.
    Failed(Exit),
}

/// Bytes that an agent takes in the store.
pub(super) fn stored(component: usize, code: usize, manifest: usize) -> u64 {
    let total = component.saturating_add(code).saturating_add(manifest);
    u64::try_from(total).unwrap_or(u64::MAX)
}

/// Unix time, microseconds: who was first is decided by it.
fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, micros)
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
        PrepareError::Busy => Exit::Trap {
            reason: "too many programs wait to be compiled; deploy it again".to_owned(),
        },
        PrepareError::Host(message) => {
            tracing::error!(message, "an agent cannot be prepared");
            Exit::Trap {
                reason: "the host failed; its log has the reason".to_owned(),
            }
        }
    }
}
