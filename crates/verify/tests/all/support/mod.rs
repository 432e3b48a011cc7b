//! Evidence to verify: of the simulator, and of real hardware.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; a test fails by panicking"
)]

use const_hex::encode;
use hypervisor_protocol::{ContentFormat, PrivateKey, PublicKey, SessionId};
use hypervisor_simulated::{Simulator, SimulatorBuilder};
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::{
    Backend, Binding, Challenge, CheckId, ComponentLog, Evidence, Expected, ExpectedSubject,
    LogEntry, Policy, RawQuote, Status, Subject, Verdict, VerifierNonce, manifest,
};

/// 2026-01-01T00:00:00Z, within the simulator's collateral.
pub(crate) const NOW: u64 = 1_767_225_600;
pub(crate) const MANIFEST: &[u8] = b"\xa1\x64host\x68test 1.0";

pub(crate) fn key(n: u8) -> PublicKey {
    PrivateKey::from_bytes(&[n; 32])
        .unwrap()
        .public_key()
        .clone()
}

pub(crate) fn nonce(n: u8) -> VerifierNonce {
    let bytes: Vec<u8> = (n..n + 32).collect();
    VerifierNonce::new(bytes).unwrap()
}

pub(crate) fn session_id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

pub(crate) fn session() -> Subject {
    Subject::Session {
        session_public_key: key(1),
        session_id: session_id(1),
        client_public_key: key(2),
    }
}

pub(crate) fn expected_session() -> Expected {
    Expected::new(
        ExpectedSubject::Session {
            session_public_key: key(1),
            session_id: session_id(1),
            client_public_key: key(2),
        },
        Some(Challenge {
            nonce: nonce(7),
            made_at: NOW - 1,
        }),
    )
}

pub(crate) fn entries() -> Vec<LogEntry> {
    ["payments", "policy", "agent/hello"]
        .map(|name| LogEntry::new(name, name.as_bytes(), vec!["wasi:io/poll@0.2.6".to_owned()]))
        .to_vec()
}

pub(crate) fn log_of(entries: Vec<LogEntry>) -> ComponentLog {
    let mut log = ComponentLog::with_register([0; 48]);
    for entry in entries {
        log.append(entry).unwrap();
    }
    log
}

pub(crate) fn cbor(log: &ComponentLog) -> Vec<u8> {
    log.encode(ContentFormat::Cbor).unwrap()
}

/// What a simulated host binds for a session.
pub(crate) fn binding() -> Binding {
    Binding {
        subject: session(),
        nonce: Some(nonce(7)),
        identity_public_key: key(3),
        tls_key: None,
        manifest_digest: manifest::digest(MANIFEST),
        log: log_of(entries()).head(),
        register_bound: true,
        backend: Backend::Simulated,
        boot_id: [9; 16],
    }
}

pub(crate) fn builder() -> SimulatorBuilder {
    Simulator::builder(b"tests of the verifier")
}

/// A simulator whose RTMR3 was extended with the log.
pub(crate) fn simulator_of(builder: SimulatorBuilder, log: &ComponentLog) -> Simulator {
    let [r0, r1, r2, _] = builder.clone().build().unwrap().registers();
    builder
        .registers([r0, r1, r2, log.register().unwrap()])
        .build()
        .unwrap()
}

pub(crate) fn simulator() -> Simulator {
    simulator_of(builder(), &log_of(entries()))
}

/// Evidence as a simulated host gives it.
pub(crate) fn evidence_of(simulator: &Simulator, binding: &Binding) -> Evidence {
    let quote = simulator
        .raw_quote(binding.report_data().as_bytes())
        .unwrap();
    Evidence {
        log: Some(cbor(&log_of(entries()))),
        manifest: Some(MANIFEST.to_vec()),
        collateral: Some(simulator.collateral_json().unwrap().into_bytes()),
        ..Evidence::new(RawQuote::Tdx(quote), binding)
    }
}

pub(crate) fn evidence() -> Evidence {
    evidence_of(&simulator(), &binding())
}

/// `[[tdx.reference]]` of a quote, with an RTMR3 before the log.
pub(crate) fn tdx_reference(quote: &[u8], rtmr3: &[u8; 48]) -> String {
    let report = TdxQuote::parse(quote).unwrap().report;
    let [rtmr0, rtmr1, rtmr2, _] = report.rtmr.map(encode);
    format!(
        "[[tdx.reference]]\nname = \"the image\"\nmrtd = \"{}\"\nrtmr0 = \"{rtmr0}\"\nrtmr1 = \"{rtmr1}\"\nrtmr2 = \"{rtmr2}\"\n\
         rtmr3 = \"{}\"\nxfam = \"{}\"\ntd_attributes = \"{}\"\nmrconfigid = \"{}\"\nmrowner = \"{}\"\nmrownerconfig = \"{}\"\n",
        encode(report.mrtd),
        encode(rtmr3),
        encode(report.xfam),
        encode(report.td_attributes),
        encode(report.mrconfigid),
        encode(report.mrowner),
        encode(report.mrownerconfig),
    )
}

/// Rules that name the components and the manifest of these tests.
pub(crate) fn software() -> String {
    let components: String = entries()
        .iter()
        .map(|entry| {
            format!(
                "[[components.allowed]]\nname = \"{}\"\ndigest = \"{}\"\n",
                entry.name, entry.digest
            )
        })
        .collect();
    format!(
        "[manifest]\nallowed = [\"{}\"]\n{components}",
        encode(manifest::digest(MANIFEST))
    )
}

pub(crate) fn simulated_roots() -> String {
    format!(
        "version = 1\nname = \"tests\"\n[roots]\nsimulated = \"{}\"\n",
        encode(simulator().fingerprint())
    )
}

/// The policy that the evidence of [`evidence`] passes, with more rules of `[tdx]`.
pub(crate) fn policy_with(tdx: &str) -> Policy {
    let RawQuote::Tdx(quote) = evidence().quote else {
        unreachable!("the simulator makes TDX quotes")
    };
    let reference = tdx_reference(&quote, &[0; 48]);
    let text = format!(
        "{}[tdx]\n{tdx}\n{reference}{}",
        simulated_roots(),
        software()
    );
    Policy::parse(&text).unwrap()
}

pub(crate) fn policy() -> Policy {
    policy_with("")
}

pub(crate) fn verify(evidence: &Evidence) -> Verdict {
    hypervisor_verify::verify(evidence, &policy(), &expected_session(), NOW)
}

/// The names of the checks that failed.
pub(crate) fn failed(verdict: &Verdict) -> Vec<CheckId> {
    verdict.failures().map(|check| check.id).collect()
}

pub(crate) fn status(verdict: &Verdict, id: CheckId) -> Option<Status> {
    verdict.check(id).map(|check| check.status)
}

/// The sentence of a check that failed.
pub(crate) fn advice(verdict: &Verdict, id: CheckId) -> String {
    let check = verdict.check(id).unwrap();
    assert_eq!(check.status, Status::Fail, "{verdict}");
    check.reason.clone().unwrap()
}
