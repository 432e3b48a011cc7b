//! Writes programs that nobody wrote, from a number on: `programs FIRST [COUNT]`, one behind another as `hypervisor_tests::differential` reads
//! them.

use std::io::{self, Write};

use arbitrary::Unstructured;
use sha2::{Digest, Sha256};

/// Bytes of memory that one may ask for: twice what hosts of the comparison give.
const MEMORY: u64 = 8 << 20;
/// Elements of a table, likewise.
const TABLE: u64 = 20_000;
/// Loops and calls of a program that is made to end.
const STEPS: u32 = 100;
/// Bytes that one program is made of.
const MATTER: u64 = 8 << 10;
const RUN: &str = "wasi:cli/run@0.2.6";

/// The program of a number: the same each time. It is a command whose core module is made at random; none where that cannot be.
///
/// Three of four are made to end; one of sixteen may have what this engine is built without.
fn program(seed: u64) -> Option<Vec<u8>> {
    let matter: Vec<u8> = (0..MATTER / 32)
        .flat_map(|n| Sha256::digest([seed, n].map(u64::to_be_bytes).concat()))
        .collect();
    let shape = wat::parse_str(r#"(module (func (export "run") (result i32) unreachable))"#);
    let beyond = seed % 16 == 15;
    let config = wasm_smith::Config {
        exports: Some(shape.expect("text of this file")),
        max_imports: 0,
        max_memory32_bytes: MEMORY,
        max_memory64_bytes: MEMORY.into(),
        max_table_elements: TABLE,
        disallow_traps: seed % 2 == 0,
        // References to what is outside are a part of that.
        reference_types_enabled: beyond,
        gc_enabled: beyond,
        exceptions_enabled: beyond,
        threads_enabled: beyond,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&matter)).ok()?;
    if seed % 4 != 3 {
        module.ensure_termination(STEPS).ok()?;
    }
    Some(command(&module.to_bytes()))
}

/// A command around a core module that exports `run`, of whose result the last bit counts: any other is no result of a command.
fn command(module: &[u8]) -> Vec<u8> {
    let text = format!(
        r#"(component
             (core module $made (func (export "run") (result i32) unreachable))
             (core module $bit
               (import "made" "run" (func $run (result i32)))
               (func (export "run") (result i32) (i32.and (call $run) (i32.const 1))))
             (core instance $made (instantiate $made))
             (core instance $bit (instantiate $bit (with "made" (instance $made))))
             (func $run (result (result)) (canon lift (core func $bit "run")))
             (instance $exports (export "run" (func $run)))
             (export "{RUN}" (instance $exports)))"#
    );
    let around = wat::parse_str(text).expect("text of this file");
    // Behind a preamble of 8 bytes, the first section is the first module, for which the one that was made is put.
    let (preamble, rest) = around.split_at(8);
    const CORE_MODULE: u8 = 1;
    assert!(rest[0] == CORE_MODULE && rest[1] < 0x80);
    let behind = &rest[2 + usize::from(rest[1])..];
    [preamble, &[CORE_MODULE], &leb(module.len()), module, behind].concat()
}

/// A number in LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise| {
        arguments
            .next()
            .map_or(Ok(otherwise), |text| text.parse::<u64>())
    };
    let (first, count) = (number(0)?, number(u64::MAX)?);
    let mut out = io::stdout().lock();
    for seed in first..first.saturating_add(count) {
        if let Some(program) = program(seed) {
            let head = [seed, program.len() as u64].map(u64::to_be_bytes).concat();
            // Whoever reads them stops when there were enough.
            if out.write_all(&[head, program].concat()).is_err() {
                break;
            }
        }
    }
    Ok(())
}
