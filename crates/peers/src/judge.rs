//! Evidence of one end, made by this host or held against the policy.

use hypervisor_attestation::{Attestation, EvidenceError, now};
use hypervisor_evidence::{Evidence, Peer, Subject, VerifierNonce};
use hypervisor_protocol::ContentFormat;
use hypervisor_verify::{Challenge, Expected, ExpectedSubject, Policy, verify};

use crate::error::Refused;
use crate::message::NONCE;

/// Evidence that this host is one end of an exchange, for the other one's nonce.
pub(crate) async fn evidence(
    attestation: &Attestation,
    end: Peer,
    nonce: [u8; NONCE],
) -> Result<Vec<u8>, EvidenceError> {
    let nonce = VerifierNonce::new(nonce).map_err(|error| failed(&error))?;
    let subject = Subject::Peer(end);
    let attested = attestation.evidence(None, subject, Some(nonce)).await?;
    attested
        .encode(ContentFormat::Cbor)
        .map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> EvidenceError {
    EvidenceError::Platform(error.to_string())
}

/// Whether `bytes` prove that a host which the policy accepts is this end of an exchange, and answers a nonce of `made_at`.
pub(crate) fn judge(
    policy: &Policy,
    end: &Peer,
    (nonce, made_at): ([u8; NONCE], u64),
    bytes: &[u8],
) -> Result<(), Refused> {
    let of_form = |reason: String| Refused {
        check: "evidence".to_owned(),
        reason,
    };
    let evidence = Evidence::decode(ContentFormat::Cbor, bytes);
    let evidence = evidence.map_err(|error| of_form(error.to_string()))?;
    let nonce = VerifierNonce::new(nonce).map_err(|error| of_form(error.to_string()))?;
    let subject = ExpectedSubject::Peer(end.clone());
    let expected = Expected::new(subject, Some(Challenge { nonce, made_at }));
    let verdict = verify(&evidence, policy, &expected, now());
    if let Some(check) = verdict.failures().next() {
        return Err(Refused {
            check: check.id.name().to_owned(),
            reason: check.reason.clone().unwrap_or_default(),
        });
    }
    // A verdict without checks has not passed either.
    match verdict.passed() {
        true => Ok(()),
        false => Err(of_form("nothing in it was checked".to_owned())),
    }
}
