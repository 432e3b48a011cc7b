//! Evidence of real hardware, at pinned clocks. It was made for others, so its report data is not of this protocol: that
//! check fails, and every check of the hardware must pass.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crate::support::{advice, failed, status};
use const_hex::encode;
use dcap_qvl::quote::Quote;
use der::EncodePem;
use der::oid::ObjectIdentifier;
use der::pem::LineEnding;
use hypervisor_verify::snp::SnpReport;
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::{
    Assurance, Backend, Binding, CheckId, ComponentLog, Evidence, Policy, RawQuote, Status, Verdict,
};
use x509_cert::Certificate;

const TDX_NOW: u64 = 1_751_000_000;
const TD15EX_NOW: u64 = 1_792_000_000;
const SNP_NOW: u64 = 1_751_000_000;
const VLEK_NOW: u64 = 1_740_000_000;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/vectors/real/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn binding(backend: Backend) -> Binding {
    Binding {
        backend,
        register_bound: false,
        log: ComponentLog::new().head(),
        ..crate::support::binding()
    }
}

/// A quote of others as if it came from a host of this protocol.
fn tdx(name: &str) -> Evidence {
    let quote = file(name);
    let quote = trim(&quote).to_vec();
    Evidence {
        log: Some(crate::support::cbor(&ComponentLog::new())),
        manifest: Some(crate::support::MANIFEST.to_vec()),
        collateral: Some(file(&format!("{name}_collateral.json"))),
        ..Evidence::new(RawQuote::Tdx(quote), &binding(Backend::Tdx))
    }
}

fn tdx_policy(quote: &[u8], rules: &str) -> Policy {
    let [.., rtmr3] = TdxQuote::parse(quote).unwrap().report.rtmr;
    let text = format!(
        "version = 1\nroots.vendors = [\"intel\"]\n[tdx]\n{rules}\n{}{}",
        crate::support::tdx_reference(quote, &rtmr3),
        crate::support::software(),
    );
    Policy::parse(&text).unwrap()
}

fn raw(evidence: &Evidence) -> &[u8] {
    match &evidence.quote {
        RawQuote::Tdx(quote) => quote,
        RawQuote::SevSnp { report, .. } => report,
    }
}

fn verify_at(evidence: &Evidence, policy: &Policy, now: u64) -> Verdict {
    let mut expected = crate::support::expected_session();
    if let Some(challenge) = &mut expected.challenge {
        challenge.made_at = now;
    }
    hypervisor_verify::verify(evidence, policy, &expected, now)
}

/// A quote without what follows it in its buffer.
fn trim(quote: &[u8]) -> &[u8] {
    &quote[..TdxQuote::parse(quote).unwrap().length]
}

fn verify_tdx(name: &str, now: u64) -> Verdict {
    let evidence = tdx(name);
    let policy = tdx_policy(raw(&evidence), "");
    verify_at(&evidence, &policy, now)
}

#[test]
fn a_real_tdx_1_0_quote_verifies() {
    let verdict = verify_tdx("tdx_quote", TDX_NOW);
    assert_eq!(failed(&verdict), [CheckId::ReportData], "{verdict}");
    assert_eq!(verdict.assurance(), Assurance::None);
}

#[test]
fn a_real_tdx_1_5_quote_verifies() {
    let verdict = verify_tdx("tdx_quote_td15ex", TD15EX_NOW);
    assert_eq!(failed(&verdict), [CheckId::ReportData], "{verdict}");
    assert_eq!(status(&verdict, CheckId::Register), Some(Status::Pass));
}

#[test]
fn collateral_is_held_against_the_verifiers_clock() {
    for now in [TDX_NOW - 30_000_000, TDX_NOW + 30_000_000] {
        let verdict = verify_tdx("tdx_quote", now);
        let failures = failed(&verdict);
        assert!(failures.contains(&CheckId::Collateral), "{verdict}");
        assert!(failures.contains(&CheckId::TcbStatus), "{verdict}");
        // What does not hang on the clock is still judged.
        assert_eq!(
            status(&verdict, CheckId::QuoteSignature),
            Some(Status::Pass)
        );
        assert_eq!(status(&verdict, CheckId::Measurements), Some(Status::Pass));
        assert!(
            advice(&verdict, CheckId::Collateral).contains("clock"),
            "{verdict}"
        );
    }
}

