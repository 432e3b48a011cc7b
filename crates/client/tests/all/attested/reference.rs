//! What the host of these tests is: its components, its manifest, and policies that name them.

use hypervisor_client::attest::tdx::TdxQuote;
use hypervisor_client::attest::{ComponentLog, LogEntry, Policy, manifest};
use hypervisor_client::protocol::HexArray;
use hypervisor_evidence::Attester;
use hypervisor_simulated::Simulator;
use serde_json::{Value, json};

const SEED: &[u8] = b"tests of the client";
pub(crate) const MANIFEST: &[u8] = b"\xa1\x64host\x68test 1.0";
pub(crate) const OTHER_MANIFEST: &[u8] = b"\xa1\x64host\x68test 6.6";
pub(crate) const COMPONENTS: [&str; 2] = ["policy", "payments"];
/// Allowed by the policy, and not loaded at the start.
pub(crate) const LATER: &str = "agent/hello";

fn entry(name: &str) -> LogEntry {
    LogEntry::new(name, name.as_bytes(), vec!["wasi:io/poll@0.2.6".to_owned()])
}

/// A simulator whose RTMR3 was extended with a log of these components, and the log.
pub(crate) fn measured(names: &[&str]) -> (Simulator, ComponentLog) {
    let simulator = Simulator::builder(SEED).build().unwrap();
    let mut log = ComponentLog::with_register(simulator.read_register().unwrap());
    for name in names {
        let digest = log.append(entry(name)).unwrap();
        simulator.extend(&digest).unwrap();
    }
    (simulator, log)
}

/// The fingerprint of the simulator's root.
pub(crate) fn root() -> String {
    let simulator = Simulator::builder(SEED).build().unwrap();
    const_hex::encode(simulator.fingerprint())
}

/// What `hypervisor-ctl measure` prints for this host.
pub(crate) fn measure() -> Value {
    let (_, log) = measured(&COMPONENTS);
    let entries: Vec<Value> = log
        .entries()
        .iter()
        .map(|entry| json!({"name": entry.name, "digest": entry.digest, "imports": entry.imports}))
        .collect();
    json!({
        "version": 1,
        "manifest_sha384": HexArray(manifest::digest(MANIFEST)),
        "manifest": {"host": "test 1.0"},
        "log": {"head": HexArray(log.head().head), "count": log.head().count, "entries": entries},
        "backend": "simulated",
    })
}

/// A policy that this host passes, under these roots.
pub(crate) fn policy_under(roots: &str) -> String {
    let (simulator, _) = measured(&[]);
    let quote = simulator.raw_quote(&[7; 64]).unwrap();
    let report = TdxQuote::parse(&quote).unwrap().report;
    let mut text = format!(
        "version = 1\nroots.{roots}\n[manifest]\nallowed = [\"{}\"]\n",
        HexArray(manifest::digest(MANIFEST))
    );
    for name in COMPONENTS.iter().chain([&LATER]) {
        let digest = entry(name).digest;
        text += &format!("[[components.allowed]]\nname = \"{name}\"\ndigest = \"{digest}\"\n");
    }
    text += "[[tdx.reference]]\nname = \"the image\"\n";
    let [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmr;
    for (name, value) in [
        ("mrtd", &report.mrtd[..]),
        ("rtmr0", &rtmr0),
        ("rtmr1", &rtmr1),
        ("rtmr2", &rtmr2),
        ("rtmr3", &rtmr3),
        ("xfam", &report.xfam),
        ("td_attributes", &report.td_attributes),
        ("mrowner", &report.mrowner),
    ] {
        text += &format!("{name} = \"{}\"\n", const_hex::encode(value));
    }
    text
}

/// A policy that names the simulator's root.
pub(crate) fn policy_text() -> String {
    policy_under(&format!("simulated = \"{}\"", root()))
}

pub(crate) fn policy() -> Policy {
    Policy::parse(&policy_text()).unwrap()
}
