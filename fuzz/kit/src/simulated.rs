//! Evidence of a simulated host that verifies, and what it is held against.

use const_hex::encode;
use hypervisor_evidence::tdx::TdxQuote;
use hypervisor_protocol::{ContentFormat, PrivateKey, PublicKey, SessionId};
use hypervisor_simulated::Simulator;
use hypervisor_verify::{
    Backend, Binding, Challenge, ComponentLog, Evidence, Expected, ExpectedSubject, LogEntry,
    Policy, RawQuote, Subject, VerifierNonce, manifest,
};

/// 2026-01-01T00:00:00Z, within the simulator's collateral.
pub const NOW: u64 = 1_767_225_600;

const MANIFEST: &[u8] = b"\xa1\x64host\x68test 1.0";

/// The public key of the private one that is this number 32 times.
pub fn key(number: u8) -> PublicKey {
    let key = PrivateKey::from_bytes(&[number; 32]).expect("a key");
    key.public_key().clone()
}

fn nonce() -> VerifierNonce {
    let bytes: Vec<u8> = (7..39).collect();
    VerifierNonce::new(bytes).expect("a nonce")
}

fn log() -> ComponentLog {
    let mut log = ComponentLog::with_register([0; 48]);
    for name in ["payments", "policy", "agent/hello"] {
        let imports = vec!["wasi:io/poll@0.2.6".to_owned()];
        let entry = LogEntry::new(name, name.as_bytes(), imports);
        log.append(entry).expect("a short log");
    }
    log
}

fn simulator() -> Simulator {
    let builder = Simulator::builder(b"fuzz targets of the verifier");
    let [r0, r1, r2, _] = builder.clone().build().expect("a simulator").registers();
    let r3 = log().register().expect("a log with a register");
    let builder = builder.registers([r0, r1, r2, r3]);
    builder.build().expect("a simulator")
}

/// The evidence: the same bytes each time.
pub fn evidence() -> Evidence {
    let simulator = simulator();
    let binding = Binding {
        subject: Subject::Session {
            session_public_key: key(1),
            session_id: SessionId::from_bytes([1; 16]),
            client_public_key: key(2),
        },
        nonce: Some(nonce()),
        identity_public_key: key(3),
        tls_key: None,
        manifest_digest: manifest::digest(MANIFEST),
        log: log().head(),
        register_bound: true,
        backend: Backend::Simulated,
        boot_id: [9; 16],
    };
    let quote = simulator.raw_quote(binding.report_data().as_bytes());
    let collateral = simulator.collateral_json().expect("collateral");
    Evidence {
        log: Some(log().encode(ContentFormat::Cbor).expect("a log")),
        manifest: Some(MANIFEST.to_vec()),
        collateral: Some(collateral.into_bytes()),
        ..Evidence::new(RawQuote::Tdx(quote.expect("a quote")), &binding)
    }
}

/// The policy that it passes.
pub fn policy() -> Policy {
    let RawQuote::Tdx(quote) = evidence().quote else {
        unreachable!("the simulator makes TDX quotes")
    };
    let report = TdxQuote::parse(&quote).expect("a quote").report;
    let [rtmr0, rtmr1, rtmr2, _] = report.rtmr.map(encode);
    let components: String = log()
        .entries()
        .iter()
        .map(|entry| {
            let (name, digest) = (&entry.name, &entry.digest);
            format!("[[components.allowed]]\nname = \"{name}\"\ndigest = \"{digest}\"\n")
        })
        .collect();
    let text = format!(
        "version = 1\nname = \"fuzz\"\n[roots]\nsimulated = \"{}\"\n[[tdx.reference]]\nname = \"the image\"\nmrtd = \"{}\"\n\
         rtmr0 = \"{rtmr0}\"\nrtmr1 = \"{rtmr1}\"\nrtmr2 = \"{rtmr2}\"\nrtmr3 = \"{}\"\nxfam = \"{}\"\ntd_attributes = \"{}\"\n\
         mrconfigid = \"{}\"\nmrowner = \"{}\"\nmrownerconfig = \"{}\"\n[manifest]\nallowed = [\"{}\"]\n{components}",
        encode(simulator().fingerprint()),
        encode(report.mrtd),
        encode([0; 48]),
        encode(report.xfam),
        encode(report.td_attributes),
        encode(report.mrconfigid),
        encode(report.mrowner),
        encode(report.mrownerconfig),
        encode(manifest::digest(MANIFEST))
    );
    Policy::parse(&text).expect("a policy")
}

/// What the verifier knows by itself.
pub fn expected() -> Expected {
    Expected::new(
        ExpectedSubject::Session {
            session_public_key: key(1),
            session_id: SessionId::from_bytes([1; 16]),
            client_public_key: key(2),
        },
        Some(Challenge {
            nonce: nonce(),
            made_at: NOW - 1,
        }),
    )
}