#[test]
fn an_sgx_quote_is_refused_as_no_td() {
    let quote = file("sgx_quote");
    assert!(TdxQuote::parse(&quote).is_err());
    let evidence = Evidence {
        collateral: Some(file("sgx_quote_collateral.json")),
        ..Evidence::new(RawQuote::Tdx(quote), &binding(Backend::Tdx))
    };
    let policy = tdx_policy(raw(&tdx("tdx_quote")), "");
    let verdict = verify_at(&evidence, &policy, TDX_NOW);
    assert!(advice(&verdict, CheckId::QuoteForm).contains("SGX enclave, not of a TD"));
    assert!(!verdict.passed());
}

#[test]
fn an_outdated_platform_is_refused_with_what_to_update() {
    // Within the dates of its collateral.
    let evidence = tdx("tdx_quote_outdated");
    let collateral: serde_json::Value =
        serde_json::from_slice(evidence.collateral.as_ref().unwrap()).unwrap();
    let tcb_info: serde_json::Value =
        serde_json::from_str(collateral["tcb_info"].as_str().unwrap()).unwrap();
    let issued = humantime::parse_rfc3339(tcb_info["issueDate"].as_str().unwrap()).unwrap();
    let now = issued
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 86_400;
    let policy = tdx_policy(raw(&evidence), "");
    let verdict = verify_at(&evidence, &policy, now);
    let reason = advice(&verdict, CheckId::Collateral);
    assert!(reason.contains("firmware this old"), "{reason}");
    assert!(reason.contains("update BIOS"), "{reason}");
    assert_eq!(
        status(&verdict, CheckId::QuoteSignature),
        Some(Status::Pass)
    );
    assert_eq!(status(&verdict, CheckId::TcbStatus), Some(Status::Fail));
}

#[test]
fn bytes_after_a_quote_are_refused_and_trimmed_before_anything_is_read() {
    let whole = file("tdx_quote");
    let trimmed = trim(&whole);
    assert_eq!((whole.len(), trimmed.len()), (5006, 4936));
    let evidence = Evidence {
        quote: RawQuote::Tdx(whole.clone()),
        ..tdx("tdx_quote")
    };
    let verdict = verify_at(&evidence, &tdx_policy(trimmed, ""), TDX_NOW);
    assert_eq!(
        failed(&verdict),
        [CheckId::QuoteLength, CheckId::ReportData]
    );
}

#[test]
fn platform_flags_of_a_cloud_are_refused_when_the_policy_says_so() {
    let evidence = tdx("tdx_quote");
    for flag in ["smt", "dynamic_platform", "cached_keys"] {
        let policy = tdx_policy(raw(&evidence), &format!("refuse_{flag} = true"));
        let verdict = verify_at(&evidence, &policy, TDX_NOW);
        assert!(
            failed(&verdict).contains(&CheckId::PlatformFlags),
            "{verdict}"
        );
        assert!(advice(&verdict, CheckId::PlatformFlags).contains(flag));
    }
}

#[test]
fn only_named_platforms_pass_where_the_policy_names_some() {
    let evidence = tdx("tdx_quote");
    let policy = tdx_policy(raw(&evidence), "");
    let verdict = verify_at(&evidence, &policy, TDX_NOW);
    let check = verdict.check(CheckId::Platform).unwrap();
    assert_eq!(check.status, Status::SkippedByPolicy);
    let (_, ppid) = &check.inputs[0];
    for (name, wanted) in [
        (ppid.as_str(), Status::Pass),
        (&"00".repeat(16), Status::Fail),
    ] {
        let policy = tdx_policy(raw(&evidence), &format!("platforms = [\"{name}\"]"));
        let verdict = verify_at(&evidence, &policy, TDX_NOW);
        assert_eq!(
            status(&verdict, CheckId::Platform),
            Some(wanted),
            "{verdict}"
        );
    }
}

