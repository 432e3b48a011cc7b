//! The one place with `unsafe`: loading machine code that this host's own compiler process made.
//!
//! # Audit
//!
//! [`Component::deserialize`] runs whatever code it is given, so its input must come from a trusted compiler. The only
//! caller is [`super::compile`], which passes bytes read from the standard output of a child process that it started
//! from its own executable, with the pipe as the only writer; those bytes never touch a file and never come from a
//! client (a client's precompiled code is refused by [`super::inspect`] before anything else looks at it). The engine
//! still checks that version and settings match its own.
#![allow(
    unsafe_code,
    reason = "loading compiled code has no safe interface; see the audit above"
)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Machine code made by the host's own compiler process.
pub(super) struct TrustedCode(Vec<u8>);

impl TrustedCode {
    /// Only for bytes read from the compiler process; see the module's audit.
    pub(super) fn from_compiler_process(code: Vec<u8>) -> Self {
        Self(code)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn load(self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the type's only constructor takes the compiler process's output (module audit).
        let component = unsafe { Component::deserialize(engine, self.0)? };
        // Pay for the memory images now, not in the first execution.
        component.initialize_copy_on_write_image()?;
        Ok(component)
    }
}
