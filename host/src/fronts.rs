//! Protocols: the components that answer HTTP in the host's own name, at the paths that the operator gives them.

use std::sync::{Arc, PoisonError, RwLock};

use hypervisor_agents::{Environment, FrontSettings, ROW_TABLES, Shelves, inspected};
use sha2::{Digest, Sha384};

use crate::account::Peer;
use crate::agents::{Agents, Front};
use crate::attestation::{HostFacts, Loader};
use crate::config::{Config, Protocol};
use crate::error::Error;
use crate::executor::{Chain, Executor, MachineCode, granted};
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
    loaded: Vec<(Protocol, RwLock<Arc<Front>>)>,
    /// What they keep; none where there are none.
    shelves: Option<Arc<Shelves>>,
}

/// Who sent the first call of a chain, as the account knows them.
fn client_of(chain: &Chain) -> Option<String> {
    chain.sender::<Peer>().map(|peer| peer.network())
}

impl Fronts {
    /// Loads what the configuration names.
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
            let source = protocol.source();
            let source = source.ok_or_else(|| unfit("no component is named".to_owned()))?;
            let read = executor.configured(&source).await;
            let component = read.map_err(|e| unfit(e.to_string()))?;
            let settings = settings(config, &shelves, protocol, component).map_err(unfit)?;
            let front = agents.front(settings).await.map_err(unfit)?;
            loaded.push((protocol.clone(), RwLock::new(Arc::new(front))));
        }
        Ok(Self {
            loaded,
            shelves: Some(shelves),
        })
    }

    /// Puts a component in the place of the one that has this name, which finishes what it is at. Gives the SHA-384 of the new one, and
    /// that of both, the new one last, to `enter` before any call meets it.
    ///
    /// # Errors
    /// Why it is refused, in words; nothing has changed then.
    pub(crate) async fn exchange(
        &self,
        (config, executor, agents): (&Config, &Executor, &Agents),
        name: &str,
        component: Vec<u8>,
        enter: impl FnOnce(&[u8; 48], &[u8; 48]),
    ) -> Result<[u8; 48], String> {
        let found = self.loaded.iter().find(|(it, _)| it.name == name);
        let (Some((protocol, place)), Some(shelves)) = (found, &self.shelves) else {
            return Err(format!(
                "this host was started without a [[protocols]] of the name `{name}`, so there is none to swap; restart it with one"
            ));
        };
        inspected(executor, &component)?;
        let code = executor.compiled(&component).await;
        let code = code.map_err(|error| error.to_string())?;
        let settings = settings(config, shelves, protocol, (component, code))?;
        let front = Arc::new(agents.front(settings).await?);
        let after = front.agent.terms.sha384;
        // Swaps come one at a time.
        enter(&now(place).agent.terms.sha384, &after);
        *place.write().unwrap_or_else(PoisonError::into_inner) = front;
        Ok(after)
    }

    /// What they keep, for who brings it to the disk; none where there are none.
    pub(crate) fn shelves(&self) -> Option<&Arc<Shelves>> {
        self.shelves.as_ref()
    }

    /// What they are, for the operator: name, and SHA-384 of the component.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (&str, [u8; 48])> {
        let loaded = self.loaded.iter();
        loaded.map(|(protocol, front)| (&*protocol.name, now(front).agent.terms.sha384))
    }

    /// The one that answers a path.
    pub(crate) fn at(&self, path: &str) -> Option<Arc<Front>> {
        let mut loaded = self.loaded.iter();
        let (_, front) = loaded.find(|(protocol, _)| protocol.answers(path))?;
        Some(now(front))
    }

    /// Whether one answers a path.
    pub(crate) fn answer(&self, path: &str) -> bool {
        self.loaded.iter().any(|(it, _)| it.answers(path))
    }
}

fn now(front: &RwLock<Arc<Front>>) -> Arc<Front> {
    Arc::clone(&front.read().unwrap_or_else(PoisonError::into_inner))
}

/// What the operator says of one, with its component and what that is compiled to.
fn settings(
    config: &Config,
    shelves: &Shelves,
    protocol: &Protocol,
    (component, code): (Vec<u8>, MachineCode),
) -> Result<FrontSettings, String> {
    let name = protocol.name.parse();
    let name = name.map_err(|e: hypervisor_agents::NameError| e.to_string())?;
    let rows = shelves.of(&protocol.name).ok_or("it has no name")?;
    let mut limits = config.limits.execution();
    let background = !protocol.background.is_zero();
    if background {
        limits.wall = protocol.background;
    }
    Ok(FrontSettings {
        name,
        component,
        code,
        environment: Environment::of(protocol.environment.clone()),
        reuse: 1,
        limits,
        background,
        rows,
    })
}