/// Which check must notice a change at an offset of a TDX quote.
fn guard_of(quote: &TdxQuote<'_>, offset: usize) -> CheckId {
    let signed = quote.signed.len();
    // Length of the signature data, signature, key, certification type and length, QE report, its signature, the QE's data.
    let key = signed + 4 + 64;
    let qe_report = key + 64 + 6;
    let qe_signature = qe_report + 384;
    let auth_data = qe_signature + 64 + 2;
    match offset {
        n if n < 48 => CheckId::QuoteForm,
        n if n < signed => CheckId::QuoteSignature,
        n if n < signed + 4 => CheckId::QuoteForm,
        n if n < key + 64 => CheckId::QuoteSignature,
        n if n < qe_report => CheckId::QuoteForm,
        n if n < auth_data - 2 => CheckId::QeSignature,
        n if n < auth_data => CheckId::QuoteForm,
        n if n < auth_data + quote.qe_auth_data.len() => CheckId::QeBinding,
        n if n < auth_data + quote.qe_auth_data.len() + 6 => CheckId::QuoteForm,
        _ => CheckId::CertificateChain,
    }
}

#[test]
fn a_change_in_any_region_of_a_tdx_quote_is_refused_by_the_check_that_guards_it() {
    for (name, now) in [("tdx_quote", TDX_NOW), ("tdx_quote_td15ex", TD15EX_NOW)] {
        let evidence = tdx(name);
        let original = raw(&evidence).to_vec();
        let policy = tdx_policy(&original, "");
        let parsed = TdxQuote::parse(&original).unwrap();
        for start in (0..original.len()).step_by(64) {
            let mut altered = original.clone();
            let end = (start + 64).min(original.len());
            altered[start..end]
                .iter_mut()
                .for_each(|byte| *byte ^= 0x80);
            let guards: Vec<CheckId> = (start..end)
                .map(|offset| guard_of(&parsed, offset))
                .collect();
            let evidence = Evidence {
                quote: RawQuote::Tdx(altered),
                ..evidence.clone()
            };
            let verdict = verify_at(&evidence, &policy, now);
            let failures = failed(&verdict);
            assert!(
                guards.iter().any(|guard| failures.contains(guard)),
                "{name} {start}: {verdict}"
            );
        }
    }
}

#[test]
fn a_certificate_whose_unsigned_part_names_another_algorithm_is_refused() {
    let evidence = tdx("tdx_quote");
    let policy = tdx_policy(raw(&evidence), "");
    let mut collateral: serde_json::Value =
        serde_json::from_slice(evidence.collateral.as_ref().unwrap()).unwrap();
    let chain = collateral["pck_crl_issuer_chain"].as_str().unwrap();
    let mut chain = Certificate::load_pem_chain(chain.as_bytes()).unwrap();
    let pem = |chain: &[Certificate]| -> String {
        let pem = |it: &Certificate| it.to_pem(LineEnding::LF).unwrap();
        chain.iter().map(pem).collect()
    };
    let mut judged = |chain: &[Certificate]| {
        collateral["pck_crl_issuer_chain"] = pem(chain).into();
        let evidence = Evidence {
            collateral: Some(collateral.to_string().into_bytes()),
            ..evidence.clone()
        };
        failed(&verify_at(&evidence, &policy, TDX_NOW))
    };
    assert_eq!(judged(&chain), [CheckId::ReportData]);
    // ECDSA with SHA-384, where the signed part says SHA-256.
    chain[0].signature_algorithm.oid = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
    assert!(judged(&chain).contains(&CheckId::Collateral));
}

/// A quote with other certification data in its QE data, and right lengths around it.
fn with_certification(original: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let quote = TdxQuote::parse(original).unwrap();
    let signature_data = quote.signed.len();
    let qe_data = signature_data + 4 + 64 + 64 + 2;
    let inner = qe_data + 4 + 384 + 64 + 2 + quote.qe_auth_data.len();
    let end = inner + 6 + data.len();
    let length = |from: usize| u32::try_from(end - from - 4).unwrap().to_le_bytes();
    let mut altered = original[..inner].to_vec();
    altered.extend(kind.to_le_bytes());
    altered.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    altered.extend(data);
    altered[signature_data..signature_data + 4].copy_from_slice(&length(signature_data));
    altered[qe_data..qe_data + 4].copy_from_slice(&length(qe_data));
    altered
}

