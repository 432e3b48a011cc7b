//! Python scripts: what a script can rely on, what ends it, and what it cannot do to anyone else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bad_input;
mod command;
mod endpoints;
mod exceptions;
mod execution;
mod host_module;
mod isolation;
mod library;
mod limits;
pub(crate) mod randomness;

use hypervisor_client::protocol::Exit;
use hypervisor_client::{Execution, Program};
use hypervisor_tests::{Host, assert_limit};

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn stderr(execution: &Execution) -> String {
    text(&execution.report.stderr.0)
}

/// Standard output of an execution that ended well.
pub(crate) fn stdout(execution: &Execution) -> String {
    assert_eq!(execution.report.exit, Exit::Ok, "{}", stderr(execution));
    text(&execution.result)
}

async fn run(script: &str) -> Execution {
    Host::with_python("").python(script).await
}

/// Runs a script that must end well; gives its standard output.
async fn output(script: &str) -> String {
    stdout(&run(script).await)
}

/// Runs a script that must end with an exception, whose traceback is the last on standard error; gives standard error.
async fn raised(script: &str) -> String {
    let execution = run(script).await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    stderr(&execution)
}

/// Runs `script` under `[limits]`, then a good one in the same session.
async fn limited(limits: &str, script: &str) -> Execution {
    let host = Host::with_python(&format!("[limits]\n{limits}\n"));
    let session = host.session().await;
    let execution = session
        .run_python(Program::new(script.as_bytes()))
        .await
        .unwrap();
    let next = session
        .run_python(Program::new(b"print('next')"))
        .await
        .unwrap();
    assert_eq!(stdout(&next), "next\n", "the next script runs");
    execution
}
