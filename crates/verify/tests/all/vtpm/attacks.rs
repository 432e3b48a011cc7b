//! What an operator, or a guest that is not the one it says, could try.

use super::made::*;
use crate::support::{advice, expected_session, failed, nonce, status};
use hypervisor_verify::vtpm::{Vtpm, report_data};
use hypervisor_verify::{Binding, CheckId, Evidence, Status};

#[test]
fn a_key_that_the_hardware_does_not_name_is_refused() {
    let other = key("tpm_key_other");
    let made = Made {
        runtime_data: public(&other).runtime_data(),
        signer: other,
        ..Made::new()
    };
    assert_eq!(made.failed(), [CheckId::RuntimeData], "{}", made.verdict());
    assert!(advice(&made.verdict(), CheckId::RuntimeData).contains("does not vouch for this TPM"));
}

#[test]
fn a_quote_of_another_tpm_is_refused() {
    let made = Made {
        signer: key("tpm_key_other"),
        ..Made::new()
    };
    assert_eq!(made.failed(), [CheckId::VtpmQuote, CheckId::ReportData]);
}

#[test]
fn runtime_data_of_another_machine_is_refused() {
    let mut made = Made::new();
    // The same key in other bytes: what the hardware hashed is one document.
    made.runtime_data.push(b' ');
    assert_eq!(made.failed(), [CheckId::RuntimeData]);
}

#[test]
fn the_hash_of_runtime_data_counts_with_all_64_bytes_of_the_report() {
    let mut made = Made::new();
    made.hardware[63] = 1;
    assert_eq!(made.failed(), [CheckId::RuntimeData]);
}

#[test]
fn runtime_data_with_two_attestation_keys_or_none_is_refused() {
    let one = String::from_utf8(Made::new().runtime_data).unwrap();
    let twice = one.replacen(
        "[{",
        "[{\"kid\":\"HCLAkPub\",\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"AQ\"},{",
        1,
    );
    let keys_twice = one.replacen('{', "{\"keys\":[],", 1);
    for runtime_data in [
        twice,
        keys_twice,
        one.replace("HCLAkPub", "HCLEkPub"),
        one.replace("RSA", "EC"),
        "{}".to_owned(),
        "[".to_owned(),
    ] {
        let runtime_data = runtime_data.into_bytes();
        let made = Made {
            hardware: report_data(&runtime_data),
            runtime_data,
            ..Made::new()
        };
        assert!(made.failed().contains(&CheckId::RuntimeData));
        assert!(made.failed().contains(&CheckId::VtpmQuote));
    }
}

#[test]
fn a_short_key_is_refused() {
    let short = hypervisor_verify::vtpm::RsaKey {
        n: vec![0xff; 128],
        e: vec![1, 0, 1],
    };
    let runtime_data = short.runtime_data();
    let made = Made {
        hardware: report_data(&runtime_data),
        runtime_data,
        ..Made::new()
    };
    assert!(advice(&made.verdict(), CheckId::RuntimeData).contains("too short"));
}

#[test]
fn a_selection_of_other_pcrs_or_banks_is_refused() {
    let none = [0, 0, 0, 0];
    let without_pcr0 = [0, 0, 0, 1, 0, 0x0b, 3, 0xfe, 0xff, 0xff];
    let sha1 = [0, 0, 0, 1, 0, 0x04, 3, 0xff, 0xff, 0xff];
    let four_bytes = [0, 0, 0, 1, 0, 0x0b, 4, 0xff, 0xff, 0xff, 0];
    let two = [&[0, 0, 0, 2][..], &sha1[4..], &ALL[4..]].concat();
    for selection in [&none[..], &without_pcr0, &sha1, &four_bytes, &two] {
        let made = Made {
            selection: selection.to_vec(),
            ..Made::new()
        };
        assert_eq!(made.failed(), [CheckId::VtpmQuote, CheckId::ReportData]);
    }
}

#[test]
fn pcrs_in_another_order_or_with_another_value_are_refused() {
    let mut swapped = Made::new();
    swapped.pcrs.swap(4, 7);
    assert!(swapped.failed().contains(&CheckId::VtpmQuote));
    let mut altered = Made::new();
    altered.pcrs[23][0] = 1;
    assert_eq!(altered.failed(), [CheckId::VtpmQuote, CheckId::ReportData]);
    let mut vtpm = Made::new().vtpm();
    vtpm.pcrs.pop();
    assert!(Vtpm::decode(&vtpm.encode().unwrap()).is_err());
}

#[test]
fn what_a_tpm_did_not_make_or_made_for_something_else_is_refused() {
    let mut made = Made::new();
    made.magic = 0;
    assert!(advice(&made.verdict(), CheckId::VtpmQuote).contains("no TPM made it"));
    let mut certified = Made::new();
    certified.kind = 0x8017;
    assert!(advice(&certified.verdict(), CheckId::VtpmQuote).contains("something else than PCRs"));
    let mut longer = Made::new();
    longer.after = vec![0];
    assert!(advice(&longer.verdict(), CheckId::VtpmQuote).contains("follow"));
}

