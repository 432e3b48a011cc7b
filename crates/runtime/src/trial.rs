//! Trying a component: what a host would make of it, up to its first instruction.

use hypervisor_protocol::Rejection;
use hypervisor_protocol::agent::AgentWorld;
use hypervisor_wasm_check::Refusal;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::Executor;
use super::cache::Scope;
use super::gate::Client;
use super::guest::Guest;
use super::outcome::Exit;
use super::plugin::{Component, PAYMENTS, POLICY, PluginError, SCRIPT};
use super::policy::exported;
use super::prepare::{PrepareError, link, refusal, unlinkable};
use super::worlds::payments::PaymentPluginPre;

/// What a component is tried as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A program that a client sends.
    Program,
    /// An agent.
    Agent(AgentWorld),
    /// What answers HTTP in the host's own name.
    Protocol,
    /// The plugin that runs scripts.
    ScriptEngine,
    /// The plugin that decides.
    PolicyEngine,
    /// The plugin that takes payments.
    Payments,
}

impl Executor {
    /// Compiles a component and links it to all that its role is given, as serving would, and runs nothing of it. Which plugins
    /// are loaded makes no difference to an agent here.
    ///
    /// # Errors
    /// Why a host would refuse it.
    pub async fn try_as(&self, role: Role, component: &[u8]) -> Result<(), Refusal> {
        match role {
            Role::Program => {
                let scope = Scope {
                    session: [0; 16],
                    is_shared: true,
                };
                let prepared = self.prepare(scope, operator(), component);
                prepared.await.map(drop).map_err(in_words)
            }
            Role::Agent(world) => {
                let tried = self.try_agent(world, &self.agent_linker, component);
                tried.await.map_err(in_words)
            }
            Role::Protocol => {
                let tried = self.try_agent(AgentWorld::Service, &self.front_linker, component);
                tried.await.map_err(in_words)
            }
            Role::ScriptEngine | Role::PolicyEngine | Role::Payments => {
                let tried = self.try_plugin(role, component).await;
                tried.map_err(|error| {
                    let detail = match error {
                        PluginError::Unusable { message, .. } => message,
                        other => other.to_string(),
                    };
                    Refusal::new(Rejection::InvalidComponent, detail)
                })
            }
        }
    }

    async fn try_agent(
        &self,
        world: AgentWorld,
        linker: &Linker<Guest>,
        component: &[u8],
    ) -> Result<(), PrepareError> {
        let limits = self.sandboxes.limits();
        let code = self.compile_agent(operator(), component, limits).await?;
        let linked = link(code.into_trusted(), linker, limits).await?;
        match world {
            AgentWorld::Service => ProxyPre::new(linked).map(drop),
            AgentWorld::Command => CommandPre::new(linked).map(drop),
        }
        .map_err(|error| unlinkable(&error, limits))
    }

    async fn try_plugin(&self, role: Role, component: &[u8]) -> Result<(), PluginError> {
        let component = Component::sent(component.to_vec());
        let world = match role {
            Role::PolicyEngine => POLICY,
            Role::Payments => PAYMENTS,
            _ => SCRIPT,
        };
        let checked = component.check(world)?;
        let (linked, _) = self.load(&component, world, checked).await?;
        match role {
            Role::PolicyEngine => exported(&linked).map(drop),
            Role::Payments => PaymentPluginPre::new(linked).map(drop),
            _ => super::script::exported(&linked).map(drop),
        }
        .map_err(|error| component.unusable(&error))
    }
}

/// Whose turn is taken.
fn operator() -> Client {
    Client::of(&[], &[])
}

fn in_words(error: PrepareError) -> Refusal {
    let (problem, detail) = match refusal(error) {
        Ok(Exit::Rejected { problem, detail }) => (problem, detail),
        Ok(Exit::Limit {
            which,
            used,
            allowed,
        }) => {
            // As reports name it.
            let name = serde_json::to_value(which).unwrap_or_default();
            let name = name.as_str().unwrap_or_default();
            let detail = format!("the limit `{name}` is {allowed} here, and it takes {used}");
            (Rejection::InvalidComponent, detail)
        }
        Ok(_) => (
            Rejection::InvalidComponent,
            "it cannot be compiled".to_owned(),
        ),
        Err(message) => (
            Rejection::InvalidComponent,
            format!("it was not tried: {message}"),
        ),
    };
    Refusal::new(problem, detail)
}
