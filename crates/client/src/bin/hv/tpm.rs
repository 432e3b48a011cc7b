//! What a guest booted and measured, by its TPM.

use hypervisor_client::attest::boot_log::PcrLog;
use hypervisor_client::attest::ima::{FileList, REGISTER};
use hypervisor_client::attest::vtpm::attestation_key;
use hypervisor_client::attest::{Evidence, Vtpm, fingerprint};
use hypervisor_client::protocol::HexArray;

use crate::boot;

/// Registers that a boot fills and that stay: PCR10 goes on with each file, and the last ones can be reset.
const OF_A_BOOT: [usize; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];

fn part(evidence: &Evidence) -> Option<Vtpm> {
    Vtpm::decode(evidence.vtpm.as_ref()?).ok()
}

/// The log, if it can be read.
fn log(evidence: &Evidence) -> Option<PcrLog> {
    PcrLog::parse_pcrs(evidence.boot_log.as_ref()?).ok()
}

/// A line for each PCR, each event and each file that a PCR of the quote proves; nothing where there is no TPM.
pub(crate) fn lines(evidence: &Evidence) -> Option<Vec<String>> {
    let vtpm = part(evidence)?;
    let log = log(evidence);
    let replayed = log.as_ref().map(PcrLog::pcrs);
    let mut lines = Vec::new();
    for (register, value) in vtpm.pcrs.iter().enumerate() {
        lines.push(format!("tpm   PCR{register}  {value}"));
        let of_log = replayed.as_ref().and_then(|it| it.get(register));
        let events = log.iter().flat_map(|log| log.of(register));
        if of_log == Some(&value.0) {
            lines.extend(events.map(|it| format!("tpm   PCR{register}  {}", boot::line(it))));
        } else if events.count() > 0 {
            lines.push(format!(
                "tpm   PCR{register}: the log does not lead to this register, so its events are not shown"
            ));
        }
    }
    let files = evidence.ima.as_deref().map(FileList::parse);
    let pcr = vtpm.pcrs.get(REGISTER);
    match (files, pcr) {
        (None, _) | (_, None) => {}
        (Some(Err(error)), _) => lines.push(format!("file  {error}")),
        (Some(Ok(list)), Some(pcr)) => match list.until(&pcr.0) {
            // Names are the guest's, and may hold anything.
            Some(files) => lines.extend(files.iter().map(|file| {
                let (digest, path) = (file.digest.escape_debug(), file.path.escape_debug());
                format!("file  {digest}  {path}")
            })),
            None => lines.push(format!(
                "file  the list of measured files does not lead to PCR{REGISTER}, so they are not shown"
            )),
        },
    }
    lines.push(
        "tpm   the registers prove the digests; text after `?` is the log's own word".to_owned(),
    );
    Some(lines)
}

