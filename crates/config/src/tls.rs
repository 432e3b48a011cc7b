//! `[tls]`: TLS that ends in the host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;

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
    /// What it names; none where it names nothing.
    ///
    /// # Errors
    /// Where a file cannot be read, and where the key is not the certificate's.
    pub fn open(&self) -> Result<Option<hypervisor_server::Tls>, Error> {
        let files = [self.certificate.as_path(), self.key.as_path()];
        let open = || hypervisor_server::Tls::open(files, ["tls.certificate", "tls.key"]);
        Ok(self.is_on().then(open).transpose()?)
    }

    /// Whether the public port speaks TLS.
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty() || !self.key.as_os_str().is_empty()
    }
}
