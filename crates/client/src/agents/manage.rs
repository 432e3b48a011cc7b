//! What owners do with their agents.

use hypervisor_protocol::{
    AgentInfo, AgentList, AgentLog, AgentRequest, ContentFormat, DeployRequest, Exit, HexArray,
    Operation, OwnerKey,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::Reference;
use crate::error::Error;
use crate::program::Inputs;
use crate::session::{Execution, Route, Session};

/// Most bytes of a manifest.
pub const MAX_MANIFEST: usize = 64 << 10;

/// An agent that was deployed, and the proof of it.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The agent.
    pub info: AgentInfo,
    /// Report, commitments and what the host attested; the result is the agent as JSON, as it came.
    pub execution: Execution,
}

impl Session {
    /// Deploys a component as an agent of `owner`; a second one of the same name replaces the first. The manifest is the text
    /// of an `agent.toml`.
    ///
    /// # Errors
    /// [`Error::Agent`] when the host refuses it, with the reason that came sealed; [`Error::Answer`] when it deployed
    /// something else than was sent; and as [`Self::run_wasm`].
    pub async fn deploy(
        &self,
        component: &[u8],
        manifest: &str,
        owner: &OwnerKey,
    ) -> Result<Deployed, Error> {
        let proof = self.prove(owner);
        let inputs = Inputs::new().stdin(manifest.as_bytes());
        let request = self.seal(Operation::Deploy, component, &inputs, |key, id, request| {
            DeployRequest::new(key, id, proof, request)
        })?;
        let execution = self
            .exchange(&Route::post("agent/deploy"), &request)
            .await?;
        let info: AgentInfo = result(&execution)?;
        if info.digest != HexArray(Sha256::digest(component).into()) {
            return Err(Error::Answer {
                what: "the agent that was sent",
                reason: format!("its component has the SHA-256 digest {}", info.digest),
            });
        }
        Ok(Deployed { info, execution })
    }

    /// Removes an agent of `owner`, and returns what it was.
    ///
    /// # Errors
    /// As [`Self::deploy`].
    pub async fn remove_agent(
        &self,
        reference: &Reference,
        owner: &OwnerKey,
    ) -> Result<AgentInfo, Error> {
        let route = Route::new(Method::DELETE, format!("agents/{reference}"));
        self.ask(Operation::Remove, route, reference.as_str(), owner)
            .await
    }

    /// What an agent of `owner` wrote to its standard output and error, as far as the host keeps it.
    ///
    /// # Errors
    /// As [`Self::deploy`].
    pub async fn agent_logs(
        &self,
        reference: &Reference,
        owner: &OwnerKey,
    ) -> Result<AgentLog, Error> {
        let route = Route::post("agent/logs");
        self.ask(Operation::Logs, route, reference.as_str(), owner)
            .await
    }

    /// All agents of `owner`, private ones too.
    ///
    /// # Errors
    /// As [`Self::deploy`].
    pub async fn own_agents(&self, owner: &OwnerKey) -> Result<AgentList, Error> {
        let route = Route::post("agent/list");
        self.ask(Operation::List, route, "", owner).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        operation: Operation,
        route: Route<'_>,
        agent: &str,
        owner: &OwnerKey,
    ) -> Result<T, Error> {
        let proof = Some(self.prove(owner));
        let (agent, inputs) = (agent.as_bytes(), Inputs::new());
        let request = self.seal(operation, agent, &inputs, |key, id, request| {
            AgentRequest::new(key, id, proof, request)
        })?;
        result(&self.exchange(&route, &request).await?)
    }
}

/// The result of a request that was granted.
fn result<T: DeserializeOwned>(execution: &Execution) -> Result<T, Error> {
    match &execution.report.exit {
        Exit::Ok => ContentFormat::Json
            .decode(&execution.result)
            .map_err(|error| Error::Answer {
                what: "an answer about agents",
                reason: error.to_string(),
            }),
        exit => Err(Error::Agent(Box::new(exit.clone()))),
    }
}
