//! `hv verify` of a run that was kept: what ran, on which host, under which policy, what was paid, in sentences.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use hypervisor_client::attest::{Assurance, ComponentLog, Evidence, Policy, Status, Verdict};
use hypervisor_client::protocol::{ContentFormat, Exit, HexArray, Operation, PaymentReceipt};
use hypervisor_client::record::Verified;
use hypervisor_client::{Error, Record, ending};
use serde_json::{Value, json};

use crate::attest::Form;
use crate::console::{document, plain, print};
use crate::output::attested;
use crate::{Failure, VERIFICATION_FAILED};

/// Verifies a record and says what it proves.
pub(crate) fn verify(
    record: &Record,
    policy: Option<&Policy>,
    form: Form,
    verbose: bool,
) -> Result<ExitCode, Failure> {
    match record.verify(policy) {
        Ok(verified) => {
            let own = policy.is_none();
            print(|out| match form {
                Form::Text => text(out, record, &verified, own, verbose),
                Form::Json => document(out, &json(record, &verified, own)),
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.is_verification_failure() => {
            print(|out| refused(out, record, &error, form))?;
            Ok(ExitCode::from(VERIFICATION_FAILED))
        }
        Err(error) => Err(Failure::Refused(error.to_string())),
    }
}

/// The checks that failed.
fn failures(error: &Error) -> Vec<String> {
    match error {
        Error::Attestation(refusal) => refusal.failures().iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    }
}

fn refused(out: &mut dyn Write, record: &Record, error: &Error, form: Form) -> io::Result<()> {
    let failures = failures(error);
    if form == Form::Json {
        return document(
            out,
            &json!({ "verified": false, "server": record.server, "kept_at": record.kept_at, "failures": failures }),
        );
    }
    writeln!(
        out,
        "REFUSED: rely on nothing in this file. It says that it is of {}, kept at {}.",
        plain(&record.server),
        time(record.kept_at)
    )?;
    for failure in failures {
        writeln!(out, "FAIL  {}", plain(&failure))?;
    }
    Ok(())
}

fn text(
    out: &mut dyn Write,
    record: &Record,
    verified: &Verified,
    own: bool,
    verbose: bool,
) -> io::Result<()> {
    let (session, execution) = (&verified.session, &verified.execution);
    let report = &execution.report;
    match session.assurance() {
        Assurance::Hardware => writeln!(out, "VERIFIED.")?,
        _ => writeln!(
            out,
            "VERIFIED, SIMULATED: it proves nothing about hardware."
        )?,
    }
    writeln!(
        out,
        "What ran: {}, SHA-256 {}; {}; {} bytes of result.",
        what(record),
        report.program_digest,
        plain(&end(&report.exit)),
        execution.result.len()
    )?;
    if let Some(decision) = &report.policy {
        let reason = decision.reason.as_deref().unwrap_or("no reason given");
        writeln!(
            out,
            "The host's policy component {} it ({}), by rules {}.",
            if decision.allowed {
                "allowed"
            } else {
                "denied"
            },
            plain(reason),
            decision.rules_digest
        )?;
    }
    writeln!(
        out,
        "By which host: identity key {}, manifest SHA-384 {}; found at {}.",
        session.identity_public_key(),
        HexArray(*session.manifest_digest()),
        plain(&record.server)
    )?;
    for (name, digest) in loaded(session.evidence()) {
        writeln!(out, "  it had loaded {} (SHA-384 {digest})", plain(&name))?;
    }
    writeln!(
        out,
        "Under which policy: {}, SHA-256 {}{}.",
        plain(
            verified
                .policy
                .name
                .as_deref()
                .unwrap_or("one without a name")
        ),
        HexArray(verified.policy.digest),
        if own {
            ", kept in this file"
        } else {
            ", given now"
        }
    )?;
    for (name, verdict) in verdicts(verified) {
        let skipped = attested::skipped(verdict);
        writeln!(
            out,
            "  {name}: {} checks passed{}{}",
            attested::count(verdict, Status::Pass),
            if skipped.is_empty() {
                ""
            } else {
                ", skipped by the policy: "
            },
            skipped.join(" ")
        )?;
    }
    writeln!(
        out,
        "What was paid: {}.",
        plain(&paid(report.payment.as_ref()))
    )?;
    let receipt = execution.attestation.as_ref().map(|run| &run.receipt);
    writeln!(
        out,
        "The receipt is signed over request {} and result {} at {} by the host's clock; {}.",
        execution.request_commitment,
        execution.result_commitment,
        time(receipt.map_or(0, |receipt| receipt.issued_at)),
        match verdicts(verified).len() {
            1 => "this route makes no quote over the result",
            _ => "the result is in a quoted batch",
        }
    )?;
    let run = execution.attestation.as_ref();
    match run.and_then(|run| run.audit_head.as_ref()) {
        Some(head) => writeln!(
            out,
            "The host's audit trail had {} entries when it answered; `hv audit` asks it to prove that this run is in it.",
            head.size
        )?,
        None => writeln!(out, "No head of an audit trail came with the answer.")?,
    }
    writeln!(
        out,
        "Judged as of {}, which is this file's word.",
        time(record.kept_at)
    )?;
    if verbose {
        for (name, verdict) in verdicts(verified) {
            write!(out, "\n{name}: {verdict}")?;
        }
    }
    Ok(())
}

fn json(record: &Record, verified: &Verified, own: bool) -> Value {
    let (session, execution) = (&verified.session, &verified.execution);
    let loaded: Vec<Value> = loaded(session.evidence())
        .into_iter()
        .map(|(name, digest)| json!({ "name": name, "sha384": digest }))
        .collect();
    let attestation = execution.attestation.as_ref();
    json!({
        "verified": true,
        "server": record.server,
        "path": record.path,
        "operation": record.operation,
        "kept_at": record.kept_at,
        "session_id": attestation.map(|run| run.receipt.session_id),
        "sequence": execution.sequence,
        "request_commitment": execution.request_commitment,
        "result_commitment": execution.result_commitment,
        "result_bytes": execution.result.len(),
        "report": execution.report,
        "components": loaded,
        "policy": {
            "name": verified.policy.name,
            "sha256": HexArray(verified.policy.digest),
            "kept": own,
        },
        "attestation": attestation.map(|run| attested::json(session, run)),
    })
}

fn what(record: &Record) -> String {
    match record.operation {
        Operation::Wasm => "a program".to_owned(),
        Operation::Python => "a Python script".to_owned(),
        Operation::Javascript => "a JavaScript or TypeScript script".to_owned(),
        Operation::Agent => format!(
            "the agent {}",
            plain(record.path.trim_start_matches("agents/"))
        ),
        Operation::Setup => "the setup of an environment, a bundle".to_owned(),
        Operation::Execute => "a call of an environment's handler, of the bundle".to_owned(),
        Operation::Evaluate => "a turn in an environment, of the bundle".to_owned(),
        other => format!("the request `{other}`"),
    }
}

fn end(exit: &Exit) -> String {
    ending(exit).unwrap_or_else(|| match exit {
        Exit::Code { code } => format!("it exited with code {code}"),
        _ => "it ended well".to_owned(),
    })
}

fn paid(payment: Option<&PaymentReceipt>) -> String {
    let Some(paid) = payment else {
        return "nothing, by the sealed report".to_owned();
    };
    let transaction = match &paid.transaction {
        Some(transaction) => format!("in transaction {transaction}"),
        None => "in a transaction that was not known when the report was sealed".to_owned(),
    };
    format!(
        "{} units of {} on {}, by {} to {}, {transaction}",
        paid.amount, paid.asset, paid.network, paid.payer, paid.pay_to
    )
}

/// The plugins and agents in the log that the quote binds.
fn loaded(evidence: &Evidence) -> Vec<(String, HexArray<48>)> {
    let log = evidence.log.as_ref();
    let log = log.and_then(|log| ComponentLog::decode(ContentFormat::Cbor, log).ok());
    let entries = log.as_ref().map(ComponentLog::entries).unwrap_or_default();
    entries
        .iter()
        .map(|entry| (entry.name.clone(), entry.digest))
        .collect()
}

fn verdicts(verified: &Verified) -> Vec<(&'static str, &Verdict)> {
    let run = verified.execution.attestation.as_ref();
    let result = run.and_then(|run| run.result.as_ref());
    [
        ("session", Some(verified.session.verdict())),
        ("result", result),
    ]
    .into_iter()
    .filter_map(|(name, verdict)| Some((name, verdict?)))
    .collect()
}

/// A time as people write it.
fn time(seconds: u64) -> String {
    // humantime ends with the year 9999.
    let seconds = Duration::from_secs(seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + seconds).to_string()
}
