//! The one place with `unsafe`: loading machine code that this host's own compiler process made.
//!
//! # Audit
//!
//! [`Component::deserialize_file`] runs whatever code it is given, so its input must come from a trusted compiler. There are
//! three ways in. [`super::compile`] passes bytes read from the standard output of a child process that it started from
//! its own executable, with the pipe as the only writer; they never touch a file. [`super::plugin`] passes a file whose
//! SHA-384 it found equal to the one in the operator's configuration, which is part of what is attested. [`super::agent`] passes
//! what [`super::compile`] gave an earlier start of this host, from a file that was encrypted and authenticated (AES-256-GCM-SIV)
//! under a key that the platform gives to this very host image and nobody else. No byte comes
//! from a client: a client's precompiled code is refused by `kind_of` before anything else looks at it. The file that the
//! code is mapped from is this process's own, in memory, and sealed against writing before it is mapped. The engine still
//! checks that version and settings match its own.
#![allow(
    unsafe_code,
    reason = "loading compiled code has no safe interface; see the audit above"
)]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
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

    /// Makes the code runnable. It is mapped from a file in memory that nobody can write, and every memory image of the component
    /// from the same one: one descriptor for each component, however many modules are in it.
    pub(super) fn load(self, engine: &Engine) -> wasmtime::Result<Component> {
        let file = sealed_file(&self.0)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: every constructor takes the output of this host's own compiler (module audit), and the seals keep it so.
        let component = unsafe { Component::deserialize_file(engine, path)? };
        // Pay for the memory images now, not in the first execution.
        component.initialize_copy_on_write_image()?;
        Ok(component)
    }
}

/// A file in memory with this code, which neither this process nor another one can change.
fn sealed_file(code: &[u8]) -> std::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("machine-code", flags)?);
    file.write_all(code)?;
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file)
}
