//! What a host says of the agents that are called: how they are called, and whether that costs something.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hypervisor_client::agents::Reference;
use hypervisor_client::protocol::{AgentInfo, AgentWorld};

use crate::agents::{is_unknown, own};
use crate::desk::{Desk, Trouble};

/// How long that is taken to hold: an agent may be replaced.
const AGE: Duration = Duration::from_secs(30);
/// Most agents that are remembered.
const MOST: usize = 1024;

/// What is to be known of an agent before it is called. It is a hint, by the host's word: the worst that a wrong one does is that the call
/// fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hint {
    pub(super) world: AgentWorld,
    /// Whether the host asks for payment, so that payments are its own and none of the agent's business.
    pub(super) is_sold: bool,
}

impl From<&AgentInfo> for Hint {
    fn from(info: &AgentInfo) -> Self {
        Self {
            world: info.world,
            is_sold: info.price.is_some(),
        }
    }
}

/// What was asked lately.
#[derive(Default)]
pub(super) struct Worlds(Mutex<HashMap<String, (Instant, Hint)>>);

impl Worlds {
    /// Of an agent that nobody tells of, it is a service: the host says what there is to say when it is called.
    pub(super) async fn of(&self, desk: &Desk, agent: &Reference) -> Result<Hint, Trouble> {
        if let Some(hint) = self.known(agent) {
            return Ok(hint);
        }
        let found = match (desk.client().await?.agent(agent).await, desk.owner()) {
            (Ok(info), _) => Some(info),
            (Err(error), Some(owner)) if is_unknown(&error) => {
                own(desk.session().await?.as_ref(), agent, owner).await?
            }
            (Err(error), None) if is_unknown(&error) => None,
            (Err(error), _) => return Err(error.into()),
        };
        let Some(info) = found else {
            return Ok(Hint {
                world: AgentWorld::Service,
                is_sold: false,
            });
        };
        let hint = Hint::from(&info);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (at, _)| at.elapsed() < AGE);
        }
        if known.len() < MOST {
            known.insert(agent.as_str().to_owned(), (Instant::now(), hint));
        }
        Ok(hint)
    }

    /// What was known of it may be the reason why a call failed.
    pub(super) fn forget(&self, agent: &Reference) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(agent.as_str());
    }

    fn known(&self, agent: &Reference) -> Option<Hint> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, hint) = known.get(agent.as_str())?;
        (at.elapsed() < AGE).then_some(*hint)
    }
}
