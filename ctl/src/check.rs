//! `hypervisor-ctl check`: what a host would make of a component, without serving: what it is, what it would be given, and whether it
//! would be taken. It is linked as a host links it, and nothing of it runs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use hypervisor::config::Config;
use hypervisor::executor::{
    Executor, Inspection, Kind, Plugins, Refusal, Standing, Unattested, inspect,
};
use hypervisor::manifest::hex;
use hypervisor::parts::THIS_PROGRAM;
use hypervisor_protocol::Rejection;
use hypervisor_protocol::agent::AgentWorld;
use serde::Serialize;
use sha2::{Digest, Sha384};

use crate::hollow::{hollow, validate};
use crate::memory;
use crate::output::plain;
use crate::world::World;

/// Imports or exports that are listed at the most; a program that runs has a few dozen.
const MAX_LISTED: usize = 500;
/// Characters of a name that are listed at the most.
const MAX_NAME: usize = 300;

/// What the check of one file found.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The file.
    pub file: String,
    /// SHA-384 of it, hex.
    pub sha384: String,
    /// What it holds, where it could be read as WebAssembly. Its imports are judged for the first of its worlds, or for the first
    /// that takes it.
    pub program: Option<Inspection>,
    /// Imports and exports beyond those that are listed.
    pub unlisted: usize,
    /// The `--initial-memory` to link it with, where each instance of it begins by growing its memory.
    pub initial_memory_wanted: Option<u64>,
    /// What it can be by what it exports, or the world that was asked for.
    pub worlds: Vec<Found>,
    /// Why it cannot run as a program that a client sends.
    pub refusal: Option<Refused>,
    /// What it is called by as an agent, where it can be one.
    pub agent: Option<AgentWorld>,
    /// Why it cannot be deployed as an agent.
    pub agent_refusal: Option<Refused>,
}

/// A world that a component may be of.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The world.
    pub world: World,
    /// The version of what it exports for it.
    pub version: Option<String>,
    /// Why a host would not take it as that.
    pub refusal: Option<Refused>,
}

/// A refusal for output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Stable class, as in a sealed report.
    pub problem: Rejection,
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

/// What components are tried on: a host that serves nobody, and the plugins that agents may call on it.
pub struct Trial {
    executor: Executor,
    plugins: Plugins,
}

impl Trial {
    /// With the limits of a configuration, and the plugins that it names.
    ///
    /// # Errors
    /// Where this machine does not run components.
    pub fn new(config: &Config) -> Result<Self, hypervisor::error::Error> {
        let executor = Executor::new(
            &config.limits.runtime(),
            PathBuf::from(THIS_PROGRAM),
            Arc::new(Unattested),
        )?;
        Ok(Self {
            executor,
            plugins: Plugins {
                policy: config.policy.source().is_some(),
                payments: config.payments.source().is_some(),
                rows: false,
            },
        })
    }

    /// Checks the bytes of a file, as `wanted` or as all that they can be.
    pub async fn check(&self, file: &Path, bytes: &[u8], wanted: Option<World>) -> Checked {
        let mut checked = Checked {
            file: file.display().to_string(),
            sha384: hex(&Sha384::digest(bytes)),
            program: None,
            unlisted: 0,
            initial_memory_wanted: None,
            worlds: Vec::new(),
            refusal: None,
            agent: None,
            agent_refusal: None,
        };
        let program = match inspect(bytes) {
            Ok(program) => program,
            Err(refusal) => {
                checked.refusal = Some(refusal.clone().into());
                checked.agent_refusal = Some(refusal.into());
                return checked;
            }
        };
        checked.initial_memory_wanted = memory::wanted(bytes);
        let as_agent = program.clone().for_agent(self.plugins);
        checked.worlds = self.worlds(&program, &as_agent, bytes, wanted).await;
        checked.refusal = match checked.found(World::Program) {
            Some(found) => found.refusal.clone(),
            None => program.require_command().err().map(Into::into),
        };
        let judged = as_agent.require_agent();
        checked.agent_refusal = match checked.found_agent() {
            Some(found) => found.refusal.clone(),
            None => judged.as_ref().err().cloned().map(Into::into),
        };
        checked.agent = judged.ok().filter(|_| checked.agent_refusal.is_none());

        let shown = checked
            .worlds
            .iter()
            .find(|found| found.refusal.is_none())
            .or(checked.worlds.first());
        let refusal = shown.and_then(|found| found.refusal.as_ref());
        let mut program = match shown {
            Some(found) => found.world.judged(program, self.plugins),
            None => program,
        };
        if let Some(refusal) = refusal {
            mark_mismatch(&mut program, refusal);
        }
        checked.unlisted = bound(&mut program);
        checked.program = Some(program);
        checked
    }

    /// What it can be, each tried.
    async fn worlds(
        &self,
        program: &Inspection,
        as_agent: &Inspection,
        bytes: &[u8],
        wanted: Option<World>,
    ) -> Vec<Found> {
        let worlds: Vec<World> = match wanted {
            Some(world) => vec![world],
            None => World::value_variants()
                .iter()
                .copied()
                .filter(|world| world.is_of(program))
                // What answers requests is not run for each.
                .filter(|world| *world != World::AgentCommand || !as_agent.exports_handler())
                // What answers requests and keeps nothing is an agent, whatever else it could be.
                .filter(|world| *world != World::Protocol || keeps_rows(program))
                .collect(),
        };
        let (valid, shape) = if worlds.is_empty() {
            (Ok(()), None)
        } else {
            (validate(bytes), hollow(bytes))
        };
        let shape = shape.as_deref().unwrap_or(bytes);
        let mut found: Vec<Found> = Vec::new();
        for world in worlds {
            let links_as_a_program = found
                .iter()
                .any(|found| found.world == World::Program && found.refusal.is_none());
            let named = match world {
                _ if !world.is_of(program) => Err(wrong_world(world, program)),
                World::Program => program.require_command(),
                World::AgentService | World::AgentCommand => as_agent.require_agent().map(drop),
                World::Protocol => {
                    let judged = world.judged(program.clone(), self.plugins);
                    judged.require_agent().map(drop)
                }
                // The same words come of loading it.
                World::PolicyEngine | World::Payments | World::ScriptEngine => Ok(()),
            };
            let judged = match named.and_then(|()| valid.clone()) {
                // Agents are given all that programs are.
                Ok(()) if world == World::AgentCommand && links_as_a_program => Ok(()),
                Ok(()) => self.executor.try_as(world.role(), shape).await,
                refused => refused,
            };
            found.push(Found {
                world,
                version: world.version(program),
                refusal: judged.err().map(Into::into),
            });
        }
        found
    }
}

