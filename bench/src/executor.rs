//! The host's executor in this process, without HTTP, sessions and sealing.

use hypervisor::config::Limits;
use hypervisor::executor::{Executor, Inputs, Outcome, Program, Scope};
use hypervisor::imports::attestation::HostFacts;
use hypervisor_protocol::PrivateKey;

use crate::error::{Context, Error, Result};
use crate::server::host_executable;

pub(crate) fn executor() -> Result<Executor> {
    let identity = PrivateKey::generate().public_key().clone();
    let facts = HostFacts::new(identity);
    Executor::new(&Limits::default(), host_executable()?, facts).context("the executor")
}

/// Compiles `wasm`, or finds it compiled.
pub(crate) async fn prepare(executor: &Executor, wasm: &[u8]) -> Result<Program> {
    let prepared = executor.prepare(Scope::Shared, wasm).await;
    prepared.map_err(|error| Error::new(format!("compiling: {error:?}")))
}

/// Runs `program` without arguments and input.
pub(crate) async fn run(executor: &Executor, program: &Program) -> Outcome {
    executor.run(program, Inputs::default()).await
}
