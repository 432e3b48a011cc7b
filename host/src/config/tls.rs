//! `[tls]`: TLS that ends in the host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[tls]`: TLS that ends in the host; without it the public port speaks HTTP in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Tls {
    /// The certificate, and what signs it, PEM; none by default.
    pub certificate: PathBuf,
    /// Its private key, PEM; none by default.
    pub key: PathBuf,
}

impl Tls {
    /// Whether the public port speaks TLS.
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty() || !self.key.as_os_str().is_empty()
    }
}
