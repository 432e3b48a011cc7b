//! TLS that ends in the host, under a certificate of the operator's whose key the host's evidence names.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::config;
use crate::error::Error;
use crate::pem::{identity, unusable};

const KEYS: [&str; 2] = ["tls.certificate", "tls.key"];
/// What a client may choose from.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
    key: [u8; 32],
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls")
            .field(&crate::manifest::hex(&self.key))
            .finish()
    }
}

impl Tls {
    /// What `[tls]` names; none where it names nothing.
    ///
    /// # Errors
    /// Where a file cannot be read, and where the key is not the certificate's.
    pub fn open(settings: &config::Tls) -> Result<Option<Self>, Error> {
        if !settings.is_on() {
            return Ok(None);
        }
        let (chain, key) = identity([&settings.certificate, &settings.key], KEYS)?;
        let parsed = chain
            .first()
            .ok_or(rustls::Error::NoCertificatesPresented)
            .and_then(|own| Ok(ParsedCertificate::try_from(own)?.subject_public_key_info()))
            .map_err(|error| unusable(KEYS[0], &settings.certificate, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| unusable(KEYS[1], &settings.key, &error))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            key: Sha256::digest(&parsed).into(),
        }))
    }

    /// SHA-256 of the certificate's public key (SubjectPublicKeyInfo): what clients pin, and evidence names.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }
}
