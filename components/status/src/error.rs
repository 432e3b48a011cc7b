//! Why there is no page.

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The document is not one.
    #[error("the document cannot be read: {0}")]
    Document(#[from] serde_json::Error),
    /// Standard input or output failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
