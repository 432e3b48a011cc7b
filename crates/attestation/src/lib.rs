//! What a host proves of itself: quotes over what it is, which sessions it opened and which results it gave.
//!
//! [`Attestation`] belongs together with what its evidence binds: the host's [`Identity`], the log of what was loaded
//! ([`Measured`]) with the platform's register behind it, and the manifest ([`Document`]). There is no HTTP here and no
//! configuration: a host brings the [`Attester`] and the documents.

mod collateral;
mod error;
mod identity;
mod journal;
mod measured;
mod queue;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_evidence::evidence::{MAX_BOOT_LOG, MAX_COLLATERAL};
use hypervisor_evidence::manifest::MAX_LENGTH;
use hypervisor_evidence::{
    Attester, Binding, Evidence, Quote, QuoteFormat, RawQuote, Receipt, SessionEntry, Subject,
    VerifierNonce, snp, tdx,
};
use hypervisor_protocol::{Commitment, ContentFormat, ExecuteResponse, PaymentReceipt};

pub use collateral::Collateral;
pub use error::{Error, EvidenceError, MeasureError};
pub use identity::Identity;
pub use measured::{Loader, Measured};
pub use queue::Attested;

use measured::Snapshot;
use queue::{Bounds, Queue, Request};

/// Manifests of before a swap that a result may still have to be quoted under.
const EARLIER_MANIFESTS: usize = 256;
/// Time between two looks at when the collateral expires.
const COLLATERAL_ROUND: Duration = Duration::from_secs(6 * 3600);

/// Everything that makes evidence.
pub struct Attestation {
    maker: Arc<Maker>,
    queue: Queue,
    boot_log: Option<Arc<[u8]>>,
}

/// Makes the quotes, one at a time.
struct Maker {
    attester: Arc<dyn Attester>,
    identity: Arc<Identity>,
    log: Arc<Measured>,
    collateral: Option<Collateral>,
    /// The present one, and before it those that swaps replaced.
    manifests: RwLock<VecDeque<Arc<Document>>>,
    boot_id: [u8; 16],
    tls_key: Option<[u8; 32]>,
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

    /// SHA-384 of it.
    pub fn digest(&self) -> [u8; 48] {
        self.digest
    }
}

impl Attestation {
    /// Starts the queue before `attester`. `log` is the one that is extended into its register, `manifest` the CBOR of the
    /// manifest of a host whose plugins are loaded, `tls_key` the SHA-256 of the public key that it ends TLS with. To be called on the runtime that answers requests.
    ///
    /// # Errors
    /// When the manifest or the collateral is longer than a verifier reads, or the operating system gives no randomness.
    pub fn start(
        attester: Arc<dyn Attester>,
        identity: Arc<Identity>,
        log: Arc<Measured>,
        collateral: Option<Collateral>,
        manifest: Vec<u8>,
        tls_key: Option<[u8; 32]>,
    ) -> Result<Self, Error> {
        // What every evidence holds, before anybody waits for evidence.
        readable(
            "manifest, which is made of the configuration,",
            &manifest,
            MAX_LENGTH,
        )?;
        if let Some(collateral) = &collateral {
            readable("`collateral`", collateral.json(), MAX_COLLATERAL)?;
        }
        let mut boot_id = [0; 16];
        getrandom::fill(&mut boot_id).map_err(Error::Random)?;
        let boot_log = boot_log(&*attester);
        let maker = Arc::new(Maker {
            attester,
            identity,
            log,
            collateral,
            manifests: RwLock::new(VecDeque::from([Arc::new(Document::new(manifest))])),
            boot_id,
            tls_key,
        });
        let quoting = Arc::clone(&maker);
        let queue = Queue::start(Bounds::default(), move |request| quoting.evidence(request));
        Ok(Self {
            maker,
            queue,
            boot_log,
        })
    }

    /// What the host is now.
    pub fn manifest(&self) -> Arc<Document> {
        self.maker.manifest()
    }

    /// The host has become another one: a plugin was swapped.
    pub fn replace_manifest(&self, manifest: Vec<u8>) {
        let manifests = &self.maker.manifests;
        let mut manifests = manifests.write().unwrap_or_else(PoisonError::into_inner);
        manifests.push_front(Arc::new(Document::new(manifest)));
        manifests.truncate(EARLIER_MANIFESTS);
    }

    /// Intel's collateral that goes with quotes, where the host has it.
    pub fn collateral(&self) -> Option<&Collateral> {
        self.maker.collateral.as_ref()
    }

    /// Tells the operator in the log, now and as time goes on, when the collateral is of no use to clients or soon will not be.
    pub async fn watch_collateral(&self) {
        let mut rounds = tokio::time::interval(COLLATERAL_ROUND);
        while let Some(collateral) = self.collateral() {
            rounds.tick().await;
            if let Some(trouble) = collateral.trouble(SystemTime::now()) {
                tracing::warn!(trouble, "[attestation] `collateral`");
            }
        }
    }

    /// Whether evidence can be had at all, before anything is done for which it is wanted.
    ///
    /// # Errors
    /// [`EvidenceError::Poisoned`].
    pub fn check(&self) -> Result<(), EvidenceError> {
        if self.maker.log.is_poisoned() {
            return Err(EvidenceError::Poisoned);
        }
        Ok(())
    }