#[test]
fn report_data_that_was_cut_filled_up_or_is_of_another_binding_is_refused() {
    let whole = Made::new().extra_data;
    let other = Binding {
        nonce: Some(nonce(8)),
        ..binding()
    };
    for extra_data in [
        whole[..32].to_vec(),
        whole[..63].to_vec(),
        [&whole[..], &[0]].concat(),
        Vec::new(),
        other.report_data().as_bytes().to_vec(),
    ] {
        let made = Made {
            extra_data,
            ..Made::new()
        };
        assert_eq!(made.failed(), [CheckId::ReportData]);
    }
}

#[test]
fn a_quote_for_another_verifiers_nonce_is_refused() {
    let mut expected = expected_session();
    if let Some(challenge) = &mut expected.challenge {
        challenge.nonce = nonce(9);
    }
    let evidence = Made::new().evidence();
    let verdict = hypervisor_verify::verify(&evidence, &policy(""), &expected, crate::support::NOW);
    assert_eq!(failed(&verdict), [CheckId::Nonce]);
}

#[test]
fn a_log_that_does_not_lead_to_the_pcrs_proves_no_events() {
    let mut events = EVENTS;
    events[0].2 = b"another kernel";
    for log in [boot_log(&events), boot_log(&EVENTS[1..]), boot_log(&[])] {
        let made = Made {
            boot_log: Some(log),
            ..Made::new()
        };
        assert_eq!(made.failed(), [CheckId::Pcrs, CheckId::BootLog]);
        assert!(advice(&made.verdict(), CheckId::BootLog).contains("does not lead to PCR4"));
    }
    let made = Made {
        boot_log: None,
        ..Made::new()
    };
    assert_eq!(made.failed(), [CheckId::Pcrs, CheckId::BootLog]);
}

#[test]
fn another_boot_is_refused_by_the_first_event_that_differs() {
    let mut events = EVENTS;
    events[0].2 = b"another kernel";
    let mut made = Made::new();
    made.boot_log = Some(boot_log(&events));
    made.pcrs[4] = extend(extend([0; 32], sha256(b"another kernel")), sha256(&[0; 4]));
    made.quoted_pcrs = made.pcrs;
    assert_eq!(made.failed(), [CheckId::Pcrs, CheckId::BootLog]);
    let reason = advice(&made.verdict(), CheckId::BootLog);
    assert!(reason.starts_with("event 1 of PCR4 is "), "{reason}");
    assert!(reason.contains("another kernel"), "{reason}");
}

#[test]
fn evidence_without_its_tpm_part_is_refused() {
    let evidence = Evidence {
        vtpm: None,
        ..Made::new().evidence()
    };
    let verdict = verify(&evidence, &policy(""));
    for id in [CheckId::VtpmQuote, CheckId::ReportData] {
        assert_eq!(status(&verdict, id), Some(Status::Fail), "{verdict}");
    }
}

#[test]
fn a_tpm_part_beside_a_quote_of_the_host_itself_is_refused() {
    let made = Made {
        hardware: *binding().report_data().as_bytes(),
        ..Made::new()
    };
    assert_eq!(made.failed(), [CheckId::RuntimeData]);
}

#[test]
fn every_altered_byte_is_refused() {
    let vtpm = Made::new().vtpm();
    let policy = policy("");
    let evidence = Made::new().evidence();
    let refused = |part: &str, offset: usize, altered: &Vtpm| {
        let evidence = Evidence {
            vtpm: Some(altered.encode().unwrap()),
            ..evidence.clone()
        };
        let verdict = verify(&evidence, &policy);
        assert!(!verdict.passed(), "{part} {offset}");
    };
    for offset in (0..vtpm.runtime_data.0.len()).step_by(9) {
        let mut altered = vtpm.clone();
        altered.runtime_data.0[offset] ^= 1 << (offset % 8);
        refused("runtime data", offset, &altered);
    }
    for offset in 0..vtpm.quote.0.len() {
        let mut altered = vtpm.clone();
        altered.quote.0[offset] ^= 1 << (offset % 8);
        refused("quote", offset, &altered);
    }
    for offset in (0..vtpm.signature.0.len()).step_by(9) {
        let mut altered = vtpm.clone();
        altered.signature.0[offset] ^= 1 << (offset % 8);
        refused("signature", offset, &altered);
    }
    for (offset, bit) in (0..vtpm.pcrs.len()).zip(0..) {
        let mut altered = vtpm.clone();
        altered.pcrs[offset].0[offset] ^= 1 << (bit % 8);
        refused("PCR", offset, &altered);
    }
}
