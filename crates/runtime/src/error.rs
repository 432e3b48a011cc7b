//! Why a runtime cannot be had.

/// The runtime did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused its settings.
    #[error("cannot start the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The operating system has no random numbers.
    #[error("the operating system gave no random numbers")]
    NoRandomness,
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}
