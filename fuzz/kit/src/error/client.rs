//! The errors of the client that the readers here give.

/// Why something was not read.
#[derive(Debug)]
#[allow(dead_code, reason = "for people")]
pub enum Error {
    /// What was answered is not what it should be.
    Answer { what: &'static str, reason: String },
    /// What was asked for makes no request.
    Request { reason: String },
    /// A setting has no such value.
    Setting {
        what: &'static str,
        text: String,
        reason: String,
    },
    /// A payment is asked for in a way that is not understood.
    Challenge { reason: String },
}
