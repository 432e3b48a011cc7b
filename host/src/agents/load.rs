//! Bringing agents' code into memory: measured before it is loaded for the first time, read from the sealed store or compiled.

use std::sync::{Arc, PoisonError};

use hypervisor_agents::Record;
use hypervisor_protocol::Rejection;

use super::Agents;
use super::deployed::{Code, Deployed};
use super::egress::{AgentEgress, Caller};
use super::plan::rejected;
use super::terms::Terms;
use crate::attestation::MeasureError;
use crate::executor::{
    Agent, AgentSettings, Client, Exit, MachineCode, PrepareError, refusal, sha256,
};

impl Agents {
    /// An agent ready to be called. Callers that come at the same time wait for one loading.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn ready(&self, agent: &Arc<Deployed>) -> Result<Agent, PrepareError> {
        if let Some(loaded) = self.loaded.get(&agent.id).await {
            return Ok(loaded);
        }
        self.loaded
            .try_get_with(agent.id, self.load(agent))
            .await
            .map_err(|error: Arc<PrepareError>| PrepareError::clone(&error))
    }

    /// An agent whose code is in memory.
    pub(crate) async fn in_memory(&self, agent: &Deployed) -> Option<Agent> {
        self.loaded.get(&agent.id).await
    }

    async fn load(&self, agent: &Arc<Deployed>) -> Result<Agent, PrepareError> {
        let code = self.code(agent).await?;
        self.measure(agent)?;
        let caller = Caller {
            id: agent.id,
            address: agent.terms.address.clone(),
            digest: agent.terms.digest,
        };
        let egress = AgentEgress {
            network: Arc::clone(&self.network),
            sender: self.network.sender_of(&caller),
            caller: Arc::new(caller),
            listed: Arc::clone(&agent.terms.listed),
            imports: agent.import_names().into(),
        };
        let environment = agent
            .terms
            .manifest
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let settings = AgentSettings {
            limits: agent.terms.limits.execution(),
            environment,
            reuse: agent.terms.manifest.reuse,
            sha384: agent.terms.sha384,
            egress: Arc::new(egress),
            witness: Arc::clone(&agent.log) as _,
        };
        self.executor
            .link_agent(code, agent.terms.about.world, settings)
            .await
    }

    /// Writes a component into the log, once for each start of the host.
    fn measure(&self, agent: &Deployed) -> Result<(), PrepareError> {
        let key = (agent.terms.name_in_log(), agent.terms.sha384);
        let lock = || self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        // Measuring may wait for a quote: nobody else waits for this lock meanwhile.
        if !lock().contains(&key) {
            let owner = agent.owner().to_string();
            let granted = agent.terms.about.granted.clone();
            self.facts
                .measure_agent(&owner, &key.0, key.1, granted)
                .map_err(|error| match error {
                    MeasureError::Quota(detail) => {
                        PrepareError::Program(rejected(Rejection::TooManyAgents, detail))
                    }
                    // Whoever deploys it is told by name; the host goes on with what is measured.
                    MeasureError::Log(reason) => PrepareError::Program(rejected(
                        Rejection::TooManyAgents,
                        format!("the host's component log does not take the agent: {reason}"),
                    )),
                    error => PrepareError::Host(error.to_string()),
                })?;
            lock().insert(key);
        }
        Ok(())
    }

    /// Whether the component log takes a deployment; one that it shows already needs no room.
    pub(super) fn room_in_log(&self, terms: &Terms) -> Result<(), Exit> {
        let key = (terms.name_in_log(), terms.sha384);
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if measured.contains(&key) {
            return Ok(());
        }
        let room = self.facts.room_for(&terms.address.owner.to_string());
        room.map_err(|error| rejected(Rejection::TooManyAgents, error.to_string()))
    }

    async fn code(&self, agent: &Arc<Deployed>) -> Result<MachineCode, PrepareError> {
        match agent.code() {
            // It was made in this process and never left it.
            Code::Memory(bytes) => Ok(MachineCode::from_memory(bytes.to_vec())),
            Code::Store => self.stored(agent).await,
            Code::Registry => self.registered(agent).await,
        }
    }

    /// The code as an earlier start sealed it; compiled again where the engine has changed since.
    async fn stored(&self, agent: &Arc<Deployed>) -> Result<MachineCode, PrepareError> {
        let fingerprint = self.executor.code_fingerprint();
        let (store, address, digest) = (
            Arc::clone(&self.store),
            agent.terms.address.clone(),
            agent.terms.digest,
        );
        let read = move || match store.load_code(&address, &digest, &fingerprint)? {
            Some(code) => Ok((Some(code), Vec::new())),
            None => Ok((None, store.load_component(&address, &digest)?)),
        };
        let (code, component) = blocking(read).await?;
        if let Some(code) = code {
            return Ok(MachineCode::from_sealed_store(code));
        }
        let code = self.compile(agent, &component).await?;
        let (store, address) = (Arc::clone(&self.store), agent.terms.address.clone());
        let (bytes, fingerprint) = (code.as_bytes().to_vec(), self.executor.code_fingerprint());
        let written =
            blocking(move || store.update_code(&address, &digest, &bytes, &fingerprint)).await;
        if written.is_err() {
            tracing::warn!(
                "cannot keep an agent's machine code; it is compiled again after the next start"
            );
        }
        Ok(code)
    }

    /// Compiled from the registry, whose component must be the one that was deployed.
    async fn registered(&self, agent: &Arc<Deployed>) -> Result<MachineCode, PrepareError> {
        let most = self.limits.body.as_u64();
        let found = self
            .registry
            .load(&agent.terms.address.name, most)
            .map_err(|e| PrepareError::Host(e.to_string()))?;
        if sha256(&found.component) != agent.terms.digest {
            return Err(PrepareError::Host(format!(
                "the registry's component of `{}` is not the one that was deployed; deploy it again",
                agent.terms.address.name
            )));
        }
        let code = self.compile(agent, &found.component).await?;
        let details = serde_json::to_vec(&agent.terms.about)
            .map_err(|e| PrepareError::Host(e.to_string()))?;
        let (store, deployed_at) = (Arc::clone(&self.store), agent.deployed_at);
        let (bytes, fingerprint) = (code.as_bytes().to_vec(), self.executor.code_fingerprint());
        let kept = blocking(move || {
            store.put(&Record {
                owner: None,
                manifest_text: &found.manifest_text,
                component: &found.component,
                code: &bytes,
                code_fingerprint: &fingerprint,
                deployed_at,
                details: &details,
            })
        });
        match kept.await {
            Ok(()) => agent.set_code(Code::Store),
            Err(_) => tracing::warn!(
                "cannot keep an agent's machine code; it is compiled again when it is needed"
            ),
        }
        Ok(code)
    }

    async fn compile(
        &self,
        agent: &Deployed,
        component: &[u8],
    ) -> Result<MachineCode, PrepareError> {
        let client = Client::of(agent.owner().to_string().as_bytes());
        self.executor
            .compile_agent(client, component, &agent.terms.limits.execution())
            .await
    }

    /// Compiles what has to be compiled after a start, one agent after the other, beside the requests.
    pub async fn warm_up(&self) {
        let is_cold = |agent: &&Arc<Deployed>| matches!(agent.code(), Code::Registry);
        let cold: Vec<Arc<Deployed>> = self.set().all().filter(is_cold).cloned().collect();
        for agent in cold {
            if let Err(error) = self.ready(&agent).await {
                let reason =
                    refusal(error).map_or_else(|host| host, |_| "it is refused".to_owned());
                tracing::warn!(reason, "an agent of the registry cannot be loaded");
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, hypervisor_agents::StoreError> + Send + 'static,
) -> Result<T, PrepareError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| PrepareError::Host(e.to_string()))?
        .map_err(|e| PrepareError::Host(e.to_string()))
}