    /// What waits for a quote: results and sessions that will share one, sessions and identities that will not.
    pub fn waiting(&self) -> [(&'static str, usize); 4] {
        self.queue.waiting()
    }

    /// Evidence about `subject`, asked for by `peer` where the asker is known; that of the identity has the boot log, for
    /// [`Self::with_boot_log`].
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
        let of_identity = subject == Subject::Identity;
        let request = Request {
            subject,
            nonce,
            manifest,
        };
        let attested = self.queue.quote(peer, request).await?;
        Ok(match of_identity {
            true => self.with_boot_log(attested),
            false => attested,
        })
    }

    /// The same evidence with the platform's boot log beside it, where it has one.
    pub fn with_boot_log(&self, mut attested: Attested) -> Attested {
        attested.boot_log.clone_from(&self.boot_log);
        attested
    }

    /// Evidence about a session, with a quote over a batch of sessions.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub async fn session(
        &self,
        peer: Option<IpAddr>,
        subject: &Subject,
        nonce: Option<&VerifierNonce>,
    ) -> Result<Attested, EvidenceError> {
        let entry = SessionEntry::new(subject, nonce)
            .ok_or_else(|| EvidenceError::Platform("it is about no session".to_owned()))?;
        self.queue.session(peer, entry, self.manifest()).await
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
        let manifest = receipt.and_then(|receipt| self.maker.manifest_of(receipt));
        let manifest = manifest.unwrap_or_else(|| self.manifest());
        self.queue.result(result, manifest).await
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
        let mut receipt = Receipt::new(
            response.session_id,
            sequence,
            response.request_commitment,
            response.result_commitment,
            manifest.digest,
            now(),
        );
        if let Some(payment) = payment {
            receipt = receipt.with_payment(ContentFormat::Cbor.encode(payment)?);
        }
        let sign = |message: &[u8]| Ok::<_, Infallible>(self.maker.identity.sign(message));
        Ok(receipt.sign(sign)?)
    }
}

/// What the platform booted, as it says; without it evidence is as good, only less explained.
fn boot_log(attester: &dyn Attester) -> Option<Arc<[u8]>> {
    let log = attester.boot_log().map_err(|error| error.to_string());
    let log = log.and_then(|log| match log {
        Some(log) if log.len() > MAX_BOOT_LOG => {
            Err(format!("it has {} bytes, over {MAX_BOOT_LOG}", log.len()))
        }
        log => Ok(log),
    });
    let log = log.inspect_err(|error| {
        tracing::warn!(error, "evidence goes without the platform's boot log")
    });
    log.ok().flatten().map(Arc::from)
}

fn readable(part: &'static str, bytes: &[u8], most: usize) -> Result<(), Error> {
    if bytes.len() > most {
        return Err(Error::TooLong {
            part,
            length: bytes.len(),
            most,
        });
    }
    Ok(())
}

impl Maker {
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
        let snapshot = self.log.snapshot()?;
        if let Some(evidence) = self.attempt(&request, snapshot)? {
            return Ok(evidence);
        }
        let (snapshot, _held) = self.log.hold()?;
        if let Some(evidence) = self.attempt(&request, snapshot)? {
            return Ok(evidence);
        }
        // Nobody in this host extended it.
        self.log.poison();
        Err(EvidenceError::Poisoned)
    }

    /// None where the quote shows another register than the log's.
    fn attempt(&self, request: &Request, log: Snapshot) -> Result<Option<Evidence>, EvidenceError> {
        let binding = Binding {
            subject: request.subject.clone(),
            nonce: request.nonce.clone(),
            identity_public_key: self.identity.public_key().clone(),
            tls_key: self
                .tls_key
                .filter(|_| request.subject == Subject::Identity),
            manifest_digest: request.manifest.digest,
            log: log.head,
            register_bound: log.register.is_some(),
            backend: self.attester.backend(),
            boot_id: self.boot_id,
        };
        let mut quote = self.attester.quote(binding.report_data().as_bytes())?;
        if log.register.is_some() && quote.format != QuoteFormat::SevSnp {
            let shown = tdx::TdxQuote::parse(&quote.bytes)?;
            let [.., register] = shown.report.rtmr;
            if log.register != Some(register) {
                return Ok(None);
            }
        }
        let (vtpm, ima) = (quote.vtpm.take(), quote.ima.take());
        let (quote, crl) = raw(quote)?;
        let mut evidence = Evidence::new(quote, &binding);
        (evidence.vtpm, evidence.ima) = (vtpm, ima);
        evidence.log = Some(log.encoded);
        evidence.manifest = Some(request.manifest.encoded.clone());
        evidence.collateral = self.collateral.as_ref().map(|it| it.json().to_vec());
        evidence.crl = crl;
        Ok(Some(evidence))
    }
}

/// The quote in the form of evidence, and the revocation list that came with it.
fn raw(quote: Quote) -> Result<(RawQuote, Option<Vec<u8>>), EvidenceError> {
    if quote.format != QuoteFormat::SevSnp {
        return Ok((RawQuote::Tdx(quote.bytes), None));
    }
    let report = snp::SnpReport::parse(&quote.bytes)?;
    let table = quote.certificates.as_deref().unwrap_or_default();
    let found = snp::certificates_of_table(table, report.is_vlek())?;
    let raw = RawQuote::SevSnp {
        report: quote.bytes,
        certs: found.certs,
    };
    Ok((raw, found.crl))
}

/// Unix seconds, by this machine's clock.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
