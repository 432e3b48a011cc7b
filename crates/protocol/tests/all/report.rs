//! The report: its CBOR, its JSON, and what readers of other versions see.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ciborium::Value;
use hypervisor_protocol::{Error, Exit, HexBytes, LimitKind, PolicyDecision, Rejection, Report};
use serde_json::json;

fn exits() -> Vec<Exit> {
    let mut exits = vec![
        Exit::Ok,
        Exit::Code { code: u32::MAX },
        Exit::Trap {
            reason: String::new(),
        },
        Exit::Denied {
            reason: "é\0\"".to_owned(),
        },
    ];
    exits.extend(LIMITS.map(|(which, _)| Exit::Limit {
        which,
        used: u64::MAX,
        allowed: 0,
    }));
    exits.extend(REJECTIONS.map(|(problem, _)| Exit::Rejected {
        problem,
        // Longer than the decoder's scratch buffer.
        detail: "x".repeat(10_000),
    }));
    exits
}

const LIMITS: [(LimitKind, &str); 13] = [
    (LimitKind::Cpu, "cpu"),
    (LimitKind::Wall, "wall"),
    (LimitKind::Memory, "memory"),
    (LimitKind::Table, "table"),
    (LimitKind::Instances, "instances"),
    (LimitKind::Output, "output"),
    (LimitKind::Stack, "stack"),
    (LimitKind::HostBuffer, "host-buffer"),
    (LimitKind::Handles, "handles"),
    (LimitKind::CompileTime, "compile-time"),
    (LimitKind::CompileMemory, "compile-memory"),
    (LimitKind::Price, "price"),
    (LimitKind::State, "state"),
];

const REJECTIONS: [(Rejection, &str); 9] = [
    (Rejection::NotWasm, "not-wasm"),
    (Rejection::Precompiled, "precompiled"),
    (Rejection::InvalidComponent, "invalid-component"),
    (Rejection::NoEntryPoint, "no-entry-point"),
    (Rejection::MissingImport, "missing-import"),
    (Rejection::WrongWorld, "wrong-world"),
    (Rejection::InvalidArgument, "invalid-argument"),
    (Rejection::InvalidSource, "invalid-source"),
    (Rejection::ProgramTooLarge, "program-too-large"),
];

fn report(exit: Exit) -> Report {
    Report {
        stderr: HexBytes(vec![0xee; 5000]),
        stderr_truncated: true,
        cpu_microseconds: u64::MAX,
        policy: Some(PolicyDecision {
            allowed: false,
            reason: None,
            rules_digest: HexBytes(vec![7; 48]),
        }),
        ..Report::new(exit, b"program", [9; 32].into())
    }
}

/// The report's CBOR as a map to be changed.
fn map(report: &Report) -> Vec<(Value, Value)> {
    match ciborium::from_reader(report.encode().unwrap().as_slice()).unwrap() {
        Value::Map(entries) => entries,
        other => panic!("{other:?}"),
    }
}

fn encode(entries: Vec<(Value, Value)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&Value::Map(entries), &mut bytes).unwrap();
    bytes
}

#[test]
fn every_kind_of_exit_returns_as_it_was() {
    for exit in exits() {
        let report = report(exit);
        assert_eq!(Report::decode(&report.encode().unwrap()).unwrap(), report);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}

#[test]
fn names_of_limits_and_rejections() {
    for (limit, name) in LIMITS {
        assert_eq!(serde_json::to_value(limit).unwrap(), name);
    }
    for (rejection, name) in REJECTIONS {
        assert_eq!(serde_json::to_value(rejection).unwrap(), name);
    }
}

#[test]
fn bytes_are_byte_strings_in_cbor() {
    let entries = map(&report(Exit::Ok));
    let of = |key: &str| {
        let found = entries.iter().find(|(name, _)| name.as_text() == Some(key));
        found.unwrap().1.clone()
    };
    assert_eq!(of("stderr"), Value::Bytes(vec![0xee; 5000]));
    assert_eq!(of("request_commitment"), Value::Bytes(vec![9; 32]));
    assert!(of("program_digest").is_bytes());
    let policy = of("policy").into_map().unwrap();
    assert!(policy.iter().any(|(_, value)| value.is_bytes()));
}

#[test]
fn a_report_in_json_has_hex_for_bytes() {
    let report = Report {
        stderr: HexBytes(b"oops".to_vec()),
        ..Report::new(
            Exit::Limit {
                which: LimitKind::HostBuffer,
                used: 2,
                allowed: 1,
            },
            b"abc",
            [9; 32].into(),
        )
    };
    let expected = json!({
        "version": 1,
        "exit": { "kind": "limit", "which": "host-buffer", "used": 2, "allowed": 1 },
        "stderr": "6f6f7073",
        "stdout_truncated": false,
        "stderr_truncated": false,
        "cpu_microseconds": 0,
        "wall_microseconds": 0,
        "peak_memory_bytes": 0,
        // FIPS 180-4's own example.
        "program_digest": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "request_commitment": "09".repeat(32),
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
}

#[test]
fn an_unknown_key_is_ignored() {
    let report = report(Exit::Code { code: 1 });
    let mut entries = map(&report);
    entries.insert(0, ("fuel".into(), Value::Map(vec![(1.into(), 2.into())])));
    assert_eq!(Report::decode(&encode(entries)).unwrap(), report);
}

#[test]
fn another_version_is_refused_as_such() {
    // All that is certain of a later version is the key `version`.
    let entries = vec![("version".into(), 2.into()), ("exit".into(), 5.into())];
    let refused = Report::decode(&encode(entries));
    assert_eq!(refused, Err(Error::ReportVersion { found: 2 }));
}

#[test]
fn a_missing_key_is_named() {
    let mut entries = map(&report(Exit::Ok));
    entries.retain(|(key, _)| key.as_text() != Some("request_commitment"));
    let message = Report::decode(&encode(entries)).unwrap_err().to_string();
    assert!(
        message.contains("missing field `request_commitment`"),
        "{message}"
    );
}

#[test]
fn a_digest_of_another_length_is_refused() {
    let mut entries = map(&report(Exit::Ok));
    for (key, value) in &mut entries {
        if key.as_text() == Some("program_digest") {
            *value = Value::Bytes(vec![0; 31]);
        }
    }
    let message = Report::decode(&encode(entries)).unwrap_err().to_string();
    assert!(
        message.contains("31 bytes where 32 are expected"),
        "{message}"
    );
}

#[test]
fn bytes_after_the_report_are_refused() {
    let mut bytes = report(Exit::Ok).encode().unwrap();
    bytes.push(0xf6);
    assert!(Report::decode(&bytes).is_err());
}
