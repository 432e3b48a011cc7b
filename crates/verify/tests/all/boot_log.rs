//! Boot logs of real machines with the quotes that they belong to, and images that a policy knows by the events of their boot.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use const_hex::encode;
use hypervisor_verify::boot_log::BootLog;
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::{CheckId, Evidence, Policy, RawQuote, Status, Verdict};
use proptest::prelude::*;

use crate::support::{advice, binding, expected_session, status};

fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/real/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

/// A quote without what follows it in its buffer.
fn quote(name: &str) -> Vec<u8> {
    let mut quote = file(name);
    quote.truncate(TdxQuote::parse(&quote).unwrap().length);
    quote
}

/// A log in the form of the firmware's, of events with a digest and nothing else.
fn log_of(events: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
    // The head of a real one, up to its first event.
    let mut log = file("boot_ubuntu_ccel")[..65].to_vec();
    for (index, kind, digest) in events {
        for number in [*index, *kind, 1] {
            log.extend(number.to_le_bytes());
        }
        log.extend(12_u16.to_le_bytes());
        log.extend(digest);
        log.extend(0_u32.to_le_bytes());
    }
    log
}

/// A boot that was recorded as a list of digests, and its quote.
fn dstack() -> (Vec<u8>, Vec<u8>) {
    let recorded: serde_json::Value = serde_json::from_slice(&file("boot_dstack.json")).unwrap();
    let number = |value: &serde_json::Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let bytes = |value: &serde_json::Value| const_hex::decode(value.as_str().unwrap()).unwrap();
    let events = recorded["events"].as_array().unwrap().iter();
    let events: Vec<_> = events
        .map(|event| {
            let register = number(&event["imr"]);
            (
                register + 1,
                number(&event["event_type"]),
                bytes(&event["digest"]),
            )
        })
        .collect();
    (log_of(&events), bytes(&recorded["quote"]))
}

#[test]
fn the_boot_logs_of_three_real_machines_lead_to_the_registers_of_their_quotes() {
    for (log, quote, events) in [
        (file("boot_cos_ccel"), quote("boot_cos_quote"), 43),
        (file("boot_ubuntu_ccel"), quote("boot_ubuntu_quote"), 20),
        (dstack().0, dstack().1, 20),
    ] {
        let log = BootLog::parse(&log).unwrap();
        let quoted = TdxQuote::parse(&quote).unwrap().report.rtmr;
        assert_eq!(log.registers()[..3], quoted[..3]);
        assert_eq!(log.events().len(), events);
    }
}

#[test]
fn events_say_what_they_are_and_whether_that_is_proved() {
    let log = BootLog::parse(&file("boot_cos_ccel")).unwrap();
    let said: Vec<(String, String, bool)> = log
        .events()
        .iter()
        .map(|event| {
            (
                event.type_name().into_owned(),
                event.words(),
                event.is_bound(),
            )
        })
        .collect();
    for (kind, words, bound) in [
        ("EV_EFI_VARIABLE_DRIVER_CONFIG", "SecureBoot", true),
        ("EV_EFI_ACTION", "Exit Boot Services Invocation", true),
        // The digest is of the program, and the path beside it is the log's word.
        (
            "EV_EFI_BOOT_SERVICES_APPLICATION",
            "\\EFI\\BOOT\\grub-lakitu.efi",
            false,
        ),
        ("EV_IPL", "grub_cmd: set default=2", false),
        ("EV_EFI_VARIABLE_AUTHORITY", "SbatLevel", true),
    ] {
        let event = (kind.to_owned(), words.to_owned(), bound);
        assert!(said.contains(&event), "{event:?} is not in {said:#?}");
    }
}

/// Evidence with the quote and the boot log; what else a host sends is not looked at here.
fn evidence(quote: &str, log: Option<&str>) -> Evidence {
    Evidence {
        boot_log: log.map(file),
        ..Evidence::new(RawQuote::Tdx(self::quote(quote)), &binding())
    }
}

/// A policy for the image of a quote that pins these registers, with these events.
fn policy(quote: &str, pinned: &[usize], events: &str) -> Policy {
    let report = self::quote(quote);
    let report = TdxQuote::parse(&report).unwrap().report;
    let registers: String = pinned
        .iter()
        .map(|index| format!("rtmr{index} = \"{}\"\n", encode(report.rtmr[*index])))
        .collect();
    let text = format!(
        "version = 1\nroots.vendors = [\"intel\"]\n[[tdx.reference]]\nname = \"the image\"\nmrtd = \"{}\"\n{registers}xfam = \"{}\"\ntd_attributes = \"{}\"\n\
         mrconfigid = \"{}\"\nmrowner = \"{}\"\nmrownerconfig = \"{}\"\nevents = [{events}]\n",
        encode(report.mrtd),
        encode(report.xfam),
        encode(report.td_attributes),
        encode(report.mrconfigid),
        encode(report.mrowner),
        encode(report.mrownerconfig),
    );
    Policy::parse(&text).unwrap()
}

