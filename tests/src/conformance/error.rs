//! What can go wrong, apart from programs.

use std::path::{Path, PathBuf};

/// Why a suite could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was wrong.
        source: std::io::Error,
    },
    /// The process with the bare engine.
    #[error("{}: {source}", path.display())]
    Engine {
        /// Its file.
        path: PathBuf,
        /// What was wrong.
        source: std::io::Error,
    },
    /// The host did not answer.
    #[error("the host: {0}")]
    Host(#[from] hypervisor_client::Error),
    /// A program as JSON.
    #[error("a program as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file that is not what it should be.
    #[error("{0}")]
    Content(String),
}

impl Error {
    /// For `map_err`, with the path.
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