#[test]
fn certification_data_that_intel_does_not_define_is_refused_though_the_collateral_has_the_chain() {
    let evidence = tdx("tdx_quote_td15ex");
    let original = raw(&evidence).to_vec();
    let policy = tdx_policy(&original, "");
    let chain = TdxQuote::parse(&original).unwrap().certification.to_vec();
    let judged = |kind, data: &[u8]| {
        let evidence = Evidence {
            quote: RawQuote::Tdx(with_certification(&original, kind, data)),
            ..evidence.clone()
        };
        failed(&verify_at(&evidence, &policy, TD15EX_NOW))
    };
    for (kind, data) in [
        (5, &chain[..]),
        (1, &[7; 36]),
        (2, &[7; 276]),
        (3, &[7; 404]),
    ] {
        assert_eq!(judged(kind, data), [CheckId::ReportData], "{kind}");
    }
    for (kind, data) in [
        (0x105, &chain[..]),
        (4, &chain),
        (3, &chain),
        (3, b"words"),
        (99, &[b'x'; 4096]),
        (99, b""),
    ] {
        let failures = judged(kind, data);
        assert!(
            failures.contains(&CheckId::QuoteForm),
            "{kind}: {failures:?}"
        );
    }
}

#[test]
fn one_flipped_bit_in_the_signed_part_is_refused() {
    let evidence = tdx("tdx_quote");
    let original = raw(&evidence).to_vec();
    let policy = tdx_policy(&original, "");
    let signed = TdxQuote::parse(&original).unwrap().signed.len();
    for offset in (0..signed).step_by(7) {
        let mut altered = original.clone();
        altered[offset] ^= 1 << (offset % 8);
        let evidence = Evidence {
            quote: RawQuote::Tdx(altered),
            ..evidence.clone()
        };
        let verdict = verify_at(&evidence, &policy, TDX_NOW);
        let failures = failed(&verdict);
        assert!(
            failures.contains(&CheckId::QuoteSignature) || failures.contains(&CheckId::QuoteForm),
            "{offset}: {verdict}"
        );
    }
}

#[test]
fn altered_collateral_is_refused() {
    let evidence = tdx("tdx_quote");
    let text = String::from_utf8(evidence.collateral.clone().unwrap()).unwrap();
    let policy = tdx_policy(raw(&evidence), "");
    for (from, to) in [
        ("UpToDate", "OutOfDate"),
        (
            "\\\"tcbEvaluationDataNumber\\\":",
            "\\\"tcbEvaluationDataNumber\\\":1",
        ),
        ("TD_QE", "TD_QF"),
    ] {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text, "{from}");
        let evidence = Evidence {
            collateral: Some(altered.into_bytes()),
            ..evidence.clone()
        };
        let failures = failed(&verify_at(&evidence, &policy, TDX_NOW));
        assert!(failures.contains(&CheckId::Collateral), "{from}");
    }
}

#[test]
fn both_readers_of_tdx_quotes_see_the_same_fields() {
    for name in ["tdx_quote", "tdx_quote_td15ex", "tdx_quote_outdated"] {
        let bytes = file(name);
        let ours = TdxQuote::parse(&bytes).unwrap();
        let theirs = Quote::parse(&bytes).unwrap();
        let td = theirs.report.as_td10().unwrap();
        let report = ours.report;
        assert_eq!(ours.version, theirs.header.version);
        assert_eq!(ours.user_data, theirs.header.user_data);
        assert_eq!(ours.signed.len(), theirs.signed_length());
        assert_eq!(report.tee_tcb_svn, td.tee_tcb_svn);
        assert_eq!(report.mr_seam, td.mr_seam);
        assert_eq!(report.mr_signer_seam, td.mr_signer_seam);
        assert_eq!(report.seam_attributes, td.seam_attributes);
        assert_eq!(report.td_attributes, td.td_attributes);
        assert_eq!(report.xfam, td.xfam);
        assert_eq!(report.mrtd, td.mr_td);
        assert_eq!(report.mrconfigid, td.mr_config_id);
        assert_eq!(report.mrowner, td.mr_owner);
        assert_eq!(report.mrownerconfig, td.mr_owner_config);
        assert_eq!(report.rtmr, [td.rt_mr0, td.rt_mr1, td.rt_mr2, td.rt_mr3]);
        assert_eq!(report.report_data, td.report_data);
        assert_eq!(
            report
                .td15
                .map(|td15| (td15.tee_tcb_svn2, td15.mr_service_td)),
            theirs
                .report
                .as_td15()
                .map(|td15| (td15.tee_tcb_svn2, td15.mr_service_td))
        );
        assert_eq!(
            report.current_service_td,
            theirs
                .report
                .as_td15_ex()
                .map(|ex| (ex.cur_service_td_hash, ex.cur_service_td_attributes))
        );
        assert_eq!(&ours.qe_report, theirs.qe_report());
        assert_eq!(ours.certification, theirs.inner_cert_data());
    }
}

