//! TPMs of real machines at Azure and Google, at pinned clocks. They were asked by others, so the report data is not of this protocol:
//! that check fails, and every check of hardware and TPM must pass.

use crate::support::{MANIFEST, advice, cbor, expected_session, failed, status, tdx_reference};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use const_hex::encode;
use hypervisor_verify::boot_log::PcrLog;
use hypervisor_verify::snp::SnpReport;
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::vtpm::{HclReport, PCRS, RsaKey, Vtpm, report_data};
use hypervisor_verify::{
    Backend, Binding, CheckId, ComponentLog, Evidence, Policy, RawQuote, Status, Verdict,
};
use serde_json::Value;

const NOW: u64 = 1_767_225_600;

fn json(name: &str) -> Value {
    let path = format!("{}/vectors/real/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Bytes as a list, hex, PEM or base64url: the recordings have all of them.
fn bytes(value: &Value) -> Vec<u8> {
    let Some(text) = value.as_str() else {
        let numbers = value.as_array().unwrap().iter();
        return numbers.map(|byte| byte.as_u64().unwrap() as u8).collect();
    };
    if text.starts_with("-----") {
        let lines = text.lines().filter(|line| !line.starts_with('-'));
        return STANDARD.decode(lines.collect::<String>()).unwrap();
    }
    const_hex::decode(text)
        .or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')))
        .unwrap()
}

fn pcrs(quote: &Value) -> [[u8; 32]; PCRS] {
    let list = quote["pcrs"].as_array().unwrap();
    let values: Vec<[u8; 32]> = list
        .iter()
        .map(|it| bytes(it).try_into().unwrap())
        .collect();
    values.try_into().unwrap()
}

/// What a machine at Azure gave, as if it came from a host of this protocol.
fn azure(name: &str) -> Evidence {
    let recorded = json(name);
    let of = |names: [&str; 2]| names.iter().find_map(|name| recorded.get(name)).unwrap();
    let block = bytes(of(["hcl_report", "report"]));
    let report = HclReport::parse(&block).unwrap();
    let quote = of(["tpm_quote", "quote"]);
    let (raw, backend) = match recorded.get("td_quote") {
        Some(td_quote) => {
            let mut td_quote = bytes(td_quote);
            td_quote.truncate(TdxQuote::parse(&td_quote).unwrap().length);
            (RawQuote::Tdx(td_quote), Backend::Tdx)
        }
        None => {
            let raw = RawQuote::SevSnp {
                report: report.report.to_vec(),
                certs: bytes(&recorded["vcek"]),
            };
            (raw, Backend::SevSnp)
        }
    };
    let vtpm = Vtpm::new(
        report.runtime_data.to_vec(),
        bytes(&quote["message"]),
        bytes(&quote["signature"]),
        pcrs(quote),
    );
    let binding = Binding {
        backend,
        ..super::made::binding()
    };
    Evidence {
        log: Some(cbor(&ComponentLog::new())),
        manifest: Some(MANIFEST.to_vec()),
        vtpm: Some(vtpm.encode().unwrap()),
        ..Evidence::new(raw, &binding)
    }
}

fn part(evidence: &Evidence) -> Vtpm {
    Vtpm::decode(evidence.vtpm.as_ref().unwrap()).unwrap()
}

/// The policy for a machine, by all of its PCRs.
fn policy(evidence: &Evidence, rules: &str) -> Policy {
    let image = match &evidence.quote {
        RawQuote::Tdx(quote) => format!("[tdx]\n{rules}\n{}", tdx_reference(quote, &[0; 48])),
        RawQuote::SevSnp { report, .. } => {
            let report = SnpReport::parse(report).unwrap();
            let floor = "bootloader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\n";
            format!(
                "[snp]\n{rules}\n[snp.generations.milan]\n{floor}[snp.generations.genoa]\n{floor}[[snp.reference]]\nname = \"paravisor\"\n\
                 measurement = \"{}\"\nguest_policy = {}\nhost_data = \"{}\"\nid_key_digest = \"{}\"\nauthor_key_digest = \"{}\"\n\
                 family_id = \"{}\"\nimage_id = \"{}\"\n",
                encode(report.measurement),
                report.policy,
                encode(report.host_data),
                encode(report.id_key_digest),
                encode(report.author_key_digest),
                encode(report.family_id),
                encode(report.image_id),
            )
        }
    };
    let pcrs: Vec<String> = part(evidence)
        .pcrs
        .iter()
        .enumerate()
        .map(|(pcr, value)| format!("{{ pcr = {pcr}, value = \"{value}\" }}"))
        .collect();
    let text = format!(
        "version = 1\nroots.vendors = [\"intel\", \"amd\"]\n{image}{}[vtpm]\nparavisor = true\n[[vtpm.reference]]\nname = \"the image\"\npcrs = [{}]\n",
        crate::support::software(),
        pcrs.join(", ")
    );
    Policy::parse(&text).unwrap()
}

fn verify(evidence: &Evidence, policy: &Policy) -> Verdict {
    let mut expected = expected_session();
    if let Some(challenge) = &mut expected.challenge {
        challenge.made_at = NOW;
    }
    hypervisor_verify::verify(evidence, policy, &expected, NOW)
}

const OF_THE_TPM: [CheckId; 4] = [
    CheckId::RuntimeData,
    CheckId::VtpmKey,
    CheckId::VtpmQuote,
    CheckId::Pcrs,
];

const SNP: [&str; 3] = [
    "vtpm_azure_milan",
    "vtpm_azure_milan_user_data",
    "vtpm_azure_genoa",
];

#[test]
fn tpms_above_sev_snp_at_azure_verify_up_to_amds_root() {
    for name in SNP {
        let evidence = azure(name);
        let verdict = verify(&evidence, &policy(&evidence, ""));
        assert_eq!(failed(&verdict), [CheckId::ReportData], "{name}: {verdict}");
        for id in OF_THE_TPM {
            assert_eq!(status(&verdict, id), Some(Status::Pass), "{verdict}");
        }
    }
}

#[test]
fn a_tpm_above_tdx_at_azure_verifies_up_to_intels_root_and_lacks_collateral() {
    let evidence = azure("vtpm_azure_tdx");
    let verdict = verify(&evidence, &policy(&evidence, "allow_sept_ve = true"));
    let failures = failed(&verdict);
    let of_collateral = [
        CheckId::Collateral,
        CheckId::TcbStatus,
        CheckId::TcbEvaluation,
        CheckId::Advisories,
        CheckId::PlatformFlags,
        CheckId::Platform,
        CheckId::ReportData,
    ];
    assert_eq!(failures, of_collateral, "{verdict}");
    assert_eq!(
        status(&verdict, CheckId::GuestProtection),
        Some(Status::SkippedByPolicy)
    );
    for id in OF_THE_TPM {
        assert_eq!(status(&verdict, id), Some(Status::Pass), "{verdict}");
    }
}

#[test]
fn a_td_of_azure_needs_a_policy_that_says_so() {
    let evidence = azure("vtpm_azure_tdx");
    let verdict = verify(&evidence, &policy(&evidence, ""));
    assert!(advice(&verdict, CheckId::GuestProtection).contains("`tdx.allow_sept_ve`"));
}

#[test]
fn parts_of_one_machine_do_not_go_with_another() {
    for (name, other) in [
        (SNP[0], SNP[1]),
        (SNP[1], SNP[0]),
        (SNP[0], "vtpm_azure_tdx"),
    ] {
        let mut evidence = azure(name);
        let policy = policy(&evidence, "");
        let (own, foreign) = (part(&evidence), part(&azure(other)));
        evidence.vtpm = azure(other).vtpm;
        let verdict = verify(&evidence, &policy);
        assert_eq!(
            failed(&verdict),
            [CheckId::RuntimeData, CheckId::Pcrs, CheckId::ReportData],
            "{verdict}"
        );
        // Its own runtime data under the other's quote.
        let mut mixed = own;
        (mixed.quote, mixed.signature) = (foreign.quote, foreign.signature);
        evidence.vtpm = Some(mixed.encode().unwrap());
        let failures = failed(&verify(&evidence, &policy));
        assert_eq!(failures, [CheckId::VtpmQuote, CheckId::ReportData]);
    }
}

#[test]
fn an_altered_byte_anywhere_in_what_a_tpm_gave_is_refused() {
    let evidence = azure(SNP[0]);
    let policy = policy(&evidence, "");
    let original = part(&evidence);
    let altered = |change: &dyn Fn(&mut Vtpm)| {
        let mut vtpm = original.clone();
        change(&mut vtpm);
        let evidence = Evidence {
            vtpm: Some(vtpm.encode().unwrap()),
            ..evidence.clone()
        };
        failed(&verify(&evidence, &policy))
    };
    for at in (0..original.runtime_data.0.len()).step_by(31) {
        let failures = altered(&|vtpm| vtpm.runtime_data.0[at] ^= 1);
        assert!(failures.contains(&CheckId::RuntimeData), "{at}");
    }
    for at in (0..original.quote.0.len()).step_by(3) {
        let failures = altered(&|vtpm| vtpm.quote.0[at] ^= 0x80);
        assert!(failures.contains(&CheckId::VtpmQuote), "{at}");
    }
    for at in (0..original.signature.0.len()).step_by(31) {
        let failures = altered(&|vtpm| vtpm.signature.0[at] ^= 2);
        assert!(failures.contains(&CheckId::VtpmQuote), "{at}");
    }
    for at in 0..PCRS {
        let failures = altered(&|vtpm| vtpm.pcrs[at].0[at] ^= 4);
        assert!(failures.contains(&CheckId::VtpmQuote), "{at}");
        assert!(failures.contains(&CheckId::Pcrs), "{at}");
    }
}

#[test]
fn a_report_under_debug_or_of_the_guests_own_level_is_refused() {
    // Offsets of AMD's table: the guest policy, whose bit 19 is DEBUG, and the VMPL.
    for (offset, value, guard) in [
        (8 + 2, 0x0b, CheckId::GuestProtection),
        (0x30, 2, CheckId::Vmpl),
    ] {
        let mut evidence = azure(SNP[0]);
        if let RawQuote::SevSnp { report, .. } = &mut evidence.quote {
            report[offset] = value;
        }
        // A level that is accepted without a TPM is not with one.
        let verdict = verify(&evidence, &policy(&evidence, "vmpl = 2"));
        let failures = failed(&verdict);
        assert!(failures.contains(&guard), "{verdict}");
        assert!(failures.contains(&CheckId::QuoteSignature), "{verdict}");
    }
}

#[test]
fn a_boot_log_of_google_leads_to_the_pcrs_that_its_tpm_quoted() {
    let recorded = json("vtpm_google");
    let log = bytes(&recorded["event_log"]);
    let key = RsaKey {
        n: bytes(&recorded["n"]),
        e: vec![1, 0, 1],
    };
    let made = super::made::Made::new();
    let runtime_data = key.runtime_data();
    let vtpm = Vtpm::new(
        runtime_data.clone(),
        bytes(&recorded["quote"]),
        bytes(&recorded["signature"]),
        pcrs(&recorded),
    );
    let events: Vec<String> = PcrLog::parse_pcrs(&log)
        .unwrap()
        .events()
        .iter()
        .filter_map(|event| {
            let digest = encode(event.digest);
            let (pcr, kind) = (event.register?, event.type_name());
            Some(format!(
                "{{ pcr = {pcr}, type = \"{kind}\", digest = \"{digest}\" }}"
            ))
        })
        .collect();
    assert!(events.len() > 40);
    let policy = super::made::policy_of(&format!(
        "[[vtpm.reference]]\nname = \"cos\"\nevents = [{}]\n",
        events.join(", ")
    ));
    // The machine had no hardware that vouches for its TPM: a simulator does it here.
    let evidence = Evidence {
        vtpm: Some(vtpm.encode().unwrap()),
        boot_log: Some(log),
        ima: None,
        ..super::made::Made {
            hardware: report_data(&runtime_data),
            ..made
        }
        .evidence()
    };
    let verdict = super::made::verify(&evidence, &policy);
    assert_eq!(failed(&verdict), [CheckId::ReportData], "{verdict}");
    assert_eq!(status(&verdict, CheckId::BootLog), Some(Status::Pass));
}
