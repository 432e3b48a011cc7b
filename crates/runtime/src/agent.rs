//! Agents: components that were deployed once and are called many times. What they may import, and how they are prepared.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hypervisor_protocol::agent::AgentWorld;
use hypervisor_wasm_check::{AgentInspection, Kind, Plugins, Refusal, inspect, kind_of};
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::compile::{Compiled, Job};
use super::gate::Client;
use super::guest::Guest;
use super::native::TrustedCode;
use super::outgoing::{Chain, Egress};
use super::prepare::{PrepareError, compiled, link, unlinkable};
use super::rows::Rows;
use super::service::{Ended, Service, Witness};
use super::tap::Tap;
use super::{Executor, Exit, Inputs, Outcome, linked, run};
use crate::limits::Limits;

/// What an agent counts for at least, bytes.
const LEAST_WEIGHT: usize = 512 << 10;

/// Machine code of an agent, made by this host's compiler.
pub struct MachineCode(TrustedCode);

/// How an agent runs.
pub struct AgentSettings {
    /// Its limits, none above the host's own.
    pub limits: Limits,
    /// Its environment variables.
    pub environment: Vec<(String, String)>,
    /// Requests that one instance serves.
    pub reuse: u32,
    /// SHA-384 of the component.
    pub sha384: [u8; 48],
    /// Who sends its requests.
    pub egress: Arc<dyn Egress>,
    /// Who is told how its calls end.
    pub witness: Arc<dyn Witness>,
    /// Its own rows. What has any is judged and linked as a front is.
    pub rows: Option<Arc<dyn Rows>>,
    /// Whether its calls go on when the client has left.
    pub background: bool,
}

/// An agent ready to be called.
#[derive(Clone)]
pub enum Agent {
    /// It answers HTTP requests.
    Service(Arc<Service>),
    /// It is run like a program.
    Command(Arc<Command>),
}

/// A command that was deployed.
pub struct Command {
    pre: CommandPre<Guest>,
    sandboxes: super::sandbox::Sandboxes,
    sha384: [u8; 48],
    code_bytes: usize,
    witness: Arc<dyn Witness>,
}

impl MachineCode {
    /// Code that this host wrote to a file that nobody else can write: authenticated by a key that the platform gives to
    /// this very host. See the audit in `native`.
    pub fn from_sealed_store(code: Vec<u8>) -> Self {
        Self(TrustedCode::from_sealed_store(code))
    }

    /// Code that was made in this process and never left it.
    pub fn from_memory(code: Vec<u8>) -> Self {
        Self(TrustedCode::from_compiler_process(code))
    }

    pub(super) fn into_trusted(self) -> TrustedCode {
        self.0
    }

    /// The code, to be kept.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<TrustedCode> for MachineCode {
    fn from(code: TrustedCode) -> Self {
        Self(code)
    }
}

impl Agent {
    /// What it counts for where agents are kept in memory: its machine code, and something for the file descriptor that
    /// every agent holds.
    pub fn code_bytes(&self) -> usize {
        let code = match self {
            Self::Service(service) => service.code_bytes(),
            Self::Command(command) => command.code_bytes,
        };
        code.max(LEAST_WEIGHT)
    }
}

impl Command {
    /// Runs it in a fresh instance. Dropping the future stops it.
    pub async fn call(&self, mut inputs: Inputs, chain: Chain) -> Outcome {
        // Its standard error is its owner's log.
        inputs.tap = inputs.tap.as_ref().map(Tap::of_stdout);
        let ran = run::run(&self.pre, &self.sandboxes, self.sha384, inputs, chain);
        let outcome = ran.await;
        // Standard output is the answer, and no log.
        self.witness.ended(Ended {
            exit: outcome.exit.clone(),
            written: [Vec::new(), outcome.stderr.clone()],
        });
        outcome
    }
}

impl Executor {
    /// Reads a component that is to become an agent, in a process of its own. `client` is whose turn it takes.
    ///
    /// # Errors
    /// What is wrong with it, every import that the host does not offer by name.
    pub async fn inspect_agent(
        &self,
        client: Client,
        component: &[u8],
    ) -> Result<AgentInspection, PrepareError> {
        kind_of(component)?;
        self.compiler
            .inspect_agent(client, component, self.for_agents)
            .await
    }

    /// The same of a component that the operator keeps, in this process.
    ///
    /// # Errors
    /// As [`Self::inspect_agent`].
    pub fn inspect_registered(&self, component: &[u8]) -> Result<AgentInspection, Exit> {
        self.inspect_for(self.for_agents, component)
    }

    /// The same of a component that is to answer in the host's own name: it may have rows.
    ///
    /// # Errors
    /// As [`Self::inspect_agent`].
    pub fn inspect_front(&self, component: &[u8]) -> Result<AgentInspection, Exit> {
        let plugins = Plugins {
            rows: true,
            ..self.for_agents
        };
        self.inspect_for(plugins, component)
    }

    fn inspect_for(&self, plugins: Plugins, component: &[u8]) -> Result<AgentInspection, Exit> {
        let refused = |refusal: Refusal| Exit::Rejected {
            problem: refusal.problem,
            detail: refusal.detail,
        };
        inspect(component)
            .and_then(|inspection| inspection.into_agent(plugins))
            .map_err(refused)
    }

    /// Compiles an agent. `client` is whose turn it takes.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn compile_agent(
        &self,
        client: Client,
        component: &[u8],
        limits: &Limits,
    ) -> Result<MachineCode, PrepareError> {
        let job = Job {
            program: component,
            // Modules are made components first. The imports of components were judged already, as those of an agent.
            any_world: kind_of(component)? == Kind::Component,
            deadline: self.agent_compile_time,
        };
        let Compiled { code, .. } = compiled(&self.compiler, client, job, limits).await?;
        Ok(MachineCode(code))
    }

    /// Links an agent's code to what agents may import.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn link_agent(
        &self,
        code: MachineCode,
        world: AgentWorld,
        settings: AgentSettings,
    ) -> Result<Agent, PrepareError> {
        let code_bytes = code.0.len();
        let linker = match settings.rows {
            Some(_) => &self.front_linker,
            None => &self.agent_linker,
        };
        let linked = link(code.0, linker, &settings.limits).await?;
        let unusable = |error: wasmtime::Error| unlinkable(&error, &settings.limits);
        let sandboxes = self
            .sandboxes
            .with_limits(settings.limits)
            .with_network(settings.environment.clone(), Arc::clone(&settings.egress))
            .with_rows(settings.rows);
        Ok(match world {
            AgentWorld::Service => Agent::Service(Arc::new(Service::new(
                ProxyPre::new(linked).map_err(unusable)?,
                sandboxes.logging(),
                (settings.sha384, code_bytes),
                (settings.reuse, settings.background),
                Arc::clone(&self.idle),
                settings.witness,
            ))),
            AgentWorld::Command => Agent::Command(Arc::new(Command {
                pre: CommandPre::new(linked).map_err(unusable)?,
                sandboxes,
                sha384: settings.sha384,
                code_bytes,
                witness: settings.witness,
            })),
        })
    }

    /// What machine code must have been made with to run here: it changes with the engine and its settings.
    pub fn code_fingerprint(&self) -> String {
        let mut hasher = std::hash::DefaultHasher::new();
        self.agent_linker
            .engine()
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// The linker of agents: all that programs have, HTTP, and the plugins.
pub(super) fn linker(base: &Linker<Guest>) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = base.clone();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    linked::add_to_linker(&mut linker, linked::POLICY)?;
    linked::add_to_linker(&mut linker, linked::PAYMENT)?;
    Ok(linker)
}
