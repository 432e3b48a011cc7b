//! What the host makes of what policies, scripts and environments answer. The values are those that come out of WIT, without the engine that brings them.

mod said;
mod script;

/// Where the runtime has it.
mod outcome {
    pub(super) use hypervisor_protocol::Exit;
}

use arbitrary::{Arbitrary, Result, Unstructured};
use hypervisor_protocol::Exit;

pub use said::{Failure, Written};
pub use script::{Fault, ScriptError};

/// What components answer.
#[derive(Debug, Clone, Arbitrary)]
pub struct Answers {
    /// Of a policy: why not.
    pub reason: String,
    /// Of any of them: why there is no answer.
    pub failure: Failed,
    /// What was printed meanwhile.
    pub written: Written,
    /// Of a script engine: why a script did not end well.
    pub error: ScriptError,
    /// Of an environment: what a handler or a turn came to.
    pub value: Option<String>,
}

/// Errors in WIT that have words.
#[derive(Debug, Clone, Arbitrary)]
pub enum Failed {
    Rules(String),
    Offer(String),
    Unavailable(String),
    Internal(Option<String>),
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Rules(words) => Self::Rules(words),
            Failed::Offer(words) => Self::Offer(words),
            Failed::Unavailable(words) => Self::Unavailable(words),
            Failed::Internal(words) => Self::Internal(words),
        }
    }
}

/// Answers of all kinds.
pub fn given(bytes: &[u8]) -> Result<Answers> {
    Answers::arbitrary(&mut Unstructured::new(bytes))
}

/// A policy's reason in a report.
pub fn reason(words: &str) -> String {
    said::reason(words)
}

/// Why rules are not taken into use.
pub fn of_rules(failure: &Failure, written: &Written) -> String {
    failure.of_rules(written)
}

/// What was printed, in lines.
pub fn lines(bytes: &[u8]) -> Vec<String> {
    said::lines(bytes)
}

/// How a script ended, and what is to be printed of it.
pub fn ended(error: ScriptError) -> (Exit, Option<Fault>) {
    said::ended(error)
}
