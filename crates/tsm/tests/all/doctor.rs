//! What the doctor says of a machine.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

use hypervisor_tsm::doctor::{Examination, examine, examine_at};
use hypervisor_tsm::{Error, Provider};
use proptest::prelude::*;

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn examined(files: &[(&str, &str)]) -> Examination {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write(root.path(), path, content);
    }
    examine_at(root.path())
}

#[test]
fn an_empty_machine_offers_nothing_and_is_told_what_to_do() {
    let examination = examined(&[]);
    assert_eq!(examination.backend, None);
    for finding in [
        &examination.kernel,
        &examination.configfs,
        &examination.report_directory,
        &examination.provider,
        &examination.measurements,
        &examination.event_log,
        &examination.tdx_device,
        &examination.sev_device,
        &examination.cpu,
    ] {
        assert!(!finding.present, "{finding:?}");
        assert!(finding.advice.ends_with('.'), "{finding:?}");
        assert!(!finding.detail.is_empty(), "{finding:?}");
    }
}

#[test]
fn the_kernels_version_decides_what_works() {
    for (release, present, says) in [
        ("6.6.50\n", false, "6.7"),
        ("5.15.0-105-generic\n", false, "6.7"),
        ("6.7.0\n", true, "6.16"),
        ("6.15.3-cloud\n", true, "6.16"),
        ("6.16.0\n", true, "supported"),
        ("7.1.2\n", true, "supported"),
    ] {
        let kernel = examined(&[("proc/sys/kernel/osrelease", release)]).kernel;
        assert_eq!(kernel.present, present, "{release}");
        assert_eq!(kernel.detail, release.trim());
        assert!(kernel.advice.contains(says), "{release}: {}", kernel.advice);
    }
}

#[test]
fn a_tdx_guests_files_are_found() {
    let examination = examined(&[
        (
            "proc/mounts",
            "proc /proc proc rw 0 0\nnone /sys/kernel/config configfs rw,nosuid 0 0\n",
        ),
        (
            "proc/cpuinfo",
            "processor : 0\nflags\t\t: fpu hypervisor tdx_guest\n",
        ),
        ("dev/tdx_guest", ""),
        ("sys/firmware/acpi/tables/data/CCEL", "events"),
        (
            "sys/devices/virtual/misc/tdx_guest/measurements/rtmr3:sha384",
            "",
        ),
    ]);
    assert_eq!(
        examination.configfs.detail,
        "/sys/kernel/config (rw,nosuid)"
    );
    assert_eq!(examination.cpu.detail, "hypervisor tdx_guest");
    assert_eq!(examination.event_log.detail, "6 bytes");
    assert_eq!(examination.measurements.detail, "rtmr3:sha384");
    for finding in [
        &examination.configfs,
        &examination.cpu,
        &examination.tdx_device,
        &examination.event_log,
        &examination.measurements,
    ] {
        assert!(finding.present, "{finding:?}");
    }
    assert!(!examination.sev_device.present);
}

#[test]
fn a_host_of_guests_is_no_guest() {
    let cpu = examined(&[("proc/cpuinfo", "flags : fpu sev sev_es sev_snp\n")]).cpu;
    assert!(!cpu.present);
    assert_eq!(cpu.detail, "sev sev_es sev_snp");
}

#[test]
fn stale_entries_are_counted() {
    let examination = examined(&[
        ("sys/kernel/config/tsm/report/one/inblob", ""),
        ("sys/kernel/config/tsm/report/two/inblob", ""),
    ]);
    assert_eq!(examination.report_directory.detail, "2 entries");
}

#[test]
fn a_plain_directory_is_no_provider() {
    let examination = examined(&[("sys/kernel/config/tsm/report/.keep", "")]);
    assert_eq!(examination.backend, None);
    assert!(!examination.provider.present);
}

#[test]
fn this_machine_can_be_examined_and_the_answer_is_json() {
    let examination = examine();
    let json = serde_json::to_value(&examination).unwrap();
    assert_eq!(
        json["backend"].is_null(),
        !examination.provider.present,
        "{json}"
    );
    assert!(json["kernel"]["advice"].is_string());
}

#[test]
fn a_provider_is_known_by_its_exact_name() {
    assert_eq!(Provider::parse(b"tdx_guest\n"), Ok(Provider::TdxGuest));
    assert_eq!(Provider::parse(b"sev_guest"), Ok(Provider::SevGuest));
    assert_eq!(
        Provider::parse(b"tdx_guest2\n\x1b[31m"),
        Err(Error::UnsupportedProvider {
            found: "tdx_guest2??[31m".to_owned()
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_kernels_files_hold_is_no_panic(
        release in ".{0,40}", mounts in "(.{0,20}[ \n]){0,10}", cpuinfo in "flags.{0,60}",
        provider in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let examination = examined(&[
            ("proc/sys/kernel/osrelease", &release),
            ("proc/mounts", &mounts),
            ("proc/cpuinfo", &cpuinfo),
        ]);
        prop_assert_eq!(examination.backend, None);
        if let Err(Error::UnsupportedProvider { found }) = Provider::parse(&provider) {
            prop_assert!(found.len() <= 32 && found.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
