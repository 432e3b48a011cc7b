//! The runtime in this process, without HTTP, sessions and sealing.

use std::sync::Arc;

use hypervisor_runtime::{Client, Executor, Inputs, Outcome, Program, Scope, Settings, Unattested};

use crate::error::{Context, Error, Result};
use crate::server::host_executable;

pub(crate) fn executor() -> Result<Executor> {
    Executor::new(
        &Settings::default(),
        host_executable()?,
        Arc::new(Unattested),
    )
    .context("the executor")
}

/// Compiles `wasm`, or finds it compiled.
pub(crate) async fn prepare(executor: &Executor, wasm: &[u8]) -> Result<Program> {
    let scope = Scope {
        session: [0; 16],
        is_shared: true,
    };
    let prepared = executor
        .prepare(scope, Client::of(b"bench", b""), wasm)
        .await;
    prepared.map_err(|error| Error::new(format!("compiling: {error:?}")))
}

/// Runs `program` without arguments and input.
pub(crate) async fn run(executor: &Executor, program: &Program) -> Outcome {
    executor.run(program, Inputs::default()).await
}
