//! Protocols: the components that answer HTTP in the host's own name, at the paths that the operator gives them.

use hypervisor_agents::{Environment, FrontSettings, inspected};
use sha2::{Digest, Sha384};

use crate::agents::{Agents, Front};
use crate::attestation::{HostFacts, Loader};
use crate::config::{Config, Protocol};
use crate::error::Error;
use crate::executor::{Executor, granted};

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

/// Those of a host, each with the paths that it answers.
pub(crate) struct Fronts(Vec<(Protocol, Front)>);

impl Fronts {
    /// Loads what the configuration names.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) async fn start(
        config: &Config,
        executor: &Executor,
        agents: &Agents,
    ) -> Result<Self, Error> {
        let mut fronts = Vec::with_capacity(config.protocols.len());
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
            let settings = FrontSettings {
                name,
                component,
                code,
                environment: Environment::of(protocol.environment.clone()),
                reuse: 1,
                limits: config.limits.execution(),
            };
            let front = agents.front(settings).await.map_err(unfit)?;
            fronts.push((protocol.clone(), front));
        }
        Ok(Self(fronts))
    }

    /// The one that answers a path.
    pub(crate) fn at(&self, path: &str) -> Option<&Front> {
        let answers = |(protocol, front)| Protocol::answers(protocol, path).then_some(front);
        self.0
            .iter()
            .find_map(|(protocol, front)| answers((protocol, front)))
    }
}
