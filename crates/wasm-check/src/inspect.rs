//! Reads a program's bytes without running or compiling them: what it is, what it imports, where it starts.

use std::borrow::Cow;

use serde::Serialize;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload};

use crate::offer::{Import, Standing, versions_match};
use hypervisor_protocol::Rejection;

/// A program the host can run as a command, after [`inspect`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// What the bytes are.
    pub kind: Kind,
    /// Imports in the program's order. A core module's are those of the adapter once adapted, so empty here.
    pub imports: Vec<Import>,
    /// Exported interfaces and functions.
    pub exports: Vec<String>,
    /// Bytes of linear memory asked for before the first instruction.
    pub initial_memory: u64,
    /// Whether the imports are judged as an agent's.
    #[serde(skip)]
    pub(crate) agent: bool,
}

/// The two forms a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A component; commands export `wasi:cli/run@0.2.x`.
    Component,
    /// A core module for WASI preview 1; commands export `_start`. It is adapted to a component.
    Preview1Module,
}

/// Why a program cannot run, with one sentence that says what is wrong and what works.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// Stable class.
    pub problem: Rejection,
    /// For people. It may quote names from the program, so it belongs in the sealed report only.
    pub detail: String,
}

impl Refusal {
    /// A refusal; `detail` is one sentence.
    pub fn new(problem: Rejection, detail: impl AsRef<str>) -> Self {
        Self {
            problem,
            detail: cut(detail.as_ref(), MAX_DETAIL).into_owned(),
        }
    }

    fn too_many(what: &str, most: usize) -> Self {
        Self::new(
            Rejection::InvalidComponent,
            format!("the program {what}; this host takes {most} at most"),
        )
    }
}

/// Longest refusal, characters.
const MAX_DETAIL: usize = 2_000;
/// Imports of one component, and names of what it exports.
pub const MAX_IMPORTS: usize = 256;
const MAX_EXPORTS: usize = 1_000;
/// Longest name of an import or an export, bytes.
pub const MAX_NAME: usize = 256;
/// Core modules in one component, nested ones included.
pub const MAX_MODULES: usize = 512;
const PREVIEW1: &str = "wasi_snapshot_preview1";
/// What a preview 1 command exports.
const ENTRY: [&str; 2] = ["_start", "memory"];
const RUN: &str = "wasi:cli/run";
/// What services export.
pub const INCOMING_HANDLER: &str = "wasi:http/incoming-handler";

/// Reads the outermost level of `program`. Nested modules are counted, and read for their memories; full validation is the
/// compiler's. What is collected of a program is bounded, however large it is.
pub fn inspect(program: &[u8]) -> Result<Inspection, Refusal> {
    let invalid = |e: wasmparser::BinaryReaderError| {
        Refusal::new(
            Rejection::InvalidComponent,
            format!("the program is not valid WebAssembly: {e}"),
        )
    };
    let kind = kind_of(program)?;
    let mut inspection = Inspection {
        kind,
        imports: Vec::new(),
        exports: Vec::new(),
        initial_memory: 0,
        agent: false,
    };
    let mut foreign = Foreign::default();
    let mut depth = 0_usize;
    let mut modules = 0_usize;
    for payload in Parser::new(0).parse_all(program) {
        match payload.map_err(invalid)? {
            Payload::ModuleSection { .. } => {
                depth = depth.saturating_add(1);
                modules = modules.saturating_add(1);
                if modules > MAX_MODULES {
                    return Err(Refusal::too_many("has too many core modules", MAX_MODULES));
                }
            }
            Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(invalid)?;
                    // A type at the root only names something the other imports use.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        short(import.name.name)?;
                        if inspection.imports.len() >= MAX_IMPORTS {
                            return Err(Refusal::too_many("has too many imports", MAX_IMPORTS));
                        }
                        inspection.imports.push(Import::judge(import.name.name));
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    if matches!(
                        export.kind,
                        ComponentExternalKind::Instance | ComponentExternalKind::Func
                    ) {
                        short(export.name.name)?;
                        if inspection.exports.len() >= MAX_EXPORTS {
                            return Err(Refusal::too_many("has too many exports", MAX_EXPORTS));
                        }
                        inspection.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::ImportSection(section) if depth == 0 && kind == Kind::Preview1Module => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    if import.module != PREVIEW1 {
                        foreign.add(import.module, import.name);
                    }
                }
            }
            Payload::ExportSection(section) if depth == 0 && kind == Kind::Preview1Module => {
                for export in section {
                    // A module may export any number of functions; those that decide are kept, whatever else there is.
                    let name = export.map_err(invalid)?.name;
                    if inspection.exports.len() < MAX_EXPORTS || ENTRY.contains(&name) {
                        inspection.exports.push(cut(name, MAX_NAME).into_owned());
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory.map_err(invalid)?;
                    let page = 1_u64 << memory.page_size_log2.unwrap_or(16).min(16);
                    let bytes = memory.initial.saturating_mul(page);
                    inspection.initial_memory = inspection.initial_memory.saturating_add(bytes);
                }
            }
            _ => {}
        }
    }
    if let Some(names) = foreign.names {
        return Err(Refusal::new(
            Rejection::MissingImport,
            format!("a core module may import {PREVIEW1} only, and this one also imports {names}"),
        ));
    }
    Ok(inspection)
}

