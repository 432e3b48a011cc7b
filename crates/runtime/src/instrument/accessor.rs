//! The module that reads and writes what the others hold, and its place in the component.
//!
//! Its memory is a scratch area through which everything goes in parts: what is lifted and lowered never touches the memories of the
//! component.

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
    ComponentTypeSection, ComponentValType, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalType, ImportSection, InstanceSection, InstructionSink, MemArg,
    MemorySection, MemoryType, ModuleArg, ModuleSection, PrimitiveValType, TypeSection, ValType,
};

use super::module::Module;
use super::{ACCESS, Counts};

/// Most bytes that go through at once.
pub(in super::super) const SCRATCH: u32 = 256 << 10;
/// Where they lie; before that is what a list's place is told in.
const START: i32 = 16;
/// Pages of the accessor's memory: the scratch area, and one for what is before it.
const PAGES: u64 = 5;

/// The number that each kind of thing goes on from.
pub(super) struct Places {
    module: u32,
    core_instance: u32,
    core_function: u32,
    core_memory: u32,
    ty: u32,
    function: u32,
    instance: u32,
}

impl Places {
    /// Behind all that there is.
    pub(super) fn of(counts: &Counts) -> Self {
        Self {
            module: counts.modules,
            core_instance: counts.core_instances,
            core_function: counts.core_functions,
            core_memory: counts.core_memories,
            ty: counts.types,
            function: counts.functions,
            instance: counts.instances,
        }
    }
}

/// The form of a function of the accessor, in the core and lifted.
#[derive(Clone, Copy)]
enum Form {
    /// `func() -> u32`
    Size,
    /// `func(pages: u32) -> s32`
    Grow,
    /// `func(offset: u32, length: u32) -> list<u8>`
    Read,
    /// `func(bytes: list<u8>)`
    Write,
    /// `func() -> list<u8>`
    List,
}

const FORMS: [Form; 5] = [Form::Size, Form::Grow, Form::Read, Form::Write, Form::List];

/// Adds the accessor of these core instances, and its export.
pub(super) fn add(component: &mut Component, places: Places, instances: Vec<(u32, &Module)>) {
    let mut module = Accessor::default();
    for &(instance, it) in &instances {
        for (name, ty) in &it.memories {
            module.memory(instance, name, ty);
        }
    }
    for &(instance, it) in &instances {
        for (name, ty) in &it.globals {
            module.global(instance, name, *ty);
        }
    }
    let functions = module.functions();
    component.section(&ModuleSection(&module.encoded(&functions)));

    let mut instantiated = InstanceSection::new();
    let names: Vec<(String, u32)> = instances
        .iter()
        .map(|&(instance, _)| (name_of(instance), instance))
        .collect();
    instantiated.instantiate(
        places.module,
        names
            .iter()
            .map(|(name, instance)| (name.as_str(), ModuleArg::Instance(*instance))),
    );
    component.section(&instantiated);

    let mut aliases = ComponentAliasSection::new();
    let mut alias = |kind, name: &str| {
        aliases.alias(Alias::CoreInstanceExport {
            instance: places.core_instance,
            kind,
            name,
        });
    };
    alias(ExportKind::Memory, "memory");
    alias(ExportKind::Func, "realloc");
    for (name, ..) in &functions {
        alias(ExportKind::Func, name);
    }
    component.section(&aliases);
    component.section(&lifted_types(places.ty));

    let memory = CanonicalOption::Memory(places.core_memory);
    let realloc = CanonicalOption::Realloc(places.core_function);
    let mut lifted = CanonicalFunctionSection::new();
    let mut exported = Vec::new();
    for (at, (name, form, _)) in (1_u32..).zip(&functions) {
        let options: &[CanonicalOption] = match form {
            Form::Size | Form::Grow => &[],
            Form::Read | Form::List => &[memory],
            Form::Write => &[memory, realloc],
        };
        // The first type is that of a list of bytes.
        let ty = places.ty.saturating_add(1).saturating_add(*form as u32);
        let core = places.core_function.saturating_add(at);
        lifted.lift(core, ty, options.iter().copied());
        let function = places.function.saturating_add(at).saturating_sub(1);
        exported.push((name.as_str(), ComponentExportKind::Func, function));
    }
    component.section(&lifted);
    let mut made = ComponentInstanceSection::new();
    made.export_items(exported);
    component.section(&made);
    let mut exports = ComponentExportSection::new();
    exports.export(ACCESS, ComponentExportKind::Instance, places.instance, None);
    component.section(&exports);
}