/// Whether it imports what components of the world `protocol` alone have.
fn keeps_rows(program: &Inspection) -> bool {
    let mut imports = program.imports.iter();
    imports.any(|import| import.name.starts_with("wasi:keyvalue/"))
}

fn wrong_world(world: World, program: &Inspection) -> Refusal {
    let others: Vec<&str> = World::value_variants()
        .iter()
        .filter(|other| other.is_of(program))
        .map(|other| other.name())
        .collect();
    let (name, export) = (world.name(), world.export());
    let what = match (program.kind, others.as_slice()) {
        (Kind::Preview1Module, _) => "a core module becomes a command".to_owned(),
        (Kind::Component, []) => format!("it exports: {}", program.exports.join(", ")),
        (Kind::Component, others) => format!("it is of the world {}", others.join(", ")),
    };
    Refusal::new(
        Rejection::WrongWorld,
        format!("components of the world {name} export {export}, and this one does not; {what}"),
    )
}

/// An import of which the host has another form is as good as missing.
fn mark_mismatch(program: &mut Inspection, refusal: &Refused) {
    for import in &mut program.imports {
        if refusal
            .detail
            .contains(&format!("imports instance `{}`", import.name))
        {
            import.standing = Standing::Missing;
        }
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
    /// Whether a host would take it, as what was asked for or as anything.
    pub fn runs(&self) -> bool {
        self.worlds.iter().any(|found| found.refusal.is_none())
    }

    fn found(&self, world: World) -> Option<&Found> {
        self.worlds.iter().find(|found| found.world == world)
    }

    fn found_agent(&self) -> Option<&Found> {
        self.found(World::AgentService)
            .or_else(|| self.found(World::AgentCommand))
    }

    /// Prints for people.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", plain(&self.file))?;
        writeln!(out, "  sha384   {}", self.sha384)?;
        if let Some(program) = &self.program {
            let kind = serde_json::to_value(program.kind)?;
            writeln!(out, "  kind     {}", kind.as_str().unwrap_or_default())?;
            for found in &self.worlds {
                let version = found.version.as_ref().map(|version| {
                    let export = found.world.export();
                    format!(", by {export}@{}", plain(version))
                });
                let (name, version) = (found.world.name(), version.unwrap_or_default());
                writeln!(out, "  world    {name}{version}")?;
            }
            for export in &program.exports {
                writeln!(out, "  exports  {}", plain(export))?;
            }
            for import in &program.imports {
                let note = match (import.standing, import.host_version) {
                    (Standing::Missing, None) => "  (the host has none)".to_owned(),
                    (_, Some(host)) if !import.name.ends_with(&format!("@{host}")) => {
                        format!("  (the host has {host})")
                    }
                    (Standing::Missing, Some(_)) => "  (the host's has other types)".to_owned(),
                    _ => String::new(),
                };
                let name = plain(&import.name);
                writeln!(out, "  {:<8} {name}{note}", import.standing)?;
            }
            if self.unlisted > 0 {
                writeln!(out, "  … and {} more", self.unlisted)?;
            }
        }
        self.verdicts(out)?;
        match self.initial_memory_wanted {
            Some(bytes) if self.runs() => writeln!(
                out,
                "  hint: its memory ends with its data, so that each instance begins by growing it; link it with --initial-memory={bytes}"
            ),
            _ => Ok(()),
        }
    }

    /// One line for each world that takes it, and one for each reason why another does not.
    fn verdicts(&self, out: &mut impl Write) -> io::Result<()> {
        let taken = |world| {
            self.found(world)
                .is_some_and(|found| found.refusal.is_none())
        };
        if taken(World::Program) && taken(World::AgentCommand) {
            return writeln!(out, "  ok: runs as a command, and as an agent");
        }
        for found in self.worlds.iter().filter(|found| found.refusal.is_none()) {
            writeln!(out, "  ok: {}", found.world.use_of_it())?;
        }
        let mut said: Vec<&Refused> = Vec::new();
        for found in &self.worlds {
            let Some(refusal) = found.refusal.as_ref().filter(|it| !said.contains(it)) else {
                continue;
            };
            said.push(refusal);
            let detail = plain(&refusal.detail);
            if self.runs() {
                writeln!(out, "  refused as {}: {detail}", found.world.name())?;
            } else {
                writeln!(out, "  refused: {detail}")?;
            }
        }
        match &self.refusal {
            Some(refusal) if self.worlds.is_empty() => {
                writeln!(out, "  refused: {}", plain(&refusal.detail))?;
                let is_component = self
                    .program
                    .as_ref()
                    .is_some_and(|program| program.kind == Kind::Component);
                if is_component {
                    let exports = World::value_variants().iter().map(|world| world.export());
                    let mut exports: Vec<&str> = exports.collect();
                    exports.dedup();
                    writeln!(out, "  worlds are told by one of: {}", exports.join(", "))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
