//! Protocols: the components that answer HTTP in the host's own name, at the paths that the operator gives them.

use hypervisor_agents::{Environment, FrontSettings};

use crate::agents::{Agents, Front};
use crate::config::{Config, Protocol};
use crate::error::Error;
use crate::executor::Executor;

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
