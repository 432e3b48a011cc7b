//! TLS of the admin port, which may ask clients for certificates in the place of a token.

use std::sync::Arc;

use hypervisor_server::pem::{identity, unusable};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::AdminTls;
use crate::error::Error;

const KEYS: [&str; 2] = ["admin.tls.certificate", "admin.tls.key"];
const CLIENT_CA: &str = "admin.tls.client_ca";

/// What ends TLS as `[admin.tls]` says, and whether it asks clients for certificates; none where the section is empty.
pub(super) fn acceptor(settings: &AdminTls) -> Result<Option<(TlsAcceptor, bool)>, Error> {
    if !settings.is_on() {
        return Ok(None);
    }
    let (chain, key) = identity([&settings.certificate, &settings.key], KEYS)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(KEYS[1], &settings.key, &error))?;
    let asks = !settings.client_ca.as_os_str().is_empty();
    let config = if asks {
        let refused =
            |error: &dyn std::fmt::Display| unusable(CLIENT_CA, &settings.client_ca, error);
        let mut roots = RootCertStore::empty();
        let read = CertificateDer::pem_file_iter(&settings.client_ca).map_err(|e| refused(&e))?;
        for certificate in read {
            let certificate = certificate.map_err(|e| refused(&e))?;
            roots.add(certificate).map_err(|e| refused(&e))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|e| refused(&e))?;
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let mut config = config
        .with_single_cert(chain, key)
        .map_err(|error| unusable(KEYS[1], &settings.key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some((TlsAcceptor::from(Arc::new(config)), asks)))
}
