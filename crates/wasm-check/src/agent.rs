//! Components as agents: they may import more than programs, and export a service or a command.

use hypervisor_protocol::Rejection;
use hypervisor_protocol::agent::AgentWorld;

use crate::inspect::{INCOMING_HANDLER, Inspection, Refusal};
use crate::offer::{Import, Standing};

/// The interface by which agents ask the operator's policy.
pub const POLICY: &str = "hypervisor:plugin/policy";
/// The interface by which agents call the operator's payment component.
pub const PAYMENT: &str = "hypervisor:plugin/payment";

/// The plugins that a host has for agents to call, and what else only some of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plugins {
    /// A policy.
    pub policy: bool,
    /// A payment component.
    pub payments: bool,
    /// Rows of its own, which components of the world `protocol` have.
    pub rows: bool,
}

/// What a component is as an agent: its world, and its imports as they stand for agents on this host.
#[derive(Debug, Clone)]
pub struct AgentInspection {
    /// What it is called by.
    pub world: AgentWorld,
    /// Its imports. None is missing.
    pub imports: Vec<Import>,
}

impl Import {
    /// The import as it stands for agents of a host with these plugins.
    #[must_use]
    pub fn for_agent_of(self, plugins: Plugins) -> Self {
        let loaded = [(POLICY, plugins.policy), (PAYMENT, plugins.payments)];
        let judged = self.for_agent(&loaded);
        if plugins.rows {
            judged.with_rows()
        } else {
            judged
        }
    }
}

impl Inspection {
    /// Its imports judged anew, as they stand for agents of a host with these plugins.
    #[must_use]
    pub fn for_agent(mut self, plugins: Plugins) -> Self {
        self.imports = self
            .imports
            .into_iter()
            .map(|import| import.for_agent_of(plugins))
            .collect();
        self.agent = true;
        self
    }

    /// Whether it answers HTTP requests.
    pub fn exports_handler(&self) -> bool {
        self.exports_interface(INCOMING_HANDLER)
    }

    /// What it is called by as an agent, after [`Self::for_agent`].
    ///
    /// # Errors
    /// That it is none, or every import that the host does not offer by name.
    pub fn require_agent(&self) -> Result<AgentWorld, Refusal> {
        if !self.exports_handler() {
            // A command, or neither: the words are those for programs.
            self.require_command()?;
            return Ok(AgentWorld::Command);
        }
        match self.missing_in_words() {
            None => Ok(AgentWorld::Service),
            Some(words) => Err(Refusal::new(Rejection::MissingImport, words)),
        }
    }

    /// The same with its imports.
    ///
    /// # Errors
    /// As [`Self::require_agent`].
    pub fn into_agent(self, plugins: Plugins) -> Result<AgentInspection, Refusal> {
        let judged = self.for_agent(plugins);
        Ok(AgentInspection {
            world: judged.require_agent()?,
            imports: judged.imports,
        })
    }
}

/// Names of what is granted, for the component log.
pub fn granted(imports: &[Import]) -> Vec<String> {
    imports
        .iter()
        .filter(|import| import.standing == Standing::Granted)
        .map(|import| import.name.clone())
        .collect()
}
