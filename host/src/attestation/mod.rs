//! Evidence: quotes over what this host is, which sessions it opened and which results it gave.

mod facts;
mod identity;
mod platform;
mod results;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hypervisor_attest::{
    Backend, Binding, Evidence, LogHead, RawQuote, Receipt, Subject, VerifierNonce, snp,
};
use hypervisor_attest_tsm::{QueueLimits, Quote, QuoteFormat, QuoteService};
use hypervisor_protocol::{Commitment, ContentFormat, ExecuteResponse, PaymentReceipt};

use crate::error::Error;

pub use facts::{HostFacts, LogState, MeasureError, Statements};
pub use identity::Identity;
pub use platform::Platform;
use results::Results;

/// Everything that makes evidence.
pub struct Attestation {
    shared: Arc<Shared>,
    results: Results,
}

struct Shared {
    quotes: QuoteService,
    identity: Arc<Identity>,
    facts: Arc<HostFacts>,
    backend: Backend,
    collateral: Option<Vec<u8>>,
    /// Another one takes its place when a plugin is swapped.
    manifest: RwLock<Arc<Document>>,
    boot_id: [u8; 16],
}

/// A manifest with its digest.
#[derive(Debug)]
pub struct Document {
    encoded: Vec<u8>,
    digest: [u8; 48],
}

impl Document {
    /// `encoded` is the manifest in CBOR.
    pub fn new(encoded: Vec<u8>) -> Self {
        Self {
            digest: hypervisor_attest::manifest::digest(&encoded),
            encoded,
        }
    }
}

/// Why there is no evidence now.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The host cannot stand for its own log any more.
    #[error(
        "this host's component log and its register disagree; it gives no evidence until it is started anew"
    )]
    Poisoned,
    /// The driver is busy with others' quotes.
    #[error("more quotes are asked for than the platform makes; try again")]
    Busy,
    /// The platform failed.
    #[error("the platform gives no quote: {0}")]
    Platform(String),
}

impl Attestation {
    /// Starts on `platform`; none where it has no attester. `manifest` is the CBOR of the manifest of a host whose plugins
    /// are loaded.
    ///
    /// # Errors
    /// When the thread that asks for quotes cannot be started, or the operating system gives no randomness.
    pub fn start(
        platform: &Platform,
        identity: Arc<Identity>,
        facts: Arc<HostFacts>,
        manifest: Vec<u8>,
    ) -> Result<Option<Self>, Error> {
        let (Ok(attester), Some(backend)) = (platform.attester(), platform.backend()) else {
            return Ok(None);
        };
        let failed = |e: &dyn std::fmt::Display| Error::Attestation(e.to_string());
        let limits = QueueLimits {
            waiting: 256,
            ..QueueLimits::default()
        };
        let quotes = QuoteService::start(Arc::clone(attester), limits).map_err(|e| failed(&e))?;
        let mut boot_id = [0; 16];
        getrandom::fill(&mut boot_id).map_err(|e| failed(&e))?;
        let shared = Arc::new(Shared {
            quotes,
            identity,
            facts,
            backend,
            collateral: platform.collateral().map(<[u8]>::to_vec),
            manifest: RwLock::new(Arc::new(Document::new(manifest))),
            boot_id,
        });
        let results = Results::start(Arc::clone(&shared));
        Ok(Some(Self { shared, results }))
    }

    /// What the host is now.
    pub fn manifest(&self) -> Arc<Document> {
        self.shared.manifest()
    }

    /// The host has become another one: a plugin was swapped.
    pub fn replace_manifest(&self, manifest: Vec<u8>) {
        let mut current = self
            .shared
            .manifest
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(Document::new(manifest));
    }

