//! Protocols: the components that answer HTTP in the host's own name, at the paths that the operator gives them.

use std::sync::Arc;

use hypervisor_agents::{Environment, FrontSettings, ROW_TABLES, Shelves, inspected};
use sha2::{Digest, Sha384};

use crate::account::Peer;
use crate::agents::{Agents, Front};
use crate::attestation::{HostFacts, Loader};
use crate::config::{Config, Protocol};
use crate::error::Error;
use crate::executor::{Chain, Executor, granted};
use crate::state::State;

/// Writes into the log of components what a host with this configuration writes there of its protocols, without loading them.
///
/// # Errors
/// What is wrong with one of them.
pub fn measure(config: &Config, executor: &Executor, facts: &HostFacts) -> Result<(), Error> {
    for Protocol {
        name, component, ..
    } in &config.protocols
    {
        let unfit = |words: String| Error::Protocol {
            name: name.clone(),
            words,
        };
        let read = std::fs::read(component);
        let bytes = read.map_err(|e| unfit(format!("{}: {e}", component.display())))?;
        let inspection = inspected(executor, &bytes).map_err(unfit)?;
        let (granted, sha384) = (granted(&inspection.imports), Sha384::digest(&bytes).into());
        let name = format!("protocol/{name}");
        let measured = (facts.log()).append(Loader::Agent, &name, sha384, granted);
        measured.map_err(|e| unfit(e.to_string()))?;
    }
    Ok(())
}

/// Those of a host.
pub(crate) struct Fronts {
    /// Each with the paths that it answers.
    loaded: Vec<(Protocol, Front)>,
    /// What they keep; none where there are none.
    shelves: Option<Arc<Shelves>>,
}

/// Who sent the first call of a chain, as the account knows them.
fn client_of(chain: &Chain) -> Option<String> {
    chain.sender::<Peer>().map(|peer| peer.network())
}

impl Fronts {
    /// Loads what the configuration names.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) async fn start(
        config: &Config,
        executor: &Executor,
        agents: &Agents,
        state: &State,
    ) -> Result<Self, Error> {
        let mut loaded = Vec::with_capacity(config.protocols.len());
        if config.protocols.is_empty() {
            return Ok(Self {
                loaded,
                shelves: None,
            });
        }
        let allowed = config.protocols.iter();
        let allowed = allowed.map(|it| (it.name.clone(), it.allowance()));
        let store = state.store("protocols", &ROW_TABLES)?;
        let shelves = Arc::new(Shelves::open(store, allowed, client_of)?);
        for protocol in &config.protocols {
            let unfit = |words: String| Error::Protocol {
                name: protocol.name.clone(),
                words,
            };
            let name = protocol.name.parse();
            let name = name.map_err(|e: hypervisor_agents::NameError| unfit(e.to_string()))?;
            let source = protocol.source();
            let source = source.ok_or_else(|| unfit("no component is named".to_owned()))?;
            let read = executor.configured(&source).await;
            let (component, code) = read.map_err(|e| unfit(e.to_string()))?;
            let rows = shelves.of(&protocol.name);
            let rows = rows.ok_or_else(|| unfit("it has no name".to_owned()))?;
            let mut limits = config.limits.execution();
            let background = !protocol.background.is_zero();
            if background {
                limits.wall = protocol.background;
            }
            let settings = FrontSettings {
                name,
                component,
                code,
                environment: Environment::of(protocol.environment.clone()),
                reuse: 1,
                limits,
                background,
                rows,
            };
            let front = agents.front(settings).await.map_err(unfit)?;
            loaded.push((protocol.clone(), front));
        }
        Ok(Self {
            loaded,
            shelves: Some(shelves),
        })
    }

    /// What they keep, for who brings it to the disk; none where there are none.
    pub(crate) fn shelves(&self) -> Option<&Arc<Shelves>> {
        self.shelves.as_ref()
    }

    /// What they are, for the operator: name, and SHA-384 of the component.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (&str, [u8; 48])> {
        let loaded = self.loaded.iter();
        loaded.map(|(protocol, front)| (protocol.name.as_str(), front.agent.terms.sha384))
    }

    /// The one that answers a path.
    pub(crate) fn at(&self, path: &str) -> Option<&Front> {
        let answers = |(protocol, front)| Protocol::answers(protocol, path).then_some(front);
        self.loaded
            .iter()
            .find_map(|(protocol, front)| answers((protocol, front)))
    }
}