fn snp_report() -> Vec<u8> {
    const_hex::decode(String::from_utf8(file("report_milan.hex")).unwrap().trim()).unwrap()
}

fn snp(report: Vec<u8>, certs: &str) -> Evidence {
    Evidence {
        log: Some(crate::support::cbor(&ComponentLog::new())),
        manifest: Some(crate::support::MANIFEST.to_vec()),
        ..Evidence::new(
            RawQuote::SevSnp {
                report,
                certs: file(certs),
            },
            &binding(Backend::SevSnp),
        )
    }
}

fn snp_policy(rules: &str, floor: [u8; 4], changed: impl FnOnce(String) -> String) -> Policy {
    snp_policy_of(&snp_report(), rules, floor, changed)
}

fn snp_policy_of(
    report: &[u8],
    rules: &str,
    floor: [u8; 4],
    changed: impl FnOnce(String) -> String,
) -> Policy {
    let report = SnpReport::parse(report).unwrap();
    let [bootloader, tee, snp, microcode] = floor;
    let reference = format!(
        "[[snp.reference]]\nname = \"the image\"\nmeasurement = \"{}\"\nguest_policy = {}\nhost_data = \"{}\"\n\
         id_key_digest = \"{}\"\nauthor_key_digest = \"{}\"\nfamily_id = \"{}\"\nimage_id = \"{}\"\n",
        encode(report.measurement),
        report.policy,
        encode(report.host_data),
        encode(report.id_key_digest),
        encode(report.author_key_digest),
        encode(report.family_id),
        encode(report.image_id),
    );
    let text = format!(
        "version = 1\nroots.vendors = [\"amd\"]\n[snp]\nreport_versions = [{}]\n{rules}\n[snp.generations.milan]\n\
         bootloader = {bootloader}\ntee = {tee}\nsnp = {snp}\nmicrocode = {microcode}\n{}{}",
        report.version,
        changed(reference),
        crate::support::software()
    );
    Policy::parse(&text).unwrap()
}

fn lenient() -> Policy {
    snp_policy("", [0; 4], |reference| reference)
}

fn verify_snp(policy: &Policy) -> Verdict {
    verify_at(&snp(snp_report(), "vcek_milan.der"), policy, SNP_NOW)
}

#[test]
fn a_real_sev_snp_report_verifies() {
    let verdict = verify_snp(&lenient());
    assert_eq!(failed(&verdict), [CheckId::ReportData], "{verdict}");
    assert_eq!(status(&verdict, CheckId::Endorsement), Some(Status::Pass));
    assert_eq!(
        status(&verdict, CheckId::Revocation),
        Some(Status::SkippedByPolicy)
    );
}

#[test]
fn a_version_2_report_is_refused_by_default() {
    let policy = snp_policy("", [0; 4], |reference| reference);
    let mut strict = policy.clone();
    strict.rules.snp.report_versions = Policy::parse("version = 1\nroots.vendors = [\"amd\"]")
        .unwrap()
        .rules
        .snp
        .report_versions;
    assert!(failed(&verify_snp(&strict)).contains(&CheckId::QuoteForm));
}

#[test]
fn firmware_below_the_floor_is_refused_with_its_part_named() {
    let policy = snp_policy("", [0, 0, 255, 0], |reference| reference);
    let verdict = verify_snp(&policy);
    assert_eq!(failed(&verdict), [CheckId::TcbStatus, CheckId::ReportData]);
    let reason = advice(&verdict, CheckId::TcbStatus);
    assert!(
        reason.contains("reported: snp ") && reason.contains("< 255"),
        "{reason}"
    );
}

