//! The bad cases: each option gives exactly the fault that it names, as `dcap-qvl` sees it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteClaims, QuotePolicy};
use hypervisor_simulated::{ComponentTcb, PlatformTcb, QuoteBody, Simulator, SimulatorBuilder};

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;
const DAY: u64 = 86_400;
const REPORT_DATA: [u8; 64] = [0x5a; 64];

fn builder() -> SimulatorBuilder {
    Simulator::builder(b"refused")
}

/// Verifies with a policy that lets every verdict through.
fn verified(builder: SimulatorBuilder) -> Result<QuoteClaims, String> {
    under(builder, &QuotePolicy::claims_only(NOW))
}

fn strict(builder: SimulatorBuilder) -> Result<QuoteClaims, String> {
    under(builder, &QuotePolicy::strict(NOW))
}

fn under(builder: SimulatorBuilder, policy: &QuotePolicy) -> Result<QuoteClaims, String> {
    let simulator = builder.build().unwrap();
    let quote = simulator.raw_quote(&REPORT_DATA).unwrap();
    QuoteVerifier::new(simulator.root().to_vec())
        .verify_with_policy(&quote, simulator.collateral(), NOW, policy)
        .map_err(|error| format!("{error:#}"))
}

#[track_caller]
fn refused(builder: SimulatorBuilder, says: &str) {
    let error = verified(builder).unwrap_err();
    assert!(error.contains(says), "{error}");
}

#[track_caller]
fn status(builder: SimulatorBuilder, expected: &str) {
    let claims = verified(builder.clone()).unwrap();
    assert_eq!(claims.tcb.status.to_string(), expected);
    assert!(strict(builder).is_err(), "strict accepts {expected}");
}

#[test]
fn a_debug_td() {
    refused(builder().debug(), "Debug mode is enabled");
}

#[test]
fn a_td_that_can_be_profiled() {
    refused(builder().profiling(), "TD profiling is enabled");
}

#[test]
fn a_migratable_td() {
    refused(builder().migratable(), "TD migration is enabled");
}

#[test]
fn a_td_without_sept_ve_disable() {
    refused(
        builder().without_sept_ve_disable(),
        "SEPT_VE_DISABLE is not enabled",
    );
}

#[test]
fn a_td_with_reserved_attributes() {
    refused(builder().attributes(1 << 28 | 1 << 40), "Reserved bits");
}

#[test]
fn a_td_with_a_service_td() {
    let builder = builder().body(QuoteBody::V5Td15).service_td([7; 48]);
    refused(builder.clone(), "Invalid MR service TD");
    let simulator = builder.build().unwrap();
    let quote = simulator.raw_quote(&REPORT_DATA).unwrap();
    let report = QuoteVerifier::new(simulator.root().to_vec())
        .allow_service_td(true)
        .verify(&quote, simulator.collateral(), NOW)
        .unwrap();
    assert_eq!(report.report.as_td15().unwrap().mr_service_td, [7; 48]);
}

#[test]
fn every_level_of_the_platform() {
    for (level, expected) in [
        (PlatformTcb::SwHardeningNeeded, "SWHardeningNeeded"),
        (PlatformTcb::ConfigurationNeeded, "ConfigurationNeeded"),
        (
            PlatformTcb::ConfigurationAndSwHardeningNeeded,
            "ConfigurationAndSWHardeningNeeded",
        ),
        (PlatformTcb::OutOfDate, "OutOfDate"),
        (
            PlatformTcb::OutOfDateConfigurationNeeded,
            "OutOfDateConfigurationNeeded",
        ),
    ] {
        status(builder().platform_tcb(level), expected);
    }
    refused(
        builder().platform_tcb(PlatformTcb::Revoked),
        "TCB status is invalid: Revoked",
    );
    refused(
        builder().platform_tcb(PlatformTcb::Unlisted),
        "No matching TCB level",
    );
}

#[test]
fn every_level_of_the_tdx_module() {
    status(builder().module_tcb(ComponentTcb::OutOfDate), "OutOfDate");
    refused(
        builder().module_tcb(ComponentTcb::Revoked),
        "TCB status is invalid: Revoked",
    );
    refused(
        builder().module_tcb(ComponentTcb::Unlisted),
        "below minimum required",
    );
}

