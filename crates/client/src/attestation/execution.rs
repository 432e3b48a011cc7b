//! What a host attests of one run, held against what this client sent and received.

use hypervisor_protocol::{Commitment, ContentFormat, HexBytes, SessionId};
use hypervisor_verify::{
    Binding, ComponentLog, Evidence, Expected, ExpectedSubject, Receipt, Verdict, verify,
};

use super::decode_evidence;
use super::refusal::{FailedCheck, Refusal, Stage};
use super::session::SessionAttestation;
use crate::audit::Known;
use crate::error::Error;
use crate::record::Record;

/// What a host attested of a run, verified.
#[derive(Debug, Clone)]
pub struct ExecutionAttestation {
    /// What the receipt says.
    pub receipt: Receipt,
    /// The receipt as it came, COSE_Sign1: to be kept, it can be verified years later under the identity key.
    pub signed_receipt: Vec<u8>,
    /// The head of the host's audit trail that came with the answer; none where it keeps no trail.
    pub audit_head: Option<Known>,
    /// The verdict on the quote over the result; none on a route that makes no such quote.
    pub result: Option<Verdict>,
    /// Evidence of the result as it came, CBOR; none as before.
    pub result_evidence: Option<Vec<u8>>,
    /// What to keep of the run; some in a session that was opened for it ([`crate::Client::open_recorded_session`]).
    pub record: Option<Box<Record>>,
}

/// A run as this client knows it: its commitments were recomputed from what was sent and received.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) session_id: SessionId,
    pub(crate) sequence: u64,
    pub(crate) request_commitment: Commitment,
    pub(crate) result_commitment: Commitment,
    /// The receipt that came with the answer.
    pub(crate) receipt: Option<HexBytes>,
    /// The head of the audit trail that came with the answer.
    pub(crate) audit_head: Option<String>,
    /// The evidence that came with the answer.
    pub(crate) evidence: Option<HexBytes>,
    /// Whether the route makes a quote over the result.
    pub(crate) quoted: bool,
}

/// Verifies receipt and result evidence as of a time. Both are looked at, whatever the other gives.
pub(crate) fn verify_execution(
    session: &SessionAttestation,
    exchange: Exchange,
    at: u64,
) -> Result<ExecutionAttestation, Refusal> {
    let mut failures = Vec::new();
    let mut manifests = vec![*session.manifest_digest()];
    let verdict = match (exchange.quoted, &exchange.evidence) {
        (false, _) => None,
        (true, None) => {
            failures.push(FailedCheck::new(
                "evidence",
                "the host answered without evidence of the result; open a new session, and do not rely on this host if it happens again",
            ));
            None
        }
        (true, Some(bytes)) => result(session, &exchange, (bytes, at), &mut failures),
    };
    let attested = verdict.as_ref().and_then(Verdict::binding);
    manifests.extend(attested.map(|binding| binding.manifest_digest));
    let receipt = receipt(session, &exchange, &manifests, &mut failures);
    let identity = session.identity_public_key();
    let head = exchange.audit_head.as_deref();
    let head = head.map(|head| Known::read(head, identity)).transpose();
    let head = head.unwrap_or_else(|error| {
        // One by another key says nothing of this host: it is as if none had come.
        if !matches!(error, Error::Audit(hypervisor_tlog::Error::Unsigned(_))) {
            failures.push(FailedCheck::new("audit-head", error.to_string()));
        }
        None
    });
    let passed = failures.is_empty() && verdict.as_ref().is_none_or(Verdict::passed);
    match (receipt, exchange.receipt) {
        (Some(receipt), Some(signed)) if passed => Ok(ExecutionAttestation {
            receipt,
            signed_receipt: signed.0,
            audit_head: head,
            result: verdict,
            result_evidence: exchange.evidence.filter(|_| exchange.quoted).map(Vec::from),
            record: None,
        }),
        _ => Err(Refusal::new(Stage::Execution, failures, verdict)),
    }
}