/// The events of a log as a policy names them.
fn events(log: &str) -> Vec<String> {
    let log = BootLog::parse(&file(log)).unwrap();
    let events = log.events().iter();
    events
        .map(|event| {
            format!(
                "{{ rtmr = {}, type = \"{}\", digest = \"{}\" }}",
                event.register.unwrap(),
                event.type_name(),
                encode(event.digest)
            )
        })
        .collect()
}

fn verify(evidence: &Evidence, policy: &Policy) -> Verdict {
    hypervisor_verify::verify(evidence, policy, &expected_session(), 1_780_000_000)
}

/// How image and boot log come out.
fn judged(verdict: &Verdict) -> [Option<Status>; 2] {
    [CheckId::Measurements, CheckId::BootLog].map(|id| status(verdict, id))
}

const PASS: Option<Status> = Some(Status::Pass);
const FAIL: Option<Status> = Some(Status::Fail);
const SKIP: Option<Status> = Some(Status::SkippedByPolicy);

#[test]
fn an_image_is_known_by_its_registers_by_its_events_or_by_some_of_each() {
    for name in ["boot_cos", "boot_ubuntu"] {
        let (quote, log) = (format!("{name}_quote"), format!("{name}_ccel"));
        let evidence = evidence(&quote, Some(&log));
        let named = events(&log).join(", ");
        for (pinned, events) in [(&[0, 1, 2][..], ""), (&[], &named), (&[0, 2], &named)] {
            let verdict = verify(&evidence, &policy(&quote, pinned, events));
            assert_eq!(judged(&verdict), [PASS; 2], "{verdict}");
        }
    }
}

#[test]
fn without_a_boot_log_registers_still_count_and_events_do_not_match() {
    let evidence = evidence("boot_cos_quote", None);
    let verdict = verify(&evidence, &policy("boot_cos_quote", &[0, 1, 2], ""));
    assert_eq!(judged(&verdict), [PASS, Some(Status::NotApplicable)]);
    let named = events("boot_cos_ccel").join(", ");
    let verdict = verify(&evidence, &policy("boot_cos_quote", &[0, 1], &named));
    assert_eq!(judged(&verdict), [FAIL; 2], "{verdict}");
    assert!(advice(&verdict, CheckId::BootLog).contains("no boot log"));
}

#[test]
fn the_log_of_another_boot_explains_only_the_registers_that_it_leads_to() {
    // The same machine and kernel with another initial file system.
    let evidence = evidence("boot_ubuntu_quote", Some("boot_ubuntu_other_ccel"));
    let verdict = verify(&evidence, &policy("boot_ubuntu_quote", &[0, 1, 2], ""));
    assert_eq!(judged(&verdict), [PASS, SKIP], "{verdict}");
    let named = events("boot_ubuntu_other_ccel").join(", ");
    let verdict = verify(&evidence, &policy("boot_ubuntu_quote", &[2], &named));
    assert_eq!(judged(&verdict), [PASS, SKIP], "{verdict}");
    let verdict = verify(&evidence, &policy("boot_ubuntu_quote", &[0, 1], &named));
    assert_eq!(judged(&verdict), [FAIL; 2], "{verdict}");
    let reason = advice(&verdict, CheckId::BootLog);
    assert!(reason.contains("does not lead to RTMR2"), "{reason}");
}

#[test]
fn a_refusal_names_the_event_that_differs() {
    let image = "boot_ubuntu_quote";
    let evidence = evidence(image, Some("boot_ubuntu_ccel"));
    let refused = |named: &[String], pinned: &[usize]| {
        let verdict = verify(&evidence, &policy(image, pinned, &named.join(", ")));
        assert_eq!(status(&verdict, CheckId::BootLog), FAIL, "{verdict}");
        advice(&verdict, CheckId::BootLog)
    };
    // Another initial file system.
    let other = events("boot_ubuntu_other_ccel");
    for pinned in [&[0, 1][..], &[]] {
        let reason = refused(&other, pinned);
        assert!(
            reason.starts_with("event 2 of RTMR2 is EV_EVENT_TAG b88ab090"),
            "{reason}"
        );
        assert!(reason.contains("(`Linux initrd`)"), "{reason}");
        assert!(
            reason.contains("of `the image` it is EV_EVENT_TAG "),
            "{reason}"
        );
    }
    let mut fewer = events("boot_ubuntu_ccel");
    let last = fewer.pop().unwrap();
    let reason = refused(&fewer, &[0, 2]);
    assert!(
        reason.contains("is one that `the image` has not"),
        "{reason}"
    );
    let more = [fewer, vec![last.clone(), last]].concat();
    let reason = refused(&more, &[0, 2]);
    assert!(
        reason.starts_with("event 6 of RTMR1 is missing"),
        "{reason}"
    );
}