/// `[[vtpm.reference]]`; nothing where there is no TPM.
pub(crate) fn policy(evidence: &Evidence) -> String {
    let Some(vtpm) = part(evidence) else {
        return String::new();
    };
    let mut text = "\n[vtpm]\n".to_owned();
    let key = attestation_key(&vtpm.runtime_data.0).ok();
    if let Some(digest) = key.and_then(|key| fingerprint(&key)) {
        text.push_str(&format!(
            "# This TPM's key. Where the image above is a paravisor that runs the TPM (Azure), `paravisor = true` in its place accepts every guest of it.\nkeys = [\"{}\"]\n",
            HexArray(digest)
        ));
    }
    text.push_str("\n[[vtpm.reference]]\nname = \"first use\"\n# PCR10, which goes on with each file that is measured, and PCR16 to PCR23 are left out. Leave out others that differ from boot to boot.\npcrs = [\n");
    let named = || {
        OF_A_BOOT
            .iter()
            .filter_map(|pcr| Some((pcr, vtpm.pcrs.get(*pcr)?)))
    };
    for (pcr, value) in named() {
        text.push_str(&format!("    {{ pcr = {pcr}, value = \"{value}\" }},\n"));
    }
    text.push_str("]\n");
    let Some(log) = log(evidence) else {
        return text;
    };
    text.push_str("# What went into them, so that a refusal can name the event that differs. Leave a register out above, and its events decide.\nevents = [\n");
    let replayed = log.pcrs();
    for (pcr, _) in named().filter(|(pcr, value)| replayed.get(**pcr) == Some(&value.0)) {
        for event in log.of(*pcr) {
            text.push_str(&boot::event("pcr", *pcr, event));
        }
    }
    text.push_str("]\n");
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use hypervisor_client::attest::vtpm::RsaKey;
    use hypervisor_client::attest::{
        Backend, Binding, CheckId, Expected, ExpectedSubject, LogHead, Policy, RawQuote, Status,
        Subject, verify,
    };
    use hypervisor_client::protocol::PrivateKey;
    use serde_json::Value;

    use super::*;

    fn hex(value: &Value) -> Vec<u8> {
        const_hex::decode(value.as_str().unwrap()).unwrap()
    }

    /// A TPM of Google's, with its log; the hardware's quote is another machine's.
    fn evidence() -> Evidence {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../verify/vectors/real");
        let recorded = std::fs::read(format!("{folder}/vtpm_google.json")).unwrap();
        let recorded: Value = serde_json::from_slice(&recorded).unwrap();
        let pcrs = recorded["pcrs"].as_array().unwrap().iter();
        let pcrs: Vec<[u8; 32]> = pcrs.map(|it| hex(it).try_into().unwrap()).collect();
        let key = RsaKey {
            n: hex(&recorded["n"]),
            e: vec![1, 0, 1],
        };
        let vtpm = Vtpm::new(
            key.runtime_data(),
            hex(&recorded["quote"]),
            hex(&recorded["signature"]),
            pcrs.try_into().unwrap(),
        );
        let identity = PrivateKey::generate().public_key().clone();
        let binding = Binding {
            subject: Subject::Identity,
            nonce: None,
            identity_public_key: identity,
            tls_key: None,
            manifest_digest: [0; 48],
            log: LogHead {
                head: [0; 48],
                count: 0,
            },
            register_bound: false,
            backend: Backend::Tdx,
            boot_id: [0; 16],
        };
        let quote = std::fs::read(format!("{folder}/boot_ubuntu_quote")).unwrap();
        let mut evidence = Evidence::new(RawQuote::Tdx(quote), &binding);
        evidence.vtpm = Some(vtpm.encode().unwrap());
        evidence.boot_log = Some(hex(&recorded["event_log"]));
        evidence
    }

    #[test]
    fn a_policy_of_first_use_names_the_key_the_registers_and_their_events() {
        let evidence = evidence();
        let text = format!(
            "version = 1\nroots.vendors = [\"intel\"]\n{}",
            policy(&evidence)
        );
        let policy = Policy::parse(&text).unwrap();
        let expected = Expected::new(ExpectedSubject::Identity, None);
        let verdict = verify(&evidence, &policy, &expected, 1_780_000_000);
        for id in [
            CheckId::VtpmKey,
            CheckId::VtpmQuote,
            CheckId::Pcrs,
            CheckId::BootLog,
        ] {
            assert_eq!(verdict.check(id).unwrap().status, Status::Pass, "{verdict}");
        }
    }

    #[test]
    fn registers_are_shown_with_the_events_that_lead_to_them() {
        let lines = lines(&evidence()).unwrap();
        let registers = lines.iter().filter(|line| line.starts_with("tpm   PCR"));
        assert!(registers.count() > 24 + 40);
        let shown = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(shown("PCR4  EV_EFI_BOOT_SERVICES_APPLICATION"));
        assert!(!shown("does not lead"));
        let without = Evidence {
            vtpm: None,
            ..evidence()
        };
        assert_eq!(super::lines(&without), None);
    }
}
