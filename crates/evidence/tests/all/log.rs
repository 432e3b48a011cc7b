//! The component log: what it takes, and that what it took can be read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_evidence::log::{MAX_ENTRIES, MAX_IMPORTS, MAX_LENGTH, MAX_NAME, digest_of_imports};
use hypervisor_evidence::{ComponentLog, LogEntry};
use hypervisor_protocol::ContentFormat;

fn entry(name: &str) -> LogEntry {
    LogEntry::new(name, name.as_bytes(), vec!["wasi:io/poll@0.2.0".to_owned()])
}

#[test]
fn a_register_from_zero_is_the_head() {
    let mut log = ComponentLog::with_register([0; 48]);
    log.append(entry("payments")).unwrap();
    log.append(entry("policy")).unwrap();
    assert_eq!(log.register(), Some(log.head().head));
}

#[test]
fn a_full_log_takes_no_entry_and_keeps_its_head() {
    let mut log = ComponentLog::new();
    for _ in 0..MAX_ENTRIES {
        log.append(entry("agent")).unwrap();
    }
    let head = log.head();
    assert!(log.append(entry("agent")).is_err());
    assert_eq!(log.head(), head);
    assert_eq!(head.count, 4096);
}

#[test]
fn what_was_appended_can_be_encoded_and_read_in_both_formats() {
    let imports = |n: usize| (0..MAX_IMPORTS).map(move |i| format!("{n:04}{i:0252}"));
    let mut log = ComponentLog::new();
    let refused = (0..MAX_ENTRIES)
        .find_map(|n| {
            let entry = LogEntry::new("agent", b"", imports(n).collect());
            log.append(entry).err()
        })
        .unwrap();
    assert!(
        refused.to_string().contains("room for 4194304"),
        "{refused}"
    );
    for format in [ContentFormat::Cbor, ContentFormat::Json] {
        let encoded = log.encode(format).unwrap();
        assert!(encoded.len() <= log.size() && log.size() <= MAX_LENGTH);
        assert_eq!(ComponentLog::decode(format, &encoded).unwrap(), log);
    }
}

#[test]
fn the_digest_of_imports_is_that_of_the_set() {
    let digest = digest_of_imports(&["wasi:io/poll@0.2.0", "wasi:cli/run@0.2.0"]);
    assert_eq!(digest.len(), 7 + 96);
    let again = [
        "wasi:cli/run@0.2.0",
        "wasi:io/poll@0.2.0",
        "wasi:io/poll@0.2.0",
    ];
    assert_eq!(digest, digest_of_imports(&again));
    assert_ne!(digest, digest_of_imports(&["wasi:cli/run@0.2.0"]));
}

#[test]
fn names_and_imports_are_bounded() {
    let mut log = ComponentLog::new();
    assert!(log.append(entry("")).is_err());
    assert!(log.append(entry(&"n".repeat(MAX_NAME))).is_ok());
    assert!(log.append(entry(&"n".repeat(MAX_NAME + 1))).is_err());
    let with = |imports| LogEntry::new("agent", b"", imports);
    assert!(log.append(with(vec!["i".repeat(MAX_NAME + 1)])).is_err());
    assert!(
        log.append(with(vec![String::new(); MAX_IMPORTS + 1]))
            .is_err()
    );
    assert_eq!(log.entries().len(), 1);
}
