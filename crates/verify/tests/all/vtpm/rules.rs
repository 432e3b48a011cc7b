//! `[vtpm]` of a policy.

use super::made::*;
use crate::support::{advice, failed, status};
use const_hex::encode;
use hypervisor_verify::{CheckId, Policy, Status};
use rsa::pkcs8::EncodePublicKey;

fn refusal(reference: &str) -> String {
    let text = format!(
        "version = 1\nroots.vendors = [\"intel\"]\n[[vtpm.reference]]\nname = \"it\"\n{reference}\n"
    );
    Policy::parse(&text).unwrap_err().to_string()
}

#[test]
fn a_reference_that_can_not_be_meant_is_refused() {
    let zero = "00".repeat(32);
    for (reference, said) in [
        (String::new(), "says nothing of PCR4"),
        (
            format!("pcrs = [{{ pcr = 7, value = \"{zero}\" }}]"),
            "says nothing of PCR4",
        ),
        (
            format!("pcrs = [{{ pcr = 24, value = \"{zero}\" }}]"),
            "PCR24",
        ),
        (
            format!(
                "pcrs = [{{ pcr = 4, value = \"{zero}\" }}, {{ pcr = 4, value = \"{zero}\" }}]"
            ),
            "twice",
        ),
        (
            "events = [{ pcr = 4, type = \"EV_SEPARATOR\" }]".to_owned(),
            "needs either",
        ),
        (
            "events = [{ pcr = 4, type = \"EV_SEPERATOR\", any = true }]".to_owned(),
            "EV_SEPARATOR",
        ),
        (
            format!("pcrs = [{{ pcr = 4, valeu = \"{zero}\" }}]"),
            "did you mean",
        ),
    ] {
        let refused = refusal(&reference);
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn pcrs_by_value_need_no_log() {
    let made = Made {
        boot_log: None,
        ima: None,
        ..Made::new()
    };
    let of = |pcr4: [u8; 32]| {
        policy_of(&format!(
            "[[vtpm.reference]]\nname = \"it\"\npcrs = [{{ pcr = 4, value = \"{}\" }}]\n",
            encode(pcr4)
        ))
    };
    let verdict = verify(&made.evidence(), &of(made.pcrs[4]));
    assert!(verdict.passed(), "{verdict}");
    let verdict = verify(&made.evidence(), &of([1; 32]));
    assert_eq!(failed(&verdict), [CheckId::Pcrs]);
    assert!(advice(&verdict, CheckId::Pcrs).contains("differs in pcr4"));
}

#[test]
fn any_event_of_a_type_is_reported_as_not_looked_at() {
    let events = events().replacen(
        &format!("digest = \"{}\"", encode(sha256(EVENTS[2].2))),
        "any = true",
        1,
    );
    let policy = policy_of(&format!("[[vtpm.reference]]\nname = \"it\"\n{events}"));
    let verdict = verify(&Made::new().evidence(), &policy);
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(
        status(&verdict, CheckId::BootLog),
        Some(Status::SkippedByPolicy)
    );
}

#[test]
fn without_a_reference_evidence_through_a_tpm_is_refused() {
    let verdict = verify(&Made::new().evidence(), &policy_of(""));
    assert_eq!(failed(&verdict), [CheckId::Pcrs]);
    assert!(advice(&verdict, CheckId::Pcrs).contains("[[vtpm.reference]]"));
}

#[test]
fn only_named_keys_pass_where_the_policy_names_some() {
    let der = key("tpm_key").to_public_key().to_public_key_der().unwrap();
    for (name, passes) in [(sha256(der.as_bytes()), true), ([0; 32], false)] {
        let vtpm = format!(
            "[vtpm]\nkeys = [\"{}\"]\n[[vtpm.reference]]\nname = \"it\"\n{}",
            encode(name),
            events()
        );
        let verdict = verify(&Made::new().evidence(), &policy_of(&vtpm));
        assert_eq!(verdict.passed(), passes, "{verdict}");
        if !passes {
            assert_eq!(failed(&verdict), [CheckId::VtpmKey]);
        }
    }
}

#[test]
fn a_guest_that_names_its_tpm_itself_is_refused_where_the_policy_names_no_key() {
    let vtpm = format!("[vtpm]\n[[vtpm.reference]]\nname = \"it\"\n{}", events());
    let verdict = verify(&Made::new().evidence(), &policy_of(&vtpm));
    assert_eq!(failed(&verdict), [CheckId::VtpmKey]);
    assert!(advice(&verdict, CheckId::VtpmKey).contains("`vtpm.paravisor = true`"));
}
