//! Evidence: quotes over what this host is, which sessions it opened and which results it gave.

mod facts;
mod identity;
mod journal;
mod measured;
mod platform;
mod queue;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hypervisor_evidence::{
    Attester, Backend, Binding, Evidence, Quote, QuoteFormat, RawQuote, Receipt, Subject,
    VerifierNonce, snp, tdx,
};
use hypervisor_protocol::{Commitment, ContentFormat, ExecuteResponse, PaymentReceipt};

use crate::error::Error;

pub use facts::{HostFacts, Statements};
pub use identity::Identity;
pub(crate) use measured::Measured;
use measured::Snapshot;
pub use measured::{Loader, MeasureError};
pub use platform::Platform;
pub use queue::Attested;
use queue::{Bounds, Queue, Request};

/// Manifests of before a swap that a result may still have to be quoted under.
const EARLIER_MANIFESTS: usize = 256;

/// Everything that makes evidence.
pub struct Attestation {
    shared: Arc<Shared>,
    queue: Queue,
}

struct Shared {
    attester: Arc<dyn Attester>,
    identity: Arc<Identity>,
    facts: Arc<HostFacts>,
    backend: Backend,
    collateral: Option<Vec<u8>>,
    /// The present one, and before it those that swaps replaced.
    manifests: RwLock<VecDeque<Arc<Document>>>,
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
            digest: hypervisor_evidence::manifest::digest(&encoded),
            encoded,
        }
    }
}

/// Why there is no evidence now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EvidenceError {
    /// The host cannot stand for its own log any more.
    #[error(
        "this host's component log and its register disagree; it gives no evidence until it is restarted"
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
    /// are loaded. To be called on the runtime that answers requests.
    ///
    /// # Errors
    /// When the manifest or the collateral is longer than a verifier reads, or the operating system gives no randomness.
    pub fn start(
        platform: &Platform,
        identity: Arc<Identity>,
        facts: Arc<HostFacts>,
        manifest: Vec<u8>,
    ) -> Result<Option<Self>, Error> {
        let (Ok(attester), Some(backend)) = (platform.attester(), platform.backend()) else {
            return Ok(None);
        };
        let collateral = platform.collateral().map(<[u8]>::to_vec);
        readable(&manifest, collateral.as_deref())?;
        let mut boot_id = [0; 16];
        getrandom::fill(&mut boot_id).map_err(|e| Error::Attestation(e.to_string()))?;
        let shared = Arc::new(Shared {
            attester: Arc::clone(attester),
            identity,
            facts,
            backend,
            collateral,
            manifests: RwLock::new(VecDeque::from([Arc::new(Document::new(manifest))])),
            boot_id,
        });
        let quoting = Arc::clone(&shared);
        let queue = Queue::start(Bounds::default(), move |request| quoting.evidence(request));
        Ok(Some(Self { shared, queue }))
    }

    /// What the host is now.
    pub fn manifest(&self) -> Arc<Document> {
        self.shared.manifest()
    }

    /// The host has become another one: a plugin was swapped.
    pub fn replace_manifest(&self, manifest: Vec<u8>) {
        let manifests = &self.shared.manifests;
        let mut manifests = manifests.write().unwrap_or_else(PoisonError::into_inner);
        manifests.push_front(Arc::new(Document::new(manifest)));
        manifests.truncate(EARLIER_MANIFESTS);
    }

    /// Whether evidence can be had at all, before anything is done for which it is wanted.
    ///
    /// # Errors
    /// [`EvidenceError::Poisoned`].
    pub fn check(&self) -> Result<(), EvidenceError> {
        if self.shared.facts.is_log_poisoned() {
            return Err(EvidenceError::Poisoned);
        }
        Ok(())
    }

    /// Evidence about `subject`, asked for by `peer` where the asker is known.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn evidence(
        &self,
        peer: Option<IpAddr>,
        subject: Subject,
        nonce: Option<VerifierNonce>,
    ) -> Result<Attested, EvidenceError> {
        let manifest = self.manifest();
        let request = Request {
            subject,
            nonce,
            manifest,
        };
        self.queue.quote(peer, request).await
    }

    /// The quote over a batch with this result in it, and its evidence. It names the manifest that the result's receipt
    /// names: that of the moment when the request came.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn result(
        &self,
        result: Commitment,
        receipt: Option<&[u8]>,
    ) -> Result<Attested, EvidenceError> {
        let manifest = receipt.and_then(|receipt| self.shared.manifest_of(receipt));
        let manifest = manifest.unwrap_or_else(|| self.manifest());
        self.queue.result(result, manifest).await
    }

    /// Makes components' statements possible: gets the evidence that they go with.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn introduce(&self) -> Result<(), EvidenceError> {
        let attested = self.evidence(None, Subject::Identity, None).await?;
        let evidence = Arc::clone(attested.evidence());
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

