//! Bringing agents' code into memory: measured before it is loaded, read from the sealed store or compiled.

use std::sync::Arc;

use hypervisor_runtime::{Agent, AgentSettings, Client, MachineCode, PrepareError, Rows, refusal};

use crate::agents::Agents;
use crate::deploy::unkept;
use crate::deployed::{Deployed, Terms};
use crate::egress::AgentEgress;
use crate::error::StoreError;
use crate::store::Store;
use crate::surroundings::Measured;

/// What an agent has only where it is a front.
#[derive(Default)]
pub(crate) struct OfFront {
    pub(crate) rows: Option<Arc<dyn Rows>>,
    pub(crate) background: bool,
}

impl Agents {
    /// An agent ready to be called. Callers that come at the same time wait for one loading.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn ready(&self, agent: &Arc<Deployed>) -> Result<Agent, PrepareError> {
        if let Some(loaded) = self.loaded.get(&agent.id).await {
            return Ok(loaded);
        }
        let load = async {
            let code = self.code(&agent.terms).await?;
            self.link(agent, None, code).await
        };
        self.loaded
            .try_get_with(agent.id, load)
            .await
            .map_err(|error: Arc<PrepareError>| PrepareError::clone(&error))
    }

    /// An agent whose code is in memory.
    pub async fn in_memory(&self, agent: &Deployed) -> Option<Agent> {
        self.loaded.get(&agent.id).await
    }

    /// Measures and links an agent. `from` is the network that it is being deployed from, if it is.
    pub(crate) async fn link(
        &self,
        agent: &Arc<Deployed>,
        from: Option<&str>,
        code: MachineCode,
    ) -> Result<Agent, PrepareError> {
        self.link_with(agent, from, code, OfFront::default()).await
    }

    /// The same with what only a front has.
    pub(crate) async fn link_with(
        &self,
        agent: &Arc<Deployed>,
        from: Option<&str>,
        code: MachineCode,
        more: OfFront,
    ) -> Result<Agent, PrepareError> {
        let terms = &agent.terms;
        self.host.measure(&Measured {
            name: &terms.name_in_log(),
            sha384: terms.sha384,
            granted: &terms.about.granted,
            owner: terms.owner(),
            from,
        })?;
        let environment = terms.manifest.environment.iter();
        let settings = AgentSettings {
            limits: terms.limits,
            environment: environment
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            reuse: terms.manifest.reuse,
            sha384: terms.sha384,
            egress: Arc::new(AgentEgress::new(&self.network, agent)),
            witness: Arc::clone(&agent.log) as _,
            rows: more.rows,
            background: more.background,
        };
        self.executor
            .link_agent(code, terms.about.world, settings)
            .await
    }

    /// The code as it was sealed; compiled again where the engine has changed since.
    async fn code(&self, terms: &Terms) -> Result<MachineCode, PrepareError> {
        let fingerprint = self.executor.code_fingerprint();
        let (address, digest) = (terms.address.clone(), terms.digest);
        let read =
            self.stored(
                move |store| match store.load_code(&address, &digest, &fingerprint)? {
                    Some(code) => Ok((Some(code), Vec::new())),
                    None => Ok((None, store.load_component(&address, &digest)?)),
                },
            );
        let (code, component) = read.await?;
        if let Some(code) = code {
            return Ok(MachineCode::from_sealed_store(code));
        }
        let code = self.compile(terms, None, &component).await?;
        let (address, fingerprint) = (terms.address.clone(), self.executor.code_fingerprint());
        let bytes = code.as_bytes().to_vec();
        let written = self
            .stored(move |store| store.update_code(&address, &digest, &bytes, &fingerprint))
            .await;
        if written.is_err() {
            tracing::warn!(
                "cannot keep an agent's machine code; it is compiled again when it is needed"
            );
        }
        Ok(code)
    }

    /// Compiles a component in its owner's turn, among those who deploy from the same network.
    pub(crate) async fn compile(
        &self,
        terms: &Terms,
        from: Option<&str>,
        component: &[u8],
    ) -> Result<MachineCode, PrepareError> {
        let owner = terms.owner().to_string();
        let client = Client::of(from.unwrap_or(&owner).as_bytes(), owner.as_bytes());
        self.executor
            .compile_agent(client, component, &terms.limits)
            .await
    }

    async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, PrepareError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|e| unkept(&e))?.map_err(|e| unkept(&e))
    }

    /// Compiles what has to be compiled after a start, one agent after the other, beside the requests.
    pub async fn warm_up(&self) {
        let cold: Vec<_> = {
            let set = self.set();
            set.all().filter(|it| it.is_cold).cloned().collect()
        };
        for agent in cold {
            if let Err(error) = self.ready(&agent).await {
                let reason =
                    refusal(error).map_or_else(|host| host, |_| "it is refused".to_owned());
                tracing::warn!(reason, "an agent of the registry cannot be loaded");
            }
        }
    }
}