#[test]
fn another_image_vmpl_or_chip_is_refused_on_sev_snp() {
    let other = snp_policy("", [0; 4], |reference| {
        reference.replace("guest_policy = ", "guest_policy = 1")
    });
    let verdict = verify_snp(&other);
    assert_eq!(
        failed(&verdict),
        [CheckId::Measurements, CheckId::ReportData]
    );
    assert!(advice(&verdict, CheckId::Measurements).contains("differs in guest_policy"));
    let none = snp_policy("", [0; 4], |_| String::new());
    assert!(advice(&verify_snp(&none), CheckId::Measurements).contains("no reference values"));
    let vmpl = snp_policy("vmpl = 3", [0; 4], |reference| reference);
    assert_eq!(
        failed(&verify_snp(&vmpl)),
        [CheckId::Vmpl, CheckId::ReportData]
    );
    let chips = format!("chips = [\"{}\"]", "01".repeat(64));
    let chips = snp_policy(&chips, [0; 4], |reference| reference);
    assert_eq!(
        failed(&verify_snp(&chips)),
        [CheckId::Platform, CheckId::ReportData]
    );
}

#[test]
fn a_missing_or_foreign_revocation_list_is_refused_where_one_is_required() {
    let policy = snp_policy("require_crl = true", [0; 4], |reference| reference);
    assert!(failed(&verify_snp(&policy)).contains(&CheckId::Revocation));
    // A list of another authority: Intel's.
    let collateral: serde_json::Value =
        serde_json::from_slice(&file("tdx_quote_collateral.json")).unwrap();
    let intels = const_hex::decode(collateral["root_ca_crl"].as_str().unwrap()).unwrap();
    let evidence = Evidence {
        crl: Some(intels),
        ..snp(snp_report(), "vcek_milan.der")
    };
    let verdict = verify_at(&evidence, &policy, SNP_NOW);
    assert!(advice(&verdict, CheckId::Revocation).contains("not signed by AMD's root"));
}

#[test]
fn what_the_policy_wants_of_an_snp_platform_is_named_where_it_is_missing() {
    let wanted = "required_flags = [\"alias-check-complete\", \"ciphertext-hiding\"]";
    let policy = snp_policy(wanted, [0; 4], |reference| reference);
    let verdict = verify_snp(&policy);
    let reason = advice(&verdict, CheckId::PlatformFlags);
    assert!(
        reason.contains("ciphertext-hiding, alias-check-complete"),
        "{reason}"
    );
    assert_eq!(
        status(&verify_snp(&lenient()), CheckId::PlatformFlags),
        Some(Status::SkippedByPolicy)
    );
}

#[test]
fn a_guest_with_memory_on_cxl_is_refused_where_the_policy_says_so() {
    /// Bit 21 of the guest policy, which is at offset 8.
    const CXL: (usize, u8) = (10, 1 << 5);
    let mut report = snp_report();
    report[CXL.0] |= CXL.1;
    let evidence = snp(report, "vcek_milan.der");
    for (rules, refused) in [("", false), ("allow_cxl = false", true)] {
        let policy = snp_policy(rules, [0; 4], |reference| reference);
        let verdict = verify_at(&evidence, &policy, SNP_NOW);
        let failures = failed(&verdict);
        assert_eq!(
            failures.contains(&CheckId::GuestProtection),
            refused,
            "{verdict}"
        );
    }
}

#[test]
fn a_key_of_another_generation_is_refused() {
    let evidence = snp(snp_report(), "vcek_turin.der");
    let verdict = verify_at(&evidence, &lenient(), SNP_NOW);
    let failures = failed(&verdict);
    assert!(failures.contains(&CheckId::CertificateChain), "{verdict}");
    assert!(failures.contains(&CheckId::QuoteSignature), "{verdict}");
}

/// A report signed by a provider's key, and the certificates beside it.
fn vlek(certs: &[&str]) -> Evidence {
    let mut evidence = snp(file("report_milan_vlek.bin"), "vlek_milan.der");
    if let RawQuote::SevSnp { certs: found, .. } = &mut evidence.quote {
        *found = certs.iter().flat_map(|name| file(name)).collect();
    }
    evidence
}

