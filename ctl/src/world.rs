//! What a component can be on a host.

use clap::ValueEnum;
use hypervisor::executor::{Inspection, Kind, Plugins, Role};
use hypervisor_protocol::agent::AgentWorld;
use serde::Serialize;

/// A world, by the name that it has in `wit/`; programs have none there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// A plugin that decides what may be done.
    PolicyEngine,
    /// A plugin that takes payments.
    Payments,
    /// A plugin that runs scripts.
    ScriptEngine,
    /// An agent that answers HTTP requests.
    AgentService,
    /// What answers HTTP in the host's own name.
    Protocol,
    /// A program that clients send, sealed.
    Program,
    /// An agent that is run for each request.
    AgentCommand,
}

impl World {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PolicyEngine => "policy-engine",
            Self::Payments => "payments",
            Self::ScriptEngine => "script-engine",
            Self::AgentService => "agent-service",
            Self::Protocol => "protocol",
            Self::Program => "program",
            Self::AgentCommand => "agent-command",
        }
    }

    /// What its components export.
    pub fn export(self) -> &'static str {
        match self {
            Self::PolicyEngine => "hypervisor:plugin/policy",
            Self::Payments => "hypervisor:plugin/payment",
            Self::ScriptEngine => "hypervisor:plugin/script",
            Self::AgentService | Self::Protocol => "wasi:http/incoming-handler",
            Self::Program | Self::AgentCommand => "wasi:cli/run",
        }
    }

    /// What a host makes of its components.
    pub(crate) fn use_of_it(self) -> &'static str {
        match self {
            Self::PolicyEngine => "loads as the plugin of [policy]",
            Self::Payments => "loads as the plugin of [payments]",
            Self::ScriptEngine => {
                "loads as the plugin of [runtime.python] or [runtime.javascript], by its language"
            }
            Self::AgentService => "runs as an agent, a service",
            Self::Protocol => "answers at the paths of [[protocols]]",
            Self::Program => "runs as a command",
            Self::AgentCommand => "runs as an agent, a command",
        }
    }

    pub(crate) fn role(self) -> Role {
        match self {
            Self::PolicyEngine => Role::PolicyEngine,
            Self::Payments => Role::Payments,
            Self::ScriptEngine => Role::ScriptEngine,
            Self::AgentService => Role::Agent(AgentWorld::Service),
            Self::Protocol => Role::Protocol,
            Self::Program => Role::Program,
            Self::AgentCommand => Role::Agent(AgentWorld::Command),
        }
    }

    /// Whether it is judged as agents are: what sends requests may import HTTP.
    pub(crate) fn has_http(self) -> bool {
        !matches!(
            self,
            Self::Program | Self::PolicyEngine | Self::ScriptEngine
        )
    }

    /// A component's imports as they are judged in this world.
    pub(crate) fn judged(self, program: Inspection, loaded: Plugins) -> Inspection {
        let rows = self == Self::Protocol;
        match self.has_http() {
            true => program.for_agent(Plugins { rows, ..loaded }),
            false => program,
        }
    }

    /// Whether what was read exports what this world's components do, in any version.
    pub(crate) fn is_of(self, program: &Inspection) -> bool {
        match program.kind {
            Kind::Component => program.exports_interface(self.export()),
            // Core modules are adapted to commands.
            Kind::Preview1Module => matches!(self, Self::Program | Self::AgentCommand),
        }
    }

    /// The version of what it exports, where there is one.
    pub(crate) fn version(self, program: &Inspection) -> Option<String> {
        program.exports.iter().find_map(|export| {
            let (name, version) = export.split_once('@')?;
            (name == self.export()).then(|| version.to_owned())
        })
    }
}
