//! The agent that a call found. It is this one that is charged for, asked about and run, though another be deployed under its
//! name meanwhile.

use std::sync::Arc;

use super::{Host, Refusal};
use crate::agents::{Deployed, Front};
use crate::executor::{Agent, PrepareError};

/// The agent that a call found.
pub(crate) struct Target {
    pub(crate) agent: Arc<Deployed>,
    /// Its code, where it was in memory when the call entered: what is replaced may not be there any more to be loaded.
    code: Option<Agent>,
}

impl Target {
    pub(crate) async fn new(host: &Host, agent: Arc<Deployed>) -> Self {
        let code = host.agents().in_memory(&agent).await;
        Self { agent, code }
    }

    /// A component that answers in the host's own name.
    pub(crate) fn of_front(front: &Front) -> Self {
        Self {
            agent: Arc::clone(&front.agent),
            code: Some(front.code.clone()),
        }
    }

    /// What everybody means by `reference`.
    pub(crate) async fn find(host: &Host, reference: &str) -> Result<Self, Refusal> {
        let agent = host.agents().find(reference, None);
        Ok(Self::new(host, agent.ok_or_else(Refusal::no_agent)?).await)
    }

    /// The agent ready to be called.
    pub(super) async fn ready(&self, host: &Host) -> Result<Agent, PrepareError> {
        match &self.code {
            Some(code) => Ok(code.clone()),
            // Loading code takes much room in a future and is rare: the room is made when it is needed.
            None => Box::pin(host.agents().ready(&self.agent)).await,
        }
    }
}