#[test]
fn an_event_that_may_be_any_is_a_relaxation_that_shows() {
    let mut named = events("boot_cos_ccel");
    let at = named
        .iter()
        .position(|event| event.contains("HANDOFF"))
        .unwrap();
    named[at] = "{ rtmr = 0, type = \"EV_EFI_HANDOFF_TABLES2\", any = true }".to_owned();
    let evidence = evidence("boot_cos_quote", Some("boot_cos_ccel"));
    let verdict = verify(&evidence, &policy("boot_cos_quote", &[], &named.join(", ")));
    assert_eq!(judged(&verdict), [PASS, SKIP], "{verdict}");
    named[at] = "{ rtmr = 0, type = \"EV_EFI_ACTION\", any = true }".to_owned();
    let verdict = verify(&evidence, &policy("boot_cos_quote", &[], &named.join(", ")));
    assert_eq!(judged(&verdict), [FAIL; 2], "{verdict}");
}

#[test]
fn a_policy_must_say_what_each_register_holds() {
    let refusal = |events: &str, registers: &str| {
        let zeros = "00".repeat(48);
        let text = format!(
            "version = 1\nroots.vendors = [\"intel\"]\n[[tdx.reference]]\nname = \"x\"\nmrtd = \"{zeros}\"\nxfam = \"0000000000000000\"\ntd_attributes = \"0000000000000000\"\n{registers}events = [{events}]\n"
        );
        Policy::parse(&text).unwrap_err().to_string()
    };
    let zeros = "00".repeat(48);
    let all = format!("rtmr0 = \"{zeros}\"\nrtmr1 = \"{zeros}\"\nrtmr2 = \"{zeros}\"\n");
    assert!(refusal("", "").contains("says nothing of RTMR0"));
    let event = "{ rtmr = 0, type = \"EV_SEPARATOR\", any = true }";
    assert!(refusal(event, "").contains("says nothing of RTMR1"));
    for (event, wanted) in [
        (
            "{ rtmr = 3, type = \"EV_SEPARATOR\", any = true }",
            "0, 1 and 2",
        ),
        (
            "{ rtmr = 0, type = \"EV_SEPERATOR\", any = true }",
            "did you mean `EV_SEPARATOR`",
        ),
        (
            "{ rtmr = 0, type = \"EV_SEPARATOR\" }",
            "either `digest` or `any = true`",
        ),
        (
            "{ rtmr = 0, type = \"EV_SEPARATOR\", dgst = \"00\" }",
            "unknown key",
        ),
    ] {
        let reason = refusal(event, &all);
        assert!(reason.contains(wanted), "{reason}");
    }
}

#[test]
fn a_log_that_can_not_be_read_is_said_to_be_so() {
    let log = file("boot_ubuntu_ccel");
    let refusal = |log: &[u8]| BootLog::parse(log).unwrap_err().to_string();
    assert!(refusal(b"").contains("cut off"));
    assert!(refusal(&[0; 64]).contains("Spec ID Event03"));
    assert!(refusal(&log[..log.len() - 100]).contains("event 20: cut off"));
    assert!(refusal(&[&log[..], &[7]].concat()).contains("event 21"));
    assert!(refusal(&vec![0; (256 << 10) + 1]).contains("over"));
    let sha256 = [
        &log[..65],
        &[1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    assert!(refusal(&sha256).contains("no SHA-384 digest"));
    let mut bad = evidence("boot_ubuntu_quote", None);
    bad.boot_log = Some(b"no log".to_vec());
    let verdict = verify(&bad, &policy("boot_ubuntu_quote", &[0, 1, 2], ""));
    assert_eq!(judged(&verdict), [PASS, SKIP], "{verdict}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(at in 0..2184_usize, with in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut log = file("boot_ubuntu_ccel");
        let end = (at + with.len()).min(log.len());
        log.splice(at..end, with.iter().copied());
        if let Ok(read) = BootLog::parse(&log) {
            for event in read.events() {
                let _ = (event.words(), event.is_bound());
            }
        }
        let _ = BootLog::parse(&with);
    }
}
