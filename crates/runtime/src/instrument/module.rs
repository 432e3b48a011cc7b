//! One core module, with exports for all that its instances hold.

use wasm_encoder::{ExportKind, ExportSection, RawSection, SectionId};
use wasmparser::{
    Export, ExternalKind, GlobalType, MemoryType, Operator, Parser, Payload, TypeRef, ValType,
};

use super::Uninstrumented;

/// Names of the added exports begin so.
const PREFIX: &str = "__hypervisor_";
const EXPORT: u8 = SectionId::Export as u8;

/// A module and the state of its instances.
pub(super) struct Module {
    bytes: Vec<u8>,
    /// Its mutable globals: under which name they are exported, and their type.
    pub(super) globals: Vec<(String, ValType)>,
    /// Its memories likewise.
    pub(super) memories: Vec<(String, MemoryType)>,
}

impl Module {
    /// Reads a module and adds the exports.
    pub(super) fn read(module: &[u8]) -> Result<Self, Uninstrumented> {
        let (mut globals, mut memories) = (Vec::new(), Vec::new());
        let (mut next_global, mut next_memory) = (0_u32, 0_u32);
        let mut exports: Vec<Export<'_>> = Vec::new();
        let mut sections: Vec<(u8, &[u8])> = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            if let Some((id, range)) = payload.as_section() {
                sections.push((id, module.get(range).unwrap_or_default()));
            }
            match payload {
                Payload::ImportSection(all) => {
                    for import in all.into_imports() {
                        match import?.ty {
                            TypeRef::Global(_) => next_global = next_global.saturating_add(1),
                            TypeRef::Memory(_) => next_memory = next_memory.saturating_add(1),
                            _ => {}
                        }
                    }
                }
                Payload::GlobalSection(all) => {
                    for global in all {
                        let ty = global?.ty;
                        if ty.mutable {
                            globals.push((next_global, numeric(ty)?));
                        }
                        next_global = next_global.saturating_add(1);
                    }
                }
                Payload::MemorySection(all) => {
                    for memory in all {
                        let ty = memory?;
                        if ty.memory64 || ty.shared || ty.page_size_log2.is_some() {
                            return Err(Uninstrumented::State(
                                "a memory of it is shared, of 64 bits, or of other pages",
                            ));
                        }
                        memories.push((next_memory, ty));
                        next_memory = next_memory.saturating_add(1);
                    }
                }
                Payload::ExportSection(all) => {
                    for export in all {
                        exports.push(export?);
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader()? {
                        changes_no_table(&operator?)?;
                    }
                }
                _ => {}
            }
        }
        let named = |kind: &str, index: u32| format!("{PREFIX}{kind}{index}");
        let globals = globals
            .into_iter()
            .map(|(at, ty)| (at, named("global", at), ty));
        let globals: Vec<_> = globals.collect();
        let memories = memories
            .into_iter()
            .map(|(at, ty)| (at, named("memory", at), ty));
        let memories: Vec<_> = memories.collect();
        let mut section = ExportSection::new();
        for export in &exports {
            if export.name.starts_with(PREFIX) {
                return Err(Uninstrumented::State(
                    "a module of it exports names of the host's",
                ));
            }
            section.export(export.name, kind_of(export.kind), export.index);
        }
        for (at, name, _) in &globals {
            section.export(name, ExportKind::Global, *at);
        }
        for (at, name, _) in &memories {
            section.export(name, ExportKind::Memory, *at);
        }
        Ok(Self {
            bytes: rewritten(&sections, &section),
            globals: globals
                .into_iter()
                .map(|(_, name, ty)| (name, ty))
                .collect(),
            memories: memories
                .into_iter()
                .map(|(_, name, ty)| (name, ty))
                .collect(),
        })
    }

    /// With the added exports.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn has_state(&self) -> bool {
        !self.globals.is_empty() || !self.memories.is_empty()
    }
}

/// The sections in their order, `exports` in the place of the module's own.
fn rewritten(sections: &[(u8, &[u8])], exports: &ExportSection) -> Vec<u8> {
    let mut module = wasm_encoder::Module::new();
    let mut is_written = false;
    for &(id, data) in sections {
        // Behind exports stand what starts, fills tables, runs and fills memories; of no number are custom sections.
        if !is_written && is_behind_exports(id) {
            module.section(exports);
            is_written = true;
        }
        if id != EXPORT {
            module.section(&RawSection { id, data });
        }
    }
    if !is_written {
        module.section(exports);
    }
    module.finish()
}

fn is_behind_exports(id: u8) -> bool {
    [
        SectionId::Export,
        SectionId::Start,
        SectionId::Element,
        SectionId::DataCount,
        SectionId::Code,
        SectionId::Data,
    ]
    .into_iter()
    .any(|behind| behind as u8 == id)
}

fn numeric(ty: GlobalType) -> Result<ValType, Uninstrumented> {
    match ty.content_type {
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 => Ok(ty.content_type),
        ValType::V128 | ValType::Ref(_) => Err(Uninstrumented::State(
            "a global of it holds a vector or a reference",
        )),
    }
}

fn changes_no_table(operator: &Operator<'_>) -> Result<(), Uninstrumented> {
    match operator {
        Operator::TableSet { .. }
        | Operator::TableGrow { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. }
        | Operator::ElemDrop { .. }
        | Operator::DataDrop { .. } => Err(Uninstrumented::State(
            "it changes a table, or drops a segment, while it runs",
        )),
        _ => Ok(()),
    }
}

fn kind_of(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}
