//! What stops a measurement.

use std::fmt::Display;

/// A measurement that cannot be made, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// What a measurement gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of these words.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Names what was being done when something failed.
pub trait Context<T> {
    /// `what` was being done.
    ///
    /// # Errors
    /// Where it failed.
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Error(format!("{what}: {error}")))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl Display) -> Result<T> {
        self.ok_or_else(|| Error(what.to_string()))
    }
}