/// What the accessor calls an instance that it imports from.
fn name_of(instance: u32) -> String {
    format!("i{instance}")
}

fn lifted_types(list: u32) -> ComponentTypeSection {
    let mut types = ComponentTypeSection::new();
    types
        .defined_type()
        .list(ComponentValType::Primitive(PrimitiveValType::U8));
    let number = ComponentValType::Primitive(PrimitiveValType::U32);
    let signed = ComponentValType::Primitive(PrimitiveValType::S32);
    let bytes = ComponentValType::Type(list);
    for form in FORMS {
        let (parameters, result) = match form {
            Form::Size => (vec![], Some(number)),
            Form::Grow => (vec![("pages", number)], Some(signed)),
            Form::Read => (vec![("offset", number), ("length", number)], Some(bytes)),
            Form::Write => (vec![("bytes", bytes)], None),
            Form::List => (vec![], Some(bytes)),
        };
        types.function().params(parameters).result(result);
    }
    types
}

/// The accessor being made.
#[derive(Default)]
struct Accessor {
    imports: ImportSection,
    memories: u32,
    globals: Vec<ValType>,
}

impl Accessor {
    fn memory(&mut self, instance: u32, name: &str, ty: &wasmparser::MemoryType) {
        let ty = MemoryType {
            minimum: ty.initial,
            maximum: ty.maximum,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        self.imports
            .import(&name_of(instance), name, EntityType::Memory(ty));
        self.memories = self.memories.saturating_add(1);
    }

    fn global(&mut self, instance: u32, name: &str, ty: wasmparser::ValType) {
        let val_type = match ty {
            wasmparser::ValType::I64 => ValType::I64,
            wasmparser::ValType::F32 => ValType::F32,
            wasmparser::ValType::F64 => ValType::F64,
            // What else there is was refused.
            _ => ValType::I32,
        };
        let ty = GlobalType {
            val_type,
            mutable: true,
            shared: false,
        };
        self.imports
            .import(&name_of(instance), name, EntityType::Global(ty));
        self.globals.push(val_type);
    }

    /// Each by the name of its export.
    fn functions(&self) -> Vec<(String, Form, Function)> {
        let own = self.memories;
        let mut functions = Vec::new();
        for memory in 0..self.memories {
            let mut add = |name: &str, form, function| {
                functions.push((format!("{name}{memory}"), form, function));
            };
            add(
                "size",
                Form::Size,
                written([], |it| {
                    it.memory_size(memory);
                }),
            );
            add(
                "grow",
                Form::Grow,
                written([], |it| {
                    it.local_get(0).memory_grow(memory);
                }),
            );
            add(
                "read",
                Form::Read,
                written([], |it| {
                    it.i32_const(START).local_get(0).local_get(1);
                    it.memory_copy(own, memory);
                    list(it, own, |it| {
                        it.local_get(1);
                    });
                }),
            );
            add("write", Form::Write, runs(own, memory));
        }
        functions.push(("globals".to_owned(), Form::List, self.read_globals(own)));
        functions.push((
            "set-globals".to_owned(),
            Form::Write,
            self.write_globals(own),
        ));
        functions
    }

    fn read_globals(&self, own: u32) -> Function {
        written([], |it| {
            for (global, ty) in (0_u32..).zip(&self.globals) {
                let place = place_of(own, global);
                it.i32_const(START).global_get(global);
                match ty {
                    ValType::I64 => it.i64_store(place),
                    ValType::F32 => it.f32_store(place),
                    ValType::F64 => it.f64_store(place),
                    _ => it.i32_store(place),
                };
            }
            let length = self.globals.len().saturating_mul(8);
            list(it, own, |it| {
                it.i32_const(i32::try_from(length).unwrap_or(i32::MAX));
            });
        })
    }

    fn write_globals(&self, own: u32) -> Function {
        written([], |it| {
            for (global, ty) in (0_u32..).zip(&self.globals) {
                let place = place_of(own, global);
                it.local_get(0);
                match ty {
                    ValType::I64 => it.i64_load(place),
                    ValType::F32 => it.f32_load(place),
                    ValType::F64 => it.f64_load(place),
                    _ => it.i32_load(place),
                };
                it.global_set(global);
            }
        })
    }

    fn encoded(&self, functions: &[(String, Form, Function)]) -> wasm_encoder::Module {
        let mut types = TypeSection::new();
        let word = ValType::I32;
        for form in FORMS {
            let (parameters, results) = match form {
                Form::Size | Form::List => (0, 1),
                Form::Grow => (1, 1),
                Form::Read => (2, 1),
                Form::Write => (2, 0),
            };
            let words = |count| std::iter::repeat_n(word, count);
            types.ty().function(words(parameters), words(results));
        }
        types.ty().function([word; 4], [word]);
        let mut declared = FunctionSection::new();
        let (mut code, mut exports) = (CodeSection::new(), ExportSection::new());
        declared.function(u32::try_from(FORMS.len()).unwrap_or_default());
        code.function(&realloc());
        exports.export("realloc", ExportKind::Func, 0);
        exports.export("memory", ExportKind::Memory, self.memories);
        for (at, (name, form, function)) in (1_u32..).zip(functions) {
            declared.function(*form as u32);
            code.function(function);
            exports.export(name, ExportKind::Func, at);
        }
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: PAGES,
            maximum: Some(PAGES),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut module = wasm_encoder::Module::new();
        module
            .section(&types)
            .section(&self.imports)
            .section(&declared)
            .section(&memories)
            .section(&exports)
            .section(&code);
        module
    }
}

/// Each global has eight bytes.
fn place_of(memory_index: u32, global: u32) -> MemArg {
    MemArg {
        offset: u64::from(global).saturating_mul(8),
        align: 0,
        memory_index,
    }
}

fn written<const N: usize>(
    locals: [(u32, ValType); N],
    write: impl FnOnce(&mut InstructionSink<'_>),
) -> Function {
    let mut function = Function::new(locals);
    let mut instructions = function.instructions();
    write(&mut instructions);
    instructions.end();
    function
}

/// Gives a list of the scratch area's first bytes: the place where its own place and length stand.
fn list(it: &mut InstructionSink<'_>, own: u32, length: impl FnOnce(&mut InstructionSink<'_>)) {
    let at = |offset| MemArg {
        offset,
        align: 2,
        memory_index: own,
    };
    it.i32_const(0).i32_const(START).i32_store(at(0));
    it.i32_const(0);
    length(it);
    it.i32_store(at(4)).i32_const(0);
}

/// Everything that is lowered lies at the one place; there is no room for more than it has.
fn realloc() -> Function {
    written([], |it| {
        it.local_get(3)
            .i32_const(i32::try_from(SCRATCH).unwrap_or(i32::MAX));
        it.i32_gt_u().if_(BlockType::Empty).unreachable().end();
        it.i32_const(START);
    })
}

/// Copies runs of bytes, each behind its place and its length, from the scratch area into a memory.
fn runs(own: u32, memory: u32) -> Function {
    let (at, end) = (0, 1);
    let word = |offset| MemArg {
        offset,
        align: 0,
        memory_index: own,
    };
    written([(1, ValType::I32)], |it| {
        let length = 2;
        it.local_get(at).local_get(end).i32_add().local_set(end);
        it.block(BlockType::Empty).loop_(BlockType::Empty);
        it.local_get(at).local_get(end).i32_ge_u().br_if(1);
        it.local_get(at).i32_load(word(4)).local_set(length);
        it.local_get(at).i32_load(word(0));
        it.local_get(at).i32_const(8).i32_add();
        it.local_get(length).memory_copy(memory, own);
        it.local_get(at).i32_const(8).i32_add();
        it.local_get(length).i32_add().local_set(at);
        it.br(0).end().end();
    })
}
