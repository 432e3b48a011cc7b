//! Why a configuration cannot be used: each error names the file or the key, and what mends it.

use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file as named by `--config` or `HYPERVISOR_CONFIG`.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or a value has the wrong type.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A key the host does not know.
    #[error("{}: unknown key `{key}`{}", path.display(), nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Dotted path of the key.
        key: String,
        /// The nearest key that exists.
        nearest: Option<String>,
    },
    /// A value that parses but cannot be used.
    #[error("configuration key `{key}`: {message}")]
    Value {
        /// Dotted path of the key.
        key: &'static str,
        /// What is wrong, and the values that work.
        message: String,
    },
    /// A file of `[tls]` cannot be used.
    #[error(transparent)]
    Tls(#[from] hypervisor_server::Error),
    /// A plugin cannot be given what it needs.
    #[error(transparent)]
    Plugin(#[from] hypervisor_runtime::PluginError),
}