/// The evidence of the result: the policy's checks, and that it is of the host that the session is with.
fn result(
    session: &SessionAttestation,
    exchange: &Exchange,
    (bytes, at): (&HexBytes, u64),
    failures: &mut Vec<FailedCheck>,
) -> Option<Verdict> {
    let mut evidence = match decode_evidence(&bytes.0) {
        Ok(evidence) => evidence,
        Err(error) => {
            failures.push(FailedCheck::new(
                "evidence",
                format!("{error}; the result is not attested"),
            ));
            return None;
        }
    };
    evidence.fill_from(&session.evidence);
    let mut expected = Expected::new(
        ExpectedSubject::Result {
            commitment: exchange.result_commitment,
        },
        None,
    );
    expected.identity_public_key = Some(session.identity_public_key().clone());
    expected.last_tcb_evaluation_data_number = session.verdict().tcb_evaluation_data_number();
    let verdict = verify(&evidence, &session.policy, &expected, at);
    if let Some(binding) = verdict.binding() {
        failures.extend(continuity(session, &evidence, binding));
    }
    Some(verdict)
}

/// A log only grows, and a manifest changes only with it; another start of the host is another host.
fn continuity(
    session: &SessionAttestation,
    evidence: &Evidence,
    binding: &Binding,
) -> Vec<FailedCheck> {
    let mut failures = Vec::new();
    if binding.boot_id != session.binding.boot_id {
        failures.push(FailedCheck::new(
            "same-start",
            "the host was restarted since the session was opened; open a new session and run the program again",
        ));
    }
    if binding.log == session.binding.log {
        if binding.manifest_digest != session.binding.manifest_digest {
            failures.push(FailedCheck::new(
                "same-manifest",
                "the host's manifest is not the one of the session, though its log is; do not rely on this host",
            ));
        }
        return failures;
    }
    let continues = evidence
        .log
        .as_ref()
        .and_then(|log| ComponentLog::decode(ContentFormat::Cbor, log).ok())
        .is_some_and(|log| log.entries().starts_with(session.log.entries()));
    if !continues {
        failures.push(FailedCheck::new(
            "log-continues",
            "the host's component log does not continue that of the session: entries are missing or altered; do not rely on this host",
        ));
    }
    failures
}

/// The receipt: signed by the identity key, over this exchange, by a host with a manifest that is known.
fn receipt(
    session: &SessionAttestation,
    exchange: &Exchange,
    manifests: &[[u8; 48]],
    failures: &mut Vec<FailedCheck>,
) -> Option<Receipt> {
    let Some(bytes) = &exchange.receipt else {
        failures.push(FailedCheck::new(
            "receipt",
            "the host answered without a receipt; run the program again, and do not rely on this host if it happens again",
        ));
        return None;
    };
    let receipt = match Receipt::verify(&bytes.0, session.identity_public_key()) {
        Ok(receipt) => receipt,
        Err(error) => {
            failures.push(FailedCheck::new("receipt", error.to_string()));
            return None;
        }
    };
    let differing: Vec<&str> = [
        ("session", receipt.session_id == exchange.session_id),
        ("sequence", receipt.sequence == exchange.sequence),
        (
            "request commitment",
            receipt.request_commitment == exchange.request_commitment,
        ),
        (
            "result commitment",
            receipt.result_commitment == exchange.result_commitment,
        ),
    ]
    .into_iter()
    .filter_map(|(name, same)| (!same).then_some(name))
    .collect();
    if !differing.is_empty() {
        failures.push(FailedCheck::new(
            "receipt-exchange",
            format!(
                "the receipt is of another exchange: {} differ; discard both, and do not rely on this host",
                differing.join(", ")
            ),
        ));
    }
    if !manifests.contains(&receipt.manifest_digest.0) {
        failures.push(FailedCheck::new(
            "receipt-manifest",
            "the receipt names a manifest that the evidence does not; open a new session and run the program again",
        ));
    }
    Some(receipt)
}
