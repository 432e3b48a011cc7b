//! TLS that ends in the host, under a certificate of the operator's whose key the host's evidence names.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::error::Error;
use crate::pem::{identity, unusable};

/// What a client may choose from.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    key: [u8; 32],
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls")
            .field(&const_hex::encode(self.key))
            .finish()
    }
}

impl Tls {
    /// A certificate with what signs it, and its key, from two files; `names` are what the configuration calls them.
    ///
    /// # Errors
    /// [`Error::File`] where one cannot be read, and where the key is not the certificate's.
    pub fn open(files: [&Path; 2], names: [&'static str; 2]) -> Result<Self, Error> {
        let [certificate, secret] = files;
        let (chain, key) = identity(files, names)?;
        let parsed = chain
            .first()
            .ok_or(rustls::Error::NoCertificatesPresented)
            .and_then(|own| Ok(ParsedCertificate::try_from(own)?.subject_public_key_info()))
            .map_err(|error| unusable(names[0], certificate, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| unusable(names[1], secret, &error))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            key: Sha256::digest(&parsed).into(),
        })
    }

    /// SHA-256 of the certificate's public key (SubjectPublicKeyInfo): what clients pin, and evidence names.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }
}
