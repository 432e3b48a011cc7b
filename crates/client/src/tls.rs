//! Who ends TLS: whom the machine's certificate authorities know, and the host whose evidence names the certificate's key.
//!
//! A client trusts a certificate that the machine trusts, or, once evidence that it verified names a key, that key and no other. Evidence
//! itself may be fetched from anybody: it is believed for its quote and not for its way here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypervisor_verify::Connection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use sha2::{Digest, Sha256};

/// SHA-256 of a SubjectPublicKeyInfo.
type Key = [u8; 32];

/// What one client knows of the keys of its host; shared by its clones.
#[derive(Debug)]
pub(crate) struct Trust {
    provider: Arc<CryptoProvider>,
    /// The machine's authorities; none where it has none.
    authorities: Option<Arc<dyn ServerCertVerifier>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What verified evidence named.
    attested: Option<Key>,
    /// The keys that connections had, and whether an authority knows them.
    seen: BTreeMap<Key, bool>,
    /// Whether a certificate was refused since the last look.
    refused: bool,
}

/// Judges certificates: those of requests, or of a question for evidence.
#[derive(Debug)]
struct Judge {
    trust: Arc<Trust>,
    for_evidence: bool,
}

fn key_of(certificate: &CertificateDer<'_>) -> Result<Key, TlsError> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Sha256::digest(parsed.subject_public_key_info()).into())
}

impl Trust {
    pub(crate) fn new() -> Arc<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities = rustls_platform_verifier::Verifier::new(Arc::clone(&provider));
        Arc::new(Self {
            authorities: authorities.ok().map(|known| Arc::new(known) as _),
            provider,
            state: Mutex::default(),
        })
    }

    /// How to connect with requests, or to ask for evidence.
    ///
    /// # Errors
    /// None that is known.
    pub(crate) fn config(self: &Arc<Self>, for_evidence: bool) -> Result<ClientConfig, TlsError> {
        let judge = Judge {
            trust: Arc::clone(self),
            for_evidence,
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge));
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The connection that a certificate was shown on.
    pub(crate) fn connection(&self, certificate: &[u8]) -> Option<Connection> {
        let key = key_of(&CertificateDer::from(certificate)).ok()?;
        let trusted = self.lock().seen.get(&key).copied().unwrap_or_default();
        Some(Connection { key, trusted })
    }

    /// From now on the host has this key: evidence of it that was verified says so.
    pub(crate) fn attested(&self, key: Key) {
        self.lock().attested = Some(key);
    }

    /// Whether a certificate was refused since this was last asked.
    pub(crate) fn was_refused(&self) -> bool {
        std::mem::take(&mut self.lock().refused)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let key = key_of(certificate)?;
        let known = match &self.trust.authorities {
            Some(known) => known.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let mut state = self.trust.lock();
        state.seen.insert(key, known.is_ok());
        let judged = match state.attested {
            _ if self.for_evidence => Ok(ServerCertVerified::assertion()),
            Some(attested) if attested == key => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(TlsError::General(
                "the certificate has another key than the host's evidence named".to_owned(),
            )),
            None => known,
        };
        state.refused |= judged.is_err();
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// Certificates that nobody signed.
    const HOST: &[u8] = include_bytes!("../../../tests/vectors/tls/host.certificate.pem");
    const OTHER: &[u8] = include_bytes!("../../../tests/vectors/tls/other.certificate.pem");

    #[test]
    fn a_key_that_evidence_named_is_the_only_one_from_then_on() {
        let trust = Trust::new();
        let [host, other] = [HOST, OTHER].map(|pem| CertificateDer::from_pem_slice(pem).unwrap());
        let accepts = |for_evidence: bool, certificate: &CertificateDer<'_>| {
            let judge = Judge {
                trust: Arc::clone(&trust),
                for_evidence,
            };
            let name = ServerName::try_from("localhost").unwrap();
            let judged = judge.verify_server_cert(certificate, &[], &name, &[], UnixTime::now());
            judged.is_ok()
        };
        assert!(!accepts(false, &host));
        assert!(trust.was_refused() && !trust.was_refused());
        // Evidence is judged by itself, whoever hands it out.
        assert!(accepts(true, &host) && accepts(true, &other));
        let connection = trust.connection(&host).unwrap();
        assert!(!connection.trusted);
        trust.attested(connection.key);
        assert!(accepts(false, &host) && !trust.was_refused());
        assert!(!accepts(false, &other) && trust.was_refused());
    }
}