#[test]
fn a_td_launched_before_its_module_was_updated() {
    let builder = builder()
        .body(QuoteBody::V5Td15)
        .module_tcb(ComponentTcb::OutOfDate)
        .current_module_tcb(ComponentTcb::UpToDate);
    status(builder, "TDRelaunchAdvised");
}

#[test]
fn every_level_of_the_quoting_enclave() {
    status(builder().qe_tcb(ComponentTcb::OutOfDate), "OutOfDate");
    refused(
        builder().qe_tcb(ComponentTcb::Revoked),
        "TCB status is invalid: Revoked",
    );
    refused(
        builder().qe_tcb(ComponentTcb::Unlisted),
        "below minimum required",
    );
}

#[test]
fn a_quoting_enclave_of_another_signer() {
    refused(builder().wrong_qe(), "QE MRSIGNER mismatch");
}

#[test]
fn collateral_of_another_processor() {
    refused(builder().wrong_fmspc(), "Fmspc mismatch");
}

#[test]
fn a_revoked_pck_certificate() {
    refused(builder().revoked_pck(), "CertRevoked");
}

#[test]
fn a_revoked_pck_authority() {
    refused(builder().revoked_pck_ca(), "CertRevoked");
}

#[test]
fn collateral_that_has_expired() {
    refused(
        builder().collateral_window(NOW - 60 * DAY, NOW - 30 * DAY),
        "Expired",
    );
}

#[test]
fn collateral_of_the_future() {
    refused(
        builder().collateral_window(NOW + DAY, NOW + 30 * DAY),
        "future",
    );
}

#[test]
fn collateral_that_was_rolled_back() {
    let rolled_back = builder().evaluation_number(17);
    let floor = QuotePolicy::strict(NOW).min_tcb_eval_data_number(18);
    let error = under(rolled_back, &floor).unwrap_err();
    assert!(error.contains("17 is below minimum 18"), "{error}");
    let claims = under(builder().evaluation_number(18), &floor).unwrap();
    assert_eq!(claims.tcb.eval_data_number, 18);
}

#[test]
fn a_platform_of_a_large_cloud_needs_three_permissions() {
    let error = strict(builder().cloud_class()).unwrap_err();
    assert!(error.contains("Dynamic platform"), "{error}");
    let policy = QuotePolicy::strict(NOW)
        .allow_dynamic_platform(true)
        .allow_cached_keys(true)
        .allow_smt(true);
    under(builder().cloud_class(), &policy).unwrap();
}

#[test]
fn an_up_to_date_platform_may_carry_advisories() {
    let advisory = "INTEL-SA-01234";
    let claims = strict(builder().advisories([advisory.to_owned()])).unwrap();
    assert_eq!(claims.tcb.advisory_ids, [advisory]);
}

#[test]
fn collateral_beyond_what_x509_can_say_is_an_error() {
    assert!(builder().collateral_window(0, u64::MAX).build().is_err());
}

#[test]
fn a_quote_of_another_seed_is_refused() {
    let (one, other) = (
        Simulator::builder(b"one").build().unwrap(),
        Simulator::builder(b"other").build().unwrap(),
    );
    let verifier = QuoteVerifier::new(one.root().to_vec());
    let quote = other.raw_quote(&REPORT_DATA).unwrap();
    assert!(verifier.verify(&quote, other.collateral(), NOW).is_err());
    assert!(verifier.verify(&quote, one.collateral(), NOW).is_err());
}

#[test]
fn a_changed_byte_before_the_certificates_is_refused_but_for_the_type_that_nothing_signs() {
    let simulator = builder().build().unwrap();
    let verifier = QuoteVerifier::new(simulator.root().to_vec());
    let quote = simulator.raw_quote(&REPORT_DATA).unwrap();
    let certificates = quote
        .windows(5)
        .position(|window| window == b"-----")
        .unwrap();
    // Every eighth byte, and each of signature data, lengths and types.
    let accepted: Vec<usize> = (0..certificates)
        .filter(|at| at % 8 == 0 || (632..790).contains(at))
        .filter(|at| {
            let mut quote = quote.clone();
            quote[*at] ^= 1;
            verifier.verify(&quote, simulator.collateral(), NOW).is_ok()
        })
        .collect();
    // The type of the certification data: the verifier does not read it, the attesting side does.
    assert_eq!(accepted, [764, 765]);
    for at in accepted {
        let mut quote = quote.clone();
        quote[at] ^= 1;
        assert!(hypervisor_evidence::Quote::tdx(quote, &REPORT_DATA).is_err());
    }
}