/// Imports of a core module that are not WASI's, as far as a refusal quotes them.
#[derive(Default)]
struct Foreign {
    names: Option<String>,
}

impl Foreign {
    fn add(&mut self, module: &str, name: &str) {
        let names = self.names.get_or_insert_default();
        if names.len() > MAX_DETAIL.saturating_mul(4) {
            return;
        }
        if !names.is_empty() {
            names.push_str(", ");
        }
        names.push_str(&cut(module, MAX_NAME));
        names.push('.');
        names.push_str(&cut(name, MAX_NAME));
    }
}

/// Refuses a name that is longer than any interface's.
fn short(name: &str) -> Result<(), Refusal> {
    if name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(Refusal::new(
        Rejection::InvalidComponent,
        format!(
            "the name of an import or export has {} bytes, and {MAX_NAME} are allowed: `{}`",
            name.len(),
            cut(name, MAX_NAME)
        ),
    ))
}

impl Inspection {
    /// Imports the host does not offer.
    pub fn missing(&self) -> impl Iterator<Item = &Import> {
        self.imports
            .iter()
            .filter(|import| import.standing == Standing::Missing)
    }

    /// The missing imports in words, as far as a refusal quotes them; none where nothing is missing.
    pub(crate) fn missing_in_words(&self) -> Option<String> {
        let mut words = String::new();
        for import in self.missing() {
            if !words.is_empty() {
                words.push_str("; ");
            }
            words.push_str(&import.explain(self.agent));
            // In UTF-8 that is more than as many characters: the rest would be cut.
            if words.len() > MAX_DETAIL.saturating_mul(4) {
                break;
            }
        }
        (!words.is_empty()).then_some(words)
    }

    /// Whether it exports this interface or function, in any version.
    pub fn exports_interface(&self, interface: &str) -> bool {
        let name = |export: &'_ String| {
            export
                .split_once('@')
                .map_or(export.len(), |(name, _)| name.len())
        };
        self.exports
            .iter()
            .any(|export| export.get(..name(export)) == Some(interface))
    }

    /// Whether it exports this interface in a version that a host with version `host` of it takes, any of the same minor one; none
    /// where it does not export it at all.
    pub fn exports_compatible(&self, interface: &str, host: &str) -> Option<bool> {
        let mut versions = self
            .exports
            .iter()
            .filter_map(|export| match export.strip_prefix(interface)? {
                "" => Some(""),
                version => version.strip_prefix('@'),
            })
            .peekable();
        versions.peek()?;
        Some(versions.any(|version| versions_match(version, host)))
    }

    /// Refuses what cannot run as a command: no entry point first, for a program of another world also imports other things.
    pub fn require_command(&self) -> Result<(), Refusal> {
        let exports = |interface| self.exports_interface(interface);
        let entry = match self.kind {
            Kind::Component if exports(RUN) => Ok(()),
            Kind::Component if exports(INCOMING_HANDLER) => Err(Refusal::new(
                Rejection::WrongWorld,
                format!(
                    "the component exports {INCOMING_HANDLER}: it is a service, to be deployed as an agent; a command exports {RUN}@0.2.x"
                ),
            )),
            Kind::Component => Err(Refusal::new(
                Rejection::NoEntryPoint,
                format!(
                    "the component exports no {RUN}@0.2.x; it exports: {}",
                    list(&self.exports)
                ),
            )),
            Kind::Preview1Module if exports("_start") && exports("memory") => Ok(()),
            Kind::Preview1Module if exports("_start") => Err(Refusal::new(
                Rejection::InvalidComponent,
                "the core module does not export its memory as `memory`, which WASI preview 1 works on",
            )),
            Kind::Preview1Module => Err(Refusal::new(
                Rejection::NoEntryPoint,
                format!(
                    "the core module exports no `_start`; it exports: {}",
                    list(&self.exports)
                ),
            )),
        };
        entry?;
        match self.missing_in_words() {
            None => Ok(()),
            Some(words) => Err(Refusal::new(Rejection::MissingImport, words)),
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// The first `most` characters of a text that somebody else wrote, with a sign where that is not all of it.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// What the bytes say that they are: from their first eight, so that it costs nothing.
///
/// # Errors
/// That they are no WebAssembly that a host takes.
pub fn kind_of(program: &[u8]) -> Result<Kind, Refusal> {
    if program.starts_with(b"\x7fELF") {
        return Err(Refusal::new(
            Rejection::Precompiled,
            "the program is precompiled machine code (.cwasm or ELF); send WebAssembly, the host compiles it",
        ));
    }
    if Parser::is_component(program) {
        Ok(Kind::Component)
    } else if Parser::is_core_wasm(program) {
        Ok(Kind::Preview1Module)
    } else if program.starts_with(b"\0asm") {
        Err(Refusal::new(
            Rejection::InvalidComponent,
            "the program has a WebAssembly header of a version this host does not know",
        ))
    } else {
        Err(Refusal::new(
            Rejection::NotWasm,
            "the program is not WebAssembly: send a wasm32-wasip2 component or a wasm32-wasip1 command module",
        ))
    }
}
