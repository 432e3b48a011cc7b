//! What the executor takes and gives back.

use std::time::Duration;

use bytes::Bytes;
pub use hypervisor_protocol::Exit;
use hypervisor_protocol::metered::Budget;

use super::tap::Tap;

/// What a program or script is given. Limits are the executor's own.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Arguments, without a program name in front.
    pub arguments: Vec<String>,
    /// Standard input.
    pub stdin: Bytes,
    /// What it may cost, where it is paid by use.
    pub budget: Option<Budget>,
    /// Where its output is read while it runs; the outcome has the rest.
    pub tap: Option<Tap>,
}

/// What came of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// Standard output, at most the output limit.
    pub stdout: Vec<u8>,
    /// Standard error, at most its limit.
    pub stderr: Vec<u8>,
    /// More was written to standard output than is here.
    pub stdout_truncated: bool,
    /// More was written to standard error than is here.
    pub stderr_truncated: bool,
    /// Processor time of the guest and of the host calls it made.
    pub cpu: Duration,
    /// Time from start to end.
    pub wall: Duration,
    /// Largest linear memory, bytes.
    pub peak_memory: u64,
}

impl Outcome {
    /// The outcome of something that never started.
    pub fn not_run(exit: Exit) -> Self {
        Self {
            exit,
            stdout: Vec::new(),
            stderr: Vec::new(),
            stdout_truncated: false,
            stderr_truncated: false,
            cpu: Duration::ZERO,
            wall: Duration::ZERO,
            peak_memory: 0,
        }
    }
}
