//! The TPM of a paravisor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_evidence::vtpm::RsaKey;
use hypervisor_evidence::{Attester, Backend};
use hypervisor_verify::{CheckId, Status, Verdict};
use hypervisor_vtpm::{Error, VtpmAttester};

use crate::support::{Guest, answering, policy, quoting};

const PARAVISOR: &str = "paravisor = true";

fn attester(guest: &Guest) -> VtpmAttester {
    let imds = quoting(&guest.simulator);
    VtpmAttester::azure(guest.swtpm.tpm(), &imds, guest.paths()).unwrap()
}

fn verdict(guest: &Guest, attester: VtpmAttester) -> Verdict {
    let root = const_hex::encode(guest.simulator.fingerprint());
    let roots = format!("simulated = \"{root}\"");
    guest.verdict(attester, &policy(&roots, &guest.simulator, PARAVISOR))
}

fn failed(verdict: &Verdict) -> Vec<CheckId> {
    verdict.failures().map(|check| check.id).collect()
}

#[test]
fn evidence_through_the_tpm_verifies_from_the_hardware_to_the_files() {
    let guest = Guest::booted().with_paravisor();
    let attester = attester(&guest);
    assert_eq!(attester.backend(), Backend::Tdx);
    let verdict = verdict(&guest, attester);
    assert!(verdict.passed(), "{verdict}");
    for id in [
        CheckId::RuntimeData,
        CheckId::VtpmQuote,
        CheckId::Pcrs,
        CheckId::BootLog,
        CheckId::Files,
        CheckId::ReportData,
    ] {
        let check = verdict.check(id).unwrap();
        assert_eq!(check.status, Status::Pass, "{verdict}");
    }
}

#[test]
fn it_is_refused_where_the_policy_wants_hardware() {
    let guest = Guest::booted().with_paravisor();
    let policy = policy("vendors = [\"intel\"]", &guest.simulator, PARAVISOR);
    let verdict = guest.verdict(attester(&guest), &policy);
    let failures = failed(&verdict);
    assert!(failures.contains(&CheckId::TrustDomain), "{verdict}");
    assert!(failures.contains(&CheckId::CertificateChain), "{verdict}");
}

#[test]
fn what_was_booted_or_run_besides_is_refused() {
    let guest = Guest::booted().with_paravisor();
    let with_attester = attester(&guest);
    guest.measure("/usr/bin/other", b"another program");
    assert_eq!(failed(&verdict(&guest, with_attester)), [CheckId::Files]);

    let guest = Guest::booted().with_paravisor();
    let with_attester = attester(&guest);
    guest.swtpm.extend(4, &[1; 32]);
    let failures = failed(&verdict(&guest, with_attester));
    assert_eq!(failures, [CheckId::Pcrs, CheckId::BootLog]);
}

#[test]
fn each_quote_is_over_its_own_report_data() {
    let guest = Guest::booted().with_paravisor();
    let attester = attester(&guest);
    let quotes = [[1; 64], [2; 64]].map(|data| attester.quote(&data).unwrap());
    let [first, second] = &quotes;
    assert_eq!(first.bytes, second.bytes);
    assert_ne!(first.vtpm, second.vtpm);
}

#[test]
fn a_report_that_names_another_key_is_refused_at_the_start() {
    let guest = Guest::booted();
    guest.swtpm.keep_key(0x8100_0003, true);
    let other = RsaKey {
        n: vec![0xc3; 256],
        e: vec![1, 0, 1],
    };
    let guest = guest.with_report(&other.runtime_data());
    let imds = quoting(&guest.simulator);
    let refused = VtpmAttester::azure(guest.swtpm.tpm(), &imds, guest.paths());
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("not the one that the paravisor's report names"),
        "{refused}"
    );
}

#[test]
fn a_tpm_without_a_paravisor_is_refused_at_the_start() {
    let guest = Guest::booted();
    let imds = quoting(&guest.simulator);
    let refused = VtpmAttester::azure(guest.swtpm.tpm(), &imds, guest.paths());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("not the TPM of such a guest"), "{refused}");
}

#[test]
fn a_service_that_quotes_something_else_is_refused_at_the_start() {
    let guest = Guest::booted().with_paravisor();
    let imds = answering("HTTP/1.0 200 OK\r\n\r\n{\"quote\":\"BAAC\"}");
    let refused = VtpmAttester::azure(guest.swtpm.tpm(), &imds, guest.paths());
    assert!(matches!(refused, Err(Error::Evidence(_))), "{refused:?}");
}
