//! Recordings of hardware.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hypervisor_tsm::Error;
use hypervisor_tsm::record::{record, record_from};

use crate::support::kernel::Fault;
use crate::support::{REPORT_DATA, open, simulator, snp, tdx};

#[test]
fn a_recording_holds_what_a_test_needs_to_replay_it() {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("sys/firmware/acpi/tables/data/CCEL", "events"),
        ("proc/sys/kernel/osrelease", "6.16.1\n"),
    ] {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let directory = root.path().join("recording");
    let tsm = open(&tdx()).unwrap();
    let recording = record_from(&tsm, &directory, &REPORT_DATA, root.path()).unwrap();

    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    assert_eq!(read("quote.bin")[568..632], REPORT_DATA);
    assert_eq!(read("ccel.bin"), b"events");
    assert_eq!(recording.kernel.as_deref(), Some("6.16.1"));
    assert_eq!(recording.registers.len(), 5);

    let json: serde_json::Value = serde_json::from_slice(&read("recording.json")).unwrap();
    assert_eq!(json["provider"], "tdx_guest");
    assert_eq!(json["backend"], "tdx");
    assert_eq!(json["format"], "tdx-v4");
    assert_eq!(json["report_data"], "5a".repeat(64));
    assert_eq!(json["registers"][4]["name"], "rtmr3:sha384");
    assert_eq!(json["registers"][4]["value"], "00".repeat(48));
    assert_eq!(json["files"], serde_json::json!(["quote.bin", "ccel.bin"]));
}

#[test]
fn a_recording_never_holds_what_followed_the_quote() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("recording");
    let kernel = tdx();
    let mut blob = simulator().raw_quote(&REPORT_DATA).unwrap();
    let end = blob.len();
    blob.extend(b"secret of the guest");
    kernel.fail(Fault::Blob(blob));
    let recording = record(&open(&kernel).unwrap(), &directory, &REPORT_DATA).unwrap();
    assert_eq!(recording.dropped, 19);
    assert_eq!(
        std::fs::read(directory.join("quote.bin")).unwrap().len(),
        end
    );
}

#[test]
fn an_snp_recording_has_the_certificates() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("recording");
    let kernel = snp();
    let mut table = vec![7; 16];
    table.extend(48_u32.to_le_bytes());
    table.extend(4_u32.to_le_bytes());
    table.extend([0; 24]);
    table.extend(b"CERT");
    kernel.auxblob(table.clone());
    record(&open(&kernel).unwrap(), &directory, &REPORT_DATA).unwrap();
    assert_eq!(
        std::fs::read(directory.join("certificates.bin")).unwrap(),
        table
    );
}

#[test]
fn an_existing_directory_is_not_written_to() {
    let root = tempfile::tempdir().unwrap();
    let error = record(&open(&tdx()).unwrap(), root.path(), &REPORT_DATA).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
