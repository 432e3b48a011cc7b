//! Fronts: components of the operator's that answer HTTP in the host's own name. They see what a stranger sees, and pay as one.

use std::sync::Arc;

use hypervisor_protocol::AgentWorld;
use hypervisor_runtime::{Agent, AgentInspection, Executor, Limits, MachineCode, Rows, refusal};
use sha2::{Digest, Sha256, Sha384};

use crate::agents::Agents;
use crate::deployed::{Deployed, Terms};
use crate::egress::INSIDE;
use crate::error::words;
use crate::load::OfFront;
use crate::manifest::{Environment, Manifest, ManifestLimits};
use crate::name::{Address, Name, Owner};

/// What the operator says of a front.
pub struct FrontSettings {
    /// What it is called, in the log of components and to the policy.
    pub name: Name,
    /// Its component.
    pub component: Vec<u8>,
    /// What that is compiled to.
    pub code: MachineCode,
    /// Its environment variables.
    pub environment: Environment,
    /// Requests that one instance serves.
    pub reuse: u32,
    /// Limits of one request.
    pub limits: Limits,
    /// Whether an instance goes on when its client has left, until it returns or its limits end it.
    pub background: bool,
    /// What it keeps.
    pub rows: Arc<dyn Rows>,
}

/// A front that is loaded.
pub struct Front {
    /// What it is. Nobody finds it among the agents.
    pub agent: Arc<Deployed>,
    /// What answers.
    pub code: Agent,
}

/// What a component imports that may be a front.
///
/// # Errors
/// What is wrong with it, in words.
pub fn inspected(executor: &Executor, component: &[u8]) -> Result<AgentInspection, String> {
    let inspection = executor.inspect_front(component);
    let inspection = inspection.map_err(|exit| words(&exit))?;
    match inspection.world {
        AgentWorld::Service => Ok(inspection),
        _ => Err("it does not export wasi:http/incoming-handler".to_owned()),
    }
}

impl Agents {
    /// Loads a front; it is measured before.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub async fn front(&self, settings: FrontSettings) -> Result<Front, String> {
        let FrontSettings {
            name,
            component,
            code,
            environment,
            reuse,
            limits,
            background,
            rows,
        } = settings;
        let inspection = inspected(&self.executor, &component)?;
        let manifest = Manifest {
            name: name.clone(),
            description: String::new(),
            version: String::new(),
            world: Some(AgentWorld::Service),
            skills: Vec::new(),
            private: true,
            price: None,
            pay_to: None,
            media_type: None,
            reuse,
            outgoing: Vec::new(),
            environment,
            limits: ManifestLimits::default(),
            tool: None,
        };
        let terms = Terms {
            address: Address {
                name,
                owner: Owner::Protocol,
            },
            digest: Sha256::digest(&component).into(),
            sha384: Sha384::digest(&component).into(),
            limits,
            about: inspection.into(),
            listed: INSIDE.iter().filter_map(|it| it.parse().ok()).collect(),
            manifest,
        };
        let agent = Arc::new(self.make(terms, 0, 0, false));
        let more = OfFront {
            rows: Some(rows),
            background,
        };
        let linked = self.link_with(&agent, None, code, more).await;
        let code = linked.map_err(|error| {
            let refused = refusal(error);
            refused.map_or_else(|host| host, |exit| words(&exit))
        })?;
        Ok(Front { agent, code })
    }
}
