//! What a script engine says, as WIT has it.

use arbitrary::Arbitrary;

/// An error of a script's.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct Fault {
    pub kind: String,
    pub message: String,
    pub traceback: String,
}

/// Why a script did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub enum ScriptError {
    InvalidSource(Fault),
    Uncaught(Fault),
    Exit(u8),
    InternalError(Option<String>),
}
