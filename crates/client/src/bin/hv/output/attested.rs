//! Shows what a host proved of itself and of a run.

use std::io;

use hypervisor_client::attest::{Assurance, Status, Verdict};
use hypervisor_client::attestation::{ExecutionAttestation, SessionAttestation};
use hypervisor_client::protocol::{HexArray, HexBytes};
use serde_json::{Value, json};

use crate::Failure;
use crate::console::{note, stderr};

/// A policy that names a simulator is a choice, and still nobody shall mistake it for proof.
pub(crate) fn warn_if_simulated(session: &SessionAttestation) -> Result<(), Failure> {
    if session.assurance() != Assurance::Simulated {
        return Ok(());
    }
    note(format_args!(
        "warning: SIMULATED evidence: it proves nothing about hardware"
    ))
}

/// For people.
pub(crate) fn details(session: &SessionAttestation, run: &ExecutionAttestation) -> io::Result<()> {
    let (key, manifest) = (
        session.identity_public_key(),
        HexArray(*session.manifest_digest()),
    );
    stderr(format_args!("host               {}", passed(session)))?;
    stderr(format_args!("identity key       {key}  signs the receipt"))?;
    stderr(format_args!("manifest SHA-384   {manifest}"))?;
    match &run.result {
        Some(verdict) => stderr(format_args!(
            "result             quoted: {} checks passed",
            count(verdict, Status::Pass)
        )),
        None => stderr(format_args!(
            "result             no quote on this route, the receipt covers it"
        )),
    }
}

/// For machines. `receipt` is the COSE_Sign1 to keep.
pub(crate) fn json(session: &SessionAttestation, run: &ExecutionAttestation) -> Value {
    json!({
        "assurance": session.assurance(),
        "identity_key": session.identity_public_key().to_string(),
        "manifest_digest": HexArray(*session.manifest_digest()),
        "checks": {
            "session": summary(session.verdict()),
            "result": run.result.as_ref().map(summary),
        },
        "audit_head": run.audit_head,
        "receipt": HexBytes(run.signed_receipt.clone()),
        "receipt_issued_at": run.receipt.issued_at,
    })
}

/// How much of what was proved, in a few words.
pub(crate) fn passed(session: &SessionAttestation) -> String {
    let checks = count(session.verdict(), Status::Pass);
    format!("{}: {checks} checks passed", name(session.assurance()))
}

fn name(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::None => "none",
        Assurance::Simulated => "SIMULATED",
        Assurance::Hardware => "hardware",
    }
}

pub(crate) fn count(verdict: &Verdict, status: Status) -> usize {
    let checks = verdict.checks().iter();
    checks.filter(|check| check.status == status).count()
}

/// What the policy said not to look at.
pub(crate) fn skipped(verdict: &Verdict) -> Vec<&'static str> {
    verdict
        .checks()
        .iter()
        .filter(|check| check.status == Status::SkippedByPolicy)
        .map(|check| check.id.name())
        .collect()
}

/// How many checks came out how.
pub(crate) fn summary(verdict: &Verdict) -> Value {
    json!({
        "pass": count(verdict, Status::Pass),
        "fail": count(verdict, Status::Fail),
        "not_applicable": count(verdict, Status::NotApplicable),
        "skipped_by_policy": skipped(verdict),
    })
}
