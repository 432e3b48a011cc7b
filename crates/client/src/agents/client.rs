//! What a host tells of its public agents: in plaintext, and only as good as the connection.

use hypervisor_protocol::{
    AgentInfo, AgentList, DeployResponse, RegistryRequest, SearchRequest, SearchResponse,
};

use super::Reference;
use crate::client::Client;
use crate::error::Error;

/// Most bytes of a list of agents: some ten thousand of them.
const MAX_LIST: usize = 64 << 20;

impl Client {
    /// The public agents of the host.
    pub async fn agents(&self) -> Result<AgentList, Error> {
        self.fetch("agents", MAX_LIST).await
    }

    /// A public agent.
    ///
    /// # Errors
    /// [`Error::Refused`] with `agent-not-found` when there is none, or it is private.
    pub async fn agent(&self, reference: &Reference) -> Result<AgentInfo, Error> {
        self.fetch(&format!("agents/{reference}"), MAX_LIST).await
    }

    /// Whether something answers GET at a path of the host.
    ///
    /// # Errors
    /// When the host is not reached.
    pub async fn serves(&self, path: &str) -> Result<bool, Error> {
        let answer = self.get_any(path, MAX_LIST).await?;
        Ok(answer.status != reqwest::StatusCode::NOT_FOUND)
    }

    /// Public agents that match a description, best first; `limit` is at most 100, and 10 where there is none.
    pub async fn search(
        &self,
        description: &str,
        limit: Option<u32>,
    ) -> Result<SearchResponse, Error> {
        let request = SearchRequest {
            description: description.to_owned(),
            limit,
        };
        self.post("search", &request).await
    }

    /// Has the host deploy an agent of its registry.
    ///
    /// # Errors
    /// [`Error::Refused`] with `agent-not-found` or `agent-refused`.
    pub async fn deploy_registered(&self, name: &str) -> Result<DeployResponse, Error> {
        let request = RegistryRequest {
            agent: name.to_owned(),
        };
        self.post("agent/deploy", &request).await
    }
}
