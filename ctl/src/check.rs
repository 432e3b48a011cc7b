//! `hypervisor-ctl check`: what the host makes of a program or a configuration, without serving.

use std::io::{self, Write};
use std::path::Path;

use hypervisor::executor::{Inspection, Plugins, Refusal, Standing, inspect};
use hypervisor_protocol::agent::AgentWorld;
use serde::Serialize;

use crate::output::plain;

/// Imports or exports that are listed at the most; a program that runs has a few dozen.
const MAX_LISTED: usize = 500;
/// Characters of a name that are listed at the most.
const MAX_NAME: usize = 300;

/// What the check of one file found.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The file.
    pub file: String,
    /// What it holds, where it could be read as WebAssembly. Its imports are judged for what it can be: for an agent, where
    /// it cannot run as a program.
    pub program: Option<Inspection>,
    /// Imports and exports beyond those that are listed.
    pub unlisted: usize,
    #[serde(skip)]
    is_service: bool,
    /// Why it cannot run as a program that a client sends.
    pub refusal: Option<Refused>,
    /// What it is called by as an agent, where it can be one.
    pub agent: Option<AgentWorld>,
    /// Why it cannot be deployed as an agent.
    pub agent_refusal: Option<Refused>,
}

/// A refusal for output.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// Stable class, as in a sealed report.
    pub problem: hypervisor_protocol::Rejection,
    /// What is wrong and what works.
    pub detail: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            problem: refusal.problem,
            detail: refusal.detail,
        }
    }
}

/// Checks a program's bytes as the host would before compiling it. `plugins` are those that agents may call.
pub fn check(file: &Path, bytes: &[u8], plugins: Plugins) -> Checked {
    let file = file.display().to_string();
    let program = match inspect(bytes) {
        Ok(program) => program,
        Err(refusal) => {
            return Checked {
                file,
                program: None,
                unlisted: 0,
                is_service: false,
                refusal: Some(refusal.clone().into()),
                agent: None,
                agent_refusal: Some(refusal.into()),
            };
        }
    };
    let refusal = program.require_command().err().map(Into::into);
    let judged = program.clone().for_agent(plugins);
    let (agent, agent_refusal) = match judged.require_agent() {
        Ok(world) => (Some(world), None),
        Err(refusal) => (None, Some(refusal.into())),
    };
    let is_for_agents_only = refusal.is_some() && (agent.is_some() || program.exports_handler());
    let is_service = program.exports_handler();
    let mut program = if is_for_agents_only { judged } else { program };
    let unlisted = bound(&mut program);
    Checked {
        file,
        program: Some(program),
        unlisted,
        is_service,
        refusal,
        agent,
        agent_refusal,
    }
}

/// Cuts what is listed, and says by how many entries.
fn bound(program: &mut Inspection) -> usize {
    let whole = program.imports.len() + program.exports.len();
    program.imports.truncate(MAX_LISTED);
    program.exports.truncate(MAX_LISTED);
    let imports = program.imports.iter_mut().map(|import| &mut import.name);
    for name in imports.chain(&mut program.exports) {
        if let Some((end, _)) = name.char_indices().nth(MAX_NAME) {
            name.truncate(end);
            name.push('…');
        }
    }
    whole - program.imports.len() - program.exports.len()
}

impl Checked {
    /// Whether the host would run it, or deploy it.
    pub fn runs(&self) -> bool {
        self.refusal.is_none() || self.agent.is_some()
    }

    /// Prints for people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", plain(&self.file))?;
        if let Some(program) = &self.program {
            writeln!(
                out,
                "  kind     {}",
                serde_json::to_value(program.kind)?
                    .as_str()
                    .unwrap_or_default()
            )?;
            for export in &program.exports {
                writeln!(out, "  exports  {}", plain(export))?;
            }
            for import in &program.imports {
                let note = match (import.standing, import.host_version) {
                    (Standing::Missing, None) => "  (the host has none)".to_owned(),
                    (_, Some(host)) if !import.name.ends_with(&format!("@{host}")) => {
                        format!("  (the host has {host})")
                    }
                    _ => String::new(),
                };
                let name = plain(&import.name);
                writeln!(out, "  {:<8} {name}{note}", import.standing)?;
            }
            if self.unlisted > 0 {
                writeln!(out, "  … and {} more", self.unlisted)?;
            }
        }
        let agent = match self.agent {
            Some(AgentWorld::Service) => Some("as an agent, a service"),
            Some(AgentWorld::Command) => Some("as an agent, a command"),
            None => None,
        };
        match (&self.refusal, agent) {
            (None, Some(_)) => writeln!(out, "  ok: runs as a command, and as an agent"),
            (None, None) => writeln!(out, "  ok: runs as a command"),
            (Some(_), Some(agent)) => writeln!(out, "  ok: runs {agent}"),
            (Some(refusal), None) => {
                let as_agent = self.agent_refusal.as_ref();
                let refusal = as_agent.filter(|_| self.is_service).unwrap_or(refusal);
                writeln!(out, "  refused: {}", plain(&refusal.detail))
            }
        }
    }
}
