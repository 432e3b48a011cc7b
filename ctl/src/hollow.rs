//! A program's instructions apart from its shape: validated on their own, and left out of what is compiled to see whether it links.
//!
//! Compiling a component of 40 MB takes a minute, its shape a moment; and its imports, exports, memories, tables and instances,
//! which are what a host may refuse it for, are all there in the shape.

use std::convert::Infallible;

use hypervisor::executor::{Refusal, compile_settings};
use hypervisor_protocol::Rejection;
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent};
use wasm_encoder::{CodeSection, Component, Function, Module};
use wasmparser::{CustomSectionReader, FunctionBody, Parser, Payload};
use wasmtime::Engine;

/// What the tools that adapt modules read.
const KEPT: &str = "component-type";

/// Whether every function of every module is valid by the rules that hosts have.
///
/// # Errors
/// What is wrong with the first that is not.
pub(crate) fn validate(program: &[u8]) -> Result<(), Refusal> {
    let invalid = |number: usize, words: String| {
        let detail = format!("core module {number} of the program is not valid: {words}");
        Refusal::new(Rejection::InvalidComponent, detail)
    };
    let engine =
        Engine::new(&compile_settings()).map_err(|error| invalid(0, format!("{error:#}")))?;
    let module = |number, bytes: &[u8]| {
        wasmtime::Module::validate(&engine, bytes)
            .map_err(|error| invalid(number, format!("{error:#}")))
    };
    if Parser::is_core_wasm(program) {
        return module(0, program);
    }
    let mut number = 0;
    for payload in Parser::new(0).parse_all(program) {
        let payload = payload.map_err(|error| invalid(number, error.to_string()))?;
        if let Payload::ModuleSection {
            unchecked_range, ..
        } = payload
        {
            module(number, program.get(unchecked_range).unwrap_or_default())?;
            number += 1;
        }
    }
    Ok(())
}

/// The same program with `unreachable` in the place of every function's instructions, and without what describes them. None
/// where it cannot be written anew.
pub(crate) fn hollow(program: &[u8]) -> Option<Vec<u8>> {
    if Parser::is_core_wasm(program) {
        let mut module = Module::new();
        let parsed = Hollow.parse_core_module(&mut module, Parser::new(0), program);
        return parsed.ok().map(|()| module.finish());
    }
    let mut component = Component::new();
    let parsed = Hollow.parse_component(&mut component, Parser::new(0), program);
    parsed.ok().map(|()| component.finish())
}

struct Hollow;

impl Reencode for Hollow {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        _: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut function = Function::new([]);
        function.instructions().unreachable().end();
        code.function(&function);
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        if section.name().starts_with(KEPT) {
            module.section(&self.custom_section(section)?);
        }
        Ok(())
    }
}

impl ReencodeComponent for Hollow {
    fn parse_component_custom_section(
        &mut self,
        _: &mut Component,
        _: CustomSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        Ok(())
    }
}
