//! Programs: the guests of this repository, and small ones written for one test.

use std::path::Path;

use sha2::{Digest, Sha384};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};

/// The file of a guest of `guests/`.
pub fn guest_file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/guests")
        .join(format!("{name}.wasm"))
}

/// A guest of `guests/`, built.
pub fn guest(name: &str) -> Vec<u8> {
    let path = guest_file(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; run `make guests`", path.display()))
}

/// A component that exports `wasi:cli/run`; `core` is the inside of its core module, which exports `run` (result i32,
/// 0 for ok).
pub fn component(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
             (core module $m {core})
             (core instance $i (instantiate $m))
             (func $run (result (result)) (canon lift (core func $i "run")))
             (instance $exports (export "run" (func $run)))
             (export "wasi:cli/run@0.2.6" (instance $exports)))"#
    );
    wat::parse_str(text).unwrap()
}

/// WebAssembly text to bytes.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A component that imports `import` as an interface and does nothing.
pub fn importing(import: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
             (import "{import}" (instance))
             (core module $m (func (export "run") (result i32) (i32.const 0)))
             (core instance $i (instantiate $m))
             (func $run (result (result)) (canon lift (core func $i "run")))
             (instance $exports (export "run" (func $run)))
             (export "wasi:cli/run@0.2.6" (instance $exports)))"#
    ))
}

/// Looks through the whole memory of a fresh instance for bytes that are not zero, traps if there are any, and leaves
/// its own marker everywhere. `pages` sets the memory's size, `marker` the byte.
pub fn canary(pages: u32, marker: u8) -> Vec<u8> {
    component(&format!(
        r#"(memory (export "memory") {pages})
           (func (export "run") (result i32) (local $p i32) (local $end i32)
             (local.set $end (i32.mul (memory.size) (i32.const 65536)))
             (loop $scan
               (if (i64.ne (i64.load (local.get $p)) (i64.const 0)) (then unreachable))
               (local.set $p (i32.add (local.get $p) (i32.const 8)))
               (br_if $scan (i32.lt_u (local.get $p) (local.get $end))))
             (memory.fill (i32.const 0) (i32.const {marker}) (local.get $end))
             (i32.const 0))"#
    ))
}

/// A preview 1 command module whose only function has a body of about `bytes` bytes that is slow to compile.
pub fn huge_function(bytes: usize) -> Vec<u8> {
    const LOCALS: u32 = 512;
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("_start", ExportKind::Func, 0);
    exports.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut body = Function::new([(LOCALS, ValType::I32)]);
    let mut i = 0_u32;
    while body.byte_len() < bytes {
        // Every value stays alive to the end: hard on register allocation.
        body.instruction(&Instruction::LocalGet(i % LOCALS));
        body.instruction(&Instruction::LocalGet((i + 7) % LOCALS));
        body.instruction(&Instruction::I32Mul);
        body.instruction(&Instruction::LocalSet((i + 13) % LOCALS));
        i += 1;
    }
    body.instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&exports)
        .section(&code);
    module.finish()
}

/// Lines of a configuration that name the Python plugin and its machine code; they go under `[runtime.python]` or `[policy]`.
pub fn python_plugin() -> String {
    compiled_plugin("policy-python")
}

/// The same of the JavaScript plugin; they go under `[runtime.javascript]`.
pub fn javascript_plugin() -> String {
    compiled_plugin("runtime-javascript")
}

/// The same of the front that speaks MCP; they go under `[[protocols]]`.
pub fn mcp_front() -> String {
    compiled_plugin("mcp")
}

/// The same of the front that speaks A2A.
pub fn a2a_front() -> String {
    compiled_plugin("a2a")
}

fn compiled_plugin(name: &str) -> String {
    let path = components().join(format!("{name}.toml"));
    std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run `make test`", path.display()))
}

/// A component of `components/`, built.
pub fn component_file(name: &str) -> std::path::PathBuf {
    let path = components().join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is not built; run `make components`",
        path.display()
    );
    path
}

/// Plugins that were built against version 0.1.0 of the WIT package, and their SHA-384.
const RELEASED: [(&str, &str); 2] = [
    (
        "payments-voucher",
        "3616dcd5856d55dbdc715d20b1d19c44bfaf77db30cd243fb68a9a7f607880b9ca086475e0e66c7b29931c571a701fb7",
    ),
    (
        "policy-rust",
        "d57db0361d8ca6a1f33ec9a559f7c85b08c48213c07d0521052bf6307c988fabf15173d3b28d5b673b319092e03792b7",
    ),
];

/// A plugin of `tests/vectors/plugins/0.1.0`, which is never rebuilt.
pub fn released(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/plugins/0.1.0");
    let path = folder.join(format!("{name}.wasm"));
    let (_, digest) = RELEASED.iter().find(|(it, _)| *it == name).unwrap();
    let found = Sha384::digest(std::fs::read(&path).unwrap());
    assert_eq!(const_hex::encode(found), *digest, "{}", path.display());
    path
}

fn components() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components")
}