#[test]
fn a_real_report_under_a_providers_key_verifies() {
    let evidence = vlek(&["vlek_milan.der", "asvk_milan.der"]);
    let policy = snp_policy_of(raw(&evidence), "vmpl = 1", [0; 4], |reference| reference);
    let verdict = verify_at(&evidence, &policy, VLEK_NOW);
    assert_eq!(failed(&verdict), [CheckId::ReportData], "{verdict}");
    assert_eq!(status(&verdict, CheckId::Generation), Some(Status::Pass));
    assert_eq!(status(&verdict, CheckId::Endorsement), Some(Status::Pass));
}

#[test]
fn a_providers_key_without_what_signs_it_or_beside_a_chips_report_is_refused() {
    let evidence = vlek(&["vlek_milan.der"]);
    let policy = snp_policy_of(raw(&evidence), "", [0; 4], |reference| reference);
    let verdict = verify_at(&evidence, &policy, VLEK_NOW);
    assert!(
        failed(&verdict).contains(&CheckId::CertificateChain),
        "{verdict}"
    );
    // A chip's key beside the provider's report: neither signature nor endorsement fit.
    let verdict = verify_at(&vlek(&["vcek_milan.der"]), &policy, VLEK_NOW);
    let failures = failed(&verdict);
    assert!(failures.contains(&CheckId::QuoteSignature), "{verdict}");
    assert!(failures.contains(&CheckId::Endorsement), "{verdict}");
}

#[test]
fn certificates_are_held_against_the_verifiers_clock_on_sev_snp() {
    let verdict = verify_at(
        &snp(snp_report(), "vcek_milan.der"),
        &lenient(),
        1_000_000_000,
    );
    assert!(
        failed(&verdict).contains(&CheckId::CertificateChain),
        "{verdict}"
    );
}

#[test]
fn a_change_in_any_region_of_a_sev_snp_report_is_refused_by_the_check_that_guards_it() {
    let original = snp_report();
    let policy = lenient();
    for start in (0..original.len()).step_by(64) {
        let mut altered = original.clone();
        let end = (start + 64).min(original.len());
        altered[start..end]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x80);
        let verdict = verify_at(&snp(altered, "vcek_milan.der"), &policy, SNP_NOW);
        let failures = failed(&verdict);
        // The signature algorithm is in the first region, and nothing covers what follows the signature.
        let guard = if start == 0 || start >= 0x330 - 0x10 {
            CheckId::QuoteForm
        } else {
            CheckId::QuoteSignature
        };
        assert!(
            failures.contains(&guard) || failures.contains(&CheckId::QuoteForm),
            "{start}: {verdict}"
        );
    }
    for offset in 0..original.len() {
        let mut altered = original.clone();
        altered[offset] ^= 1;
        let verdict = verify_at(&snp(altered, "vcek_milan.der"), &policy, SNP_NOW);
        let failures = failed(&verdict);
        assert!(
            failures.contains(&CheckId::QuoteForm) || failures.contains(&CheckId::QuoteSignature),
            "{offset}: {verdict}"
        );
    }
}

#[test]
fn one_flipped_bit_in_any_byte_of_the_certificate_is_refused() {
    let original = file("vcek_milan.der");
    let policy = lenient();
    for offset in 0..original.len() {
        let mut altered = original.clone();
        altered[offset] ^= 1 << (offset % 8);
        let mut evidence = snp(snp_report(), "vcek_milan.der");
        evidence.quote = RawQuote::SevSnp {
            report: snp_report(),
            certs: altered,
        };
        let failures = failed(&verify_at(&evidence, &policy, SNP_NOW));
        assert!(failures.contains(&CheckId::CertificateChain), "{offset}");
    }
}

#[test]
fn evidence_of_one_vendor_is_refused_by_a_policy_for_the_other() {
    let verdict = verify_tdx_under(&lenient());
    assert!(
        failed(&verdict).contains(&CheckId::TrustDomain),
        "{verdict}"
    );
    assert!(failed(&verdict).contains(&CheckId::Collateral), "{verdict}");
    let intel = tdx_policy(raw(&tdx("tdx_quote")), "");
    let verdict = verify_snp(&intel);
    assert!(
        failed(&verdict).contains(&CheckId::TrustDomain),
        "{verdict}"
    );
    assert!(
        failed(&verdict).contains(&CheckId::CertificateChain),
        "{verdict}"
    );
}

fn verify_tdx_under(policy: &Policy) -> Verdict {
    verify_at(&tdx("tdx_quote"), policy, TDX_NOW)
}