/// Refuses parts of every evidence that no verifier would read, before anybody waits for evidence.
fn readable(manifest: &[u8], collateral: Option<&[u8]>) -> Result<(), Error> {
    use hypervisor_evidence::{evidence::MAX_COLLATERAL, manifest::MAX_LENGTH};
    let parts = [
        (
            "manifest, which is made of the configuration,",
            manifest,
            MAX_LENGTH,
        ),
        (
            "[attestation] `collateral`",
            collateral.unwrap_or_default(),
            MAX_COLLATERAL,
        ),
    ];
    match parts.iter().find(|(_, bytes, most)| bytes.len() > *most) {
        Some((part, bytes, most)) => Err(Error::Attestation(format!(
            "the {part} has {} bytes, verifiers read {most}",
            bytes.len()
        ))),
        None => Ok(()),
    }
}

impl Shared {
    fn manifest(&self) -> Arc<Document> {
        let manifests = self
            .manifests
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        // There is one from the start, and one more with each swap.
        let present = manifests.front().map(Arc::clone);
        present.unwrap_or_else(|| Arc::new(Document::new(Vec::new())))
    }

    /// The manifest that a receipt of this host names; none of another host's, of an earlier start, or where it is forgotten.
    fn manifest_of(&self, receipt: &[u8]) -> Option<Arc<Document>> {
        let receipt = Receipt::verify(receipt, self.identity.public_key()).ok()?;
        let manifests = self
            .manifests
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let named = |document: &&Arc<Document>| document.digest == receipt.manifest_digest.0;
        manifests.iter().find(named).map(Arc::clone)
    }

    /// Makes a quote whose register is the one that its log leads to. What is measured while the platform makes it may get
    /// ahead of the log that it binds; then it is made once more, with the log held.
    fn evidence(&self, request: Request) -> Result<Evidence, EvidenceError> {
        let log = self.facts.log();
        let snapshot = log.snapshot()?;
        if let Some(evidence) = self.attempt(&request, snapshot)? {
            return Ok(evidence);
        }
        let (snapshot, _held) = log.hold()?;
        if let Some(evidence) = self.attempt(&request, snapshot)? {
            return Ok(evidence);
        }
        // Nobody in this host extended it.
        log.poison();
        Err(EvidenceError::Poisoned)
    }

    /// None where the quote shows another register than the log's.
    fn attempt(&self, request: &Request, log: Snapshot) -> Result<Option<Evidence>, EvidenceError> {
        let binding = Binding {
            subject: request.subject.clone(),
            nonce: request.nonce.clone(),
            identity_public_key: self.identity.public_key().clone(),
            manifest_digest: request.manifest.digest,
            log: log.head,
            register_bound: log.register.is_some(),
            backend: self.backend,
            boot_id: self.boot_id,
        };
        let failed = |e: &dyn std::fmt::Display| EvidenceError::Platform(e.to_string());
        let quote = self
            .attester
            .quote(binding.report_data().as_bytes())
            .map_err(|e| failed(&e))?;
        if log.register.is_some() && quote.format != QuoteFormat::SevSnp {
            let shown = tdx::TdxQuote::parse(&quote.bytes).map_err(|e| failed(&e))?;
            let [.., register] = shown.report.rtmr;
            if log.register != Some(register) {
                return Ok(None);
            }
        }
        let (quote, crl) = raw(quote)?;
        let mut evidence = Evidence::new(quote, &binding);
        evidence.log = Some(log.encoded);
        evidence.manifest = Some(request.manifest.encoded.clone());
        evidence.collateral.clone_from(&self.collateral);
        evidence.crl = crl;
        Ok(Some(evidence))
    }
}

impl From<measured::Poisoned> for EvidenceError {
    fn from(_: measured::Poisoned) -> Self {
        Self::Poisoned
    }
}

/// The quote in the form of evidence, and the revocation list that came with it.
fn raw(quote: Quote) -> Result<(RawQuote, Option<Vec<u8>>), EvidenceError> {
    let failed = |e: hypervisor_evidence::Error| EvidenceError::Platform(e.to_string());
    match quote.format {
        QuoteFormat::SevSnp => {
            let report = snp::SnpReport::parse(&quote.bytes).map_err(failed)?;
            let table = quote.certificates.as_deref().unwrap_or_default();
            let found = snp::certificates_of_table(table, report.is_vlek()).map_err(failed)?;
            let certs = found.certs;
            let report = quote.bytes;
            Ok((RawQuote::SevSnp { report, certs }, found.crl))
        }
        _ => Ok((RawQuote::Tdx(quote.bytes), None)),
    }
}

/// The vendor's bytes of a quote.
pub fn quote_bytes(attested: &Attested) -> Vec<u8> {
    match &attested.evidence().quote {
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