    /// Evidence about `subject`.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn evidence(
        &self,
        subject: Subject,
        nonce: Option<VerifierNonce>,
    ) -> Result<Evidence, EvidenceError> {
        let shared = Arc::clone(&self.shared);
        let work = move || shared.evidence(subject, nonce, &shared.manifest());
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| EvidenceError::Platform(e.to_string()))?
    }

    /// The quote over a batch with this result in it, and its evidence.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn result(&self, result: Commitment) -> Result<Evidence, EvidenceError> {
        self.results.attest(result).await
    }

    /// Makes components' statements possible: gets the evidence that they go with.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn introduce(&self) -> Result<(), EvidenceError> {
        let evidence = self.evidence(Subject::Identity, None).await?;
        let statements = Statements::new(Arc::clone(&self.shared.identity), evidence);
        self.shared.facts.introduce(statements);
        Ok(())
    }

    /// Signs the receipt of an exchange.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn receipt(
        &self,
        response: &ExecuteResponse,
        sequence: u64,
        payment: Option<&PaymentReceipt>,
        manifest: &Document,
    ) -> Result<Vec<u8>, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Attestation(e.to_string());
        let mut receipt = Receipt::new(
            response.session_id,
            sequence,
            response.request_commitment,
            response.result_commitment,
            manifest.digest,
            now(),
        );
        if let Some(payment) = payment {
            let bytes = ContentFormat::Cbor
                .encode(payment)
                .map_err(|e| failed(&e))?;
            receipt = receipt.with_payment(bytes);
        }
        let sign =
            |message: &[u8]| Ok::<_, std::convert::Infallible>(self.shared.identity.sign(message));
        receipt.sign(sign).map_err(|e| failed(&e))
    }
}

impl Shared {
    fn manifest(&self) -> Arc<Document> {
        let current = self.manifest.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    fn evidence(
        &self,
        subject: Subject,
        nonce: Option<VerifierNonce>,
        manifest: &Document,
    ) -> Result<Evidence, EvidenceError> {
        let log = self.facts.log();
        if log.poisoned {
            return Err(EvidenceError::Poisoned);
        }
        let binding = self.binding(subject, nonce, manifest, log.head, log.register_bound);
        let quote = self
            .quotes
            .shared_quote(binding.report_data().as_bytes())
            .map_err(|error| match error {
                hypervisor_attest_tsm::Error::QueueFull { .. }
                | hypervisor_attest_tsm::Error::QueueTimeout { .. } => EvidenceError::Busy,
                other => EvidenceError::Platform(other.to_string()),
            })?;
        let (quote, crl) = raw(&quote)?;
        let mut evidence = Evidence::new(quote, &binding);
        evidence.log = Some(log.encoded);
        evidence.manifest = Some(manifest.encoded.clone());
        evidence.collateral.clone_from(&self.collateral);
        evidence.crl = crl;
        Ok(evidence)
    }

    fn binding(
        &self,
        subject: Subject,
        nonce: Option<VerifierNonce>,
        manifest: &Document,
        log: LogHead,
        register_bound: bool,
    ) -> Binding {
        Binding {
            subject,
            nonce,
            identity_public_key: self.identity.public_key().clone(),
            manifest_digest: manifest.digest,
            log,
            register_bound,
            backend: self.backend,
            boot_id: self.boot_id,
        }
    }
}

/// The quote in the form of evidence, and the revocation list that came with it.
fn raw(quote: &Quote) -> Result<(RawQuote, Option<Vec<u8>>), EvidenceError> {
    let failed = |e: hypervisor_attest::Error| EvidenceError::Platform(e.to_string());
    match quote.format {
        QuoteFormat::SevSnp => {
            let report = snp::SnpReport::parse(&quote.bytes).map_err(failed)?;
            let table = quote.certificates.as_deref().unwrap_or_default();
            let found = snp::certificates_of_table(table, report.is_vlek()).map_err(failed)?;
            let report = quote.bytes.clone();
            Ok((
                RawQuote::SevSnp {
                    report,
                    certs: found.certs,
                },
                found.crl,
            ))
        }
        _ => Ok((RawQuote::Tdx(quote.bytes.clone()), None)),
    }
}

/// The vendor's bytes of a quote.
pub fn quote_bytes(evidence: &Evidence) -> Vec<u8> {
    match &evidence.quote {
        RawQuote::Tdx(quote) => quote.clone(),
        RawQuote::SevSnp { report, .. } => report.clone(),
    }
}

/// Unix seconds, by this machine's clock.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
