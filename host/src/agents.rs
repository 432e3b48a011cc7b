//! Agents on this host: what they need of it, and putting them together.

use std::pin::Pin;
use std::sync::Arc;

pub(crate) use hypervisor_agents::{
    Deployed, Deployers, Front, NotTaken, PREFIX, Plan, Refused, declared_length, words,
};
use hypervisor_agents::{Event, Measured, Parts, Registry, Settings, Store, Surroundings, store};
use hypervisor_egress::{Sender, Senders, SystemResolver};
use hypervisor_protocol::{AgentInfo, Rejection};
use hypervisor_server::Sparing;
use hypervisor_telemetry::metrics;

use crate::attestation::{HostFacts, Loader, MeasureError};
use crate::config::Config;
use crate::error::Error;
use crate::executor::{Executor, Exit, PolicyEngine, PrepareError};
use crate::payments::Teller;
use crate::state::State;

pub use hypervisor_agents::{Agents, Neighbours};

/// Requests that were not sent: guests decide how many there are.
static NOT_SENT: Sparing = Sparing::new();

/// The host around its agents.
struct Around {
    facts: Arc<HostFacts>,
    /// The payment component of the start, where payments are taken.
    teller: Option<Teller>,
    /// Every client may deploy, so that owners' keys cost nothing.
    is_open: bool,
}

impl Surroundings for Around {
    fn measure(&self, component: &Measured<'_>) -> Result<(), PrepareError> {
        let owner = component.owner.to_string();
        let network = component.from.filter(|_| self.is_open);
        let accounts: Vec<&str> = [owner.as_str()].into_iter().chain(network).collect();
        let loader = match component.from {
            Some(_) => Loader::Deployment(&accounts),
            None => Loader::Agent,
        };
        let granted = component.granted.to_vec();
        let log = self.facts.log();
        let measured = log.append(loader, component.name, component.sha384, granted);
        measured.map_err(|error| match error {
            // Whoever deploys it is told by name; the host goes on with what is measured.
            MeasureError::Quota(_) | MeasureError::Log(_) => {
                PrepareError::Program(Exit::Rejected {
                    problem: Rejection::TooManyAgents,
                    detail: error.to_string(),
                })
            }
            error => PrepareError::Host(error.to_string()),
        })
    }

    fn takes<'a>(
        &'a self,
        price: &'a str,
        pay_to: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(takes(self.teller.as_ref(), price, pay_to))
    }

    fn note(&self, event: Event<'_>) {
        match event {
            Event::Deployed => metrics::deploy("deployed"),
            Event::Removed => metrics::deploy("removed"),
            Event::Refused => metrics::deploy("refused"),
            Event::Sent(outcome) => metrics::outgoing(outcome),
            Event::NotSent(why) => {
                metrics::outgoing(why);
                not_sent(why);
            }
            Event::Called(exit) => {
                metrics::agent_call(exit);
                if let Exit::Limit {
                    which,
                    used,
                    allowed,
                } = exit
                {
                    metrics::limit_reached(*which);
                    tracing::info!(limit = ?which, used, allowed, "an agent was stopped at a limit");
                }
            }
        }
    }
}

/// A request of an agent or an environment was not sent.
pub(crate) fn not_sent(why: &'static str) {
    // Whose, and where to, is between it and its owner.
    if let Some(times) = NOT_SENT.say(why) {
        tracing::info!(reason = why, times, "a component's request was not sent");
    }
}

/// What sends the requests of agents and environments, to the networks that `[agents]` allows.
///
/// # Errors
/// What is wrong with `[agents]`, or with TLS.
pub(crate) fn senders(config: &Config) -> Result<Arc<Senders>, Error> {
    let agents = &config.agents;
    let networks = agents.networks()?.elsewhere(config.own_ports()?);
    let sender = Sender::new(networks, Arc::new(SystemResolver));
    let sender = sender.map_err(|e| Error::Agents(e.to_string()))?;
    let connections = [
        agents.connections,
        agents.connections_per_owner,
        agents.connections_per_agent,
    ];
    Ok(Arc::new(Senders::new(sender, connections)))
}

/// Whether calls can be sold for a price.
async fn takes(teller: Option<&Teller>, price: &str, pay_to: Option<&str>) -> Result<(), String> {
    let teller = teller.ok_or("this host takes no payments")?;
    teller.offers(price, pay_to).await.map(drop)
}

/// Takes up the agents that were deployed before a restart, as far as the configuration and the policy still allow them.
///
/// # Errors
/// What is wrong with `[agents]`, with the registry or with the store.
pub(crate) async fn start(
    config: &Config,
    executor: &Arc<Executor>,
    (policy, teller): (Option<Arc<PolicyEngine>>, Option<Teller>),
    facts: &Arc<HostFacts>,
    (state, senders): (&State, Arc<Senders>),
) -> Result<Arc<Agents>, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Agents(e.to_string());
    let settings = settings(config)?;
    let is_open = settings.deployers == Deployers::Everybody;
    if is_open {
        tracing::warn!(
            "every client may deploy agents on this host: `deploy = true` in [agents], and `owners` names nobody"
        );
    }
    let around = Around {
        facts: Arc::clone(facts),
        teller,
        is_open,
    };
    let parts = Parts {
        executor: Arc::clone(executor),
        policy,
        host: Arc::new(around),
        registry: Registry::open(&config.app_path).map_err(|e| failed(&e))?,
        store: opened(state)?,
        senders,
        settings,
    };
    Agents::start(parts).await.map_err(|e| failed(&e))
}

/// The store of agents, with what an earlier version kept in files.
fn opened(state: &State) -> Result<Store, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Agents(e.to_string());
    let rows = state.store("agents", &store::TABLES)?;
    let store = Store::open(rows, state.keeps_code()).map_err(|e| failed(&e))?;
    let folder = state.folder().join("agents");
    let (moved, damaged) = store
        .import(&folder, state.platform())
        .map_err(|e| failed(&e))?;
    if moved > 0 {
        tracing::info!(moved, "agents were moved from files into the store");
    }
    for damaged in damaged {
        tracing::error!(error = %damaged, "an agent cannot be read");
    }
    Ok(store)
}

/// What the operator lets agents have.
fn settings(config: &Config) -> Result<Settings, Error> {
    let agents = &config.agents;
    Ok(Settings {
        deployers: agents.deployers(),
        deployed: agents.deployed,
        per_owner: agents.per_owner,
        stored: agents.stored,
        stored_per_owner: agents.stored_per_owner,
        loaded: agents.loaded,
        component: config.limits.body.as_u64(),
        log: agents.log,
        limits: config.limits.execution(),
        outgoing: agents.allowed()?,
        connections_per_call: agents.connections_per_call,
        depth: agents.depth,
    })
}

/// Deploys an agent whose price, if it has one, the payment component of the call takes.
pub(crate) async fn deploy(
    agents: &Agents,
    plan: Plan,
    teller: Option<&Teller>,
) -> Result<AgentInfo, PrepareError> {
    let manifest = &plan.terms.manifest;
    if let Some(price) = &manifest.price {
        let taken = takes(teller, price, manifest.pay_to.as_deref()).await;
        taken.map_err(|words| {
            metrics::deploy("refused");
            Exit::Rejected {
                problem: Rejection::InvalidManifest,
                detail: format!("`price` and `pay_to`: {words}"),
            }
        })?;
    }
    agents.deploy(plan).await
}
