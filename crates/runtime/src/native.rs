//! The one place with `unsafe`: loading machine code that this host's own compiler process made.
//!
//! # Audit
//!
//! [`Component::deserialize`] runs whatever code it is given, so its input must come from a trusted compiler. There are
//! three ways in. [`super::compile`] passes bytes read from the standard output of a child process that it started from
//! its own executable, with the pipe as the only writer; they never touch a file. [`super::plugin`] passes a file whose
//! SHA-384 it found equal to the one in the operator's configuration, which is part of what is attested. [`super::agent`] passes
//! what [`super::compile`] gave an earlier start of this host, from a file that was encrypted and authenticated (AES-256-GCM-SIV)
//! under a key that the platform gives to this very host image and nobody else. No byte comes
//! from a client: a client's precompiled code is refused by [`super::inspect`] before anything else looks at it. The
//! engine still checks that version and settings match its own.
#![allow(
    unsafe_code,
    reason = "loading compiled code has no safe interface; see the audit above"
)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Machine code made by the host's own compiler.
pub(super) struct TrustedCode(Vec<u8>);

impl TrustedCode {
    /// Only for bytes read from the compiler process; see the module's audit.
    pub(super) fn from_compiler_process(code: Vec<u8>) -> Self {
        Self(code)
    }

    /// Only for bytes whose digest the configuration names; see the module's audit.
    pub(super) fn from_configured_digest(code: Vec<u8>) -> Self {
        Self(code)
    }

    /// Only for bytes that were authenticated under the host's sealing key; see the module's audit.
    pub(super) fn from_sealed_store(code: Vec<u8>) -> Self {
        Self(code)
    }

    /// The code, to be kept beside.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The code itself, to be written to a file.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn load(self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: every constructor takes the output of this host's own compiler (module audit).
        let component = unsafe { Component::deserialize(engine, self.0)? };
        // Pay for the memory images now, not in the first execution.
        component.initialize_copy_on_write_image()?;
        Ok(component)
    }
}
