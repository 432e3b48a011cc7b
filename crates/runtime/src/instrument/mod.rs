//! Instrumenting a component, in the compiler process: it gets an export through which the host reads what its instances hold in
//! memory, and writes it into others.
//!
//! Every core module exports its mutable globals and its memories under names of its own. A module of ours, the accessor
//! ([`accessor`]), imports them all; its functions are lifted with a memory of its own, so that no heap of the component is touched,
//! and stand in one instance, [`ACCESS`], which only the host can call. What the component was otherwise is not changed, and what is
//! measured are its own bytes.
//!
//! Left alone are tables: a component that changes one while it runs is refused, as is all else that would be state of another kind.

mod accessor;
mod module;

use std::collections::BTreeMap;

use wasm_encoder::{Component, ComponentSectionId, RawSection};
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, Encoding,
    ExternalKind, Instance, Parser, Payload,
};

use accessor::Places;
pub(super) use accessor::SCRATCH;
use module::Module;

/// What the instrumented component exports besides.
pub(super) const ACCESS: &str = "hypervisor:snapshot/access@0.1.0";
/// Of what this makes: a state fits only what the same version made.
pub const INSTRUMENTER_VERSION: &str = "1";

/// Why a component is not instrumented.
#[derive(Debug, thiserror::Error)]
pub(super) enum Uninstrumented {
    /// It cannot be read; it was not checked, then.
    #[error("{0}")]
    Invalid(#[from] wasmparser::BinaryReaderError),
    /// It has state that would be lost.
    #[error("{0}")]
    State(&'static str),
}

/// Numbers of what a component has so far.
#[derive(Default)]
struct Counts {
    modules: u32,
    core_instances: u32,
    core_functions: u32,
    core_memories: u32,
    types: u32,
    functions: u32,
    instances: u32,
}

/// The component with [`ACCESS`].
pub(super) fn instrument(component: &[u8]) -> Result<Vec<u8>, Uninstrumented> {
    let mut made = Component::new();
    let mut counts = Counts::default();
    let mut modules: BTreeMap<u32, Module> = BTreeMap::new();
    let mut instantiated: BTreeMap<u32, u32> = BTreeMap::new();
    let mut depth = 0_u32;
    // A module's own sections follow it, and end with it.
    let mut inner: Option<u32> = None;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        if let Some(level) = inner {
            match payload {
                Payload::End(_) if level == 0 => inner = None,
                Payload::End(_) => inner = Some(level.saturating_sub(1)),
                _ => {}
            }
            continue;
        }
        if depth > 0 {
            match payload {
                Payload::ModuleSection { .. } => {
                    return Err(Uninstrumented::State("a component within it has modules"));
                }
                Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
            continue;
        }
        if let Payload::ModuleSection {
            unchecked_range, ..
        } = &payload
        {
            let bytes = component.get(unchecked_range.clone()).unwrap_or_default();
            let module = Module::read(bytes)?;
            made.section(&RawSection {
                id: ComponentSectionId::CoreModule.into(),
                data: module.bytes(),
            });
            modules.insert(counts.modules, module);
            counts.modules = counts.modules.saturating_add(1);
            inner = Some(0);
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            let data = component.get(range).unwrap_or_default();
            made.section(&RawSection { id, data });
        }
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => return Err(Uninstrumented::State("it is a module")),
            Payload::ComponentSection { .. } => depth = 1,
            Payload::ComponentStartSection { .. } => {
                return Err(Uninstrumented::State("it has a start function"));
            }
            Payload::InstanceSection(all) => {
                for instance in all {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let before = instantiated.insert(module_index, counts.core_instances);
                        let has_state = modules.get(&module_index).is_some_and(Module::has_state);
                        if before.is_some() && has_state {
                            let words = "a module of it is instantiated more than once";
                            return Err(Uninstrumented::State(words));
                        }
                    }
                    counts.core_instances = counts.core_instances.saturating_add(1);
                }
            }
            other => counts.take(other)?,
        }
    }
    let globals: usize = modules.values().map(|module| module.globals.len()).sum();
    if globals.saturating_mul(8) > SCRATCH as usize {
        return Err(Uninstrumented::State(
            "it has more globals than go through at once",
        ));
    }
    let places = Places::of(&counts);
    let with_state = instantiated
        .iter()
        .filter_map(|(module, instance)| Some((*instance, modules.get(module)?)))
        .filter(|(_, module)| module.has_state());
    accessor::add(&mut made, places, with_state.collect());
    Ok(made.finish())
}

impl Counts {
    /// Counts what a section brings.
    fn take(&mut self, payload: Payload<'_>) -> Result<(), Uninstrumented> {
        match payload {
            Payload::ComponentInstanceSection(all) => {
                self.instances = self.instances.saturating_add(all.count());
            }
            Payload::ComponentTypeSection(all) => {
                self.types = self.types.saturating_add(all.count());
            }
            Payload::ComponentAliasSection(all) => {
                for alias in all {
                    match alias? {
                        ComponentAlias::CoreInstanceExport { kind, .. } => match kind {
                            ExternalKind::Func => bump(&mut self.core_functions),
                            ExternalKind::Memory => bump(&mut self.core_memories),
                            _ => {}
                        },
                        ComponentAlias::InstanceExport { kind, .. } => self.item(kind)?,
                        ComponentAlias::Outer { kind, .. } => match kind {
                            ComponentOuterAliasKind::Type => bump(&mut self.types),
                            ComponentOuterAliasKind::CoreType => {}
                            _ => return Err(Uninstrumented::State("it has modules of another")),
                        },
                    }
                }
            }
            Payload::ComponentCanonicalSection(all) => {
                for function in all {
                    match function? {
                        CanonicalFunction::Lift { .. } => bump(&mut self.functions),
                        _ => bump(&mut self.core_functions),
                    }
                }
            }
            Payload::ComponentImportSection(all) => {
                for import in all {
                    self.item(import?.ty.kind())?;
                }
            }
            Payload::ComponentExportSection(all) => {
                for export in all {
                    let export = export?;
                    if export.name.name == ACCESS {
                        return Err(Uninstrumented::State("it exports the host's own access"));
                    }
                    self.item(export.kind)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn item(&mut self, kind: ComponentExternalKind) -> Result<(), Uninstrumented> {
        match kind {
            ComponentExternalKind::Func => bump(&mut self.functions),
            ComponentExternalKind::Type => bump(&mut self.types),
            ComponentExternalKind::Instance => bump(&mut self.instances),
            ComponentExternalKind::Module
            | ComponentExternalKind::Component
            | ComponentExternalKind::Value => {
                return Err(Uninstrumented::State(
                    "it passes modules, components or values on",
                ));
            }
        }
        Ok(())
    }
}

fn bump(count: &mut u32) {
    *count = count.saturating_add(1);
}
