//! Checks of a TPM between the hardware and the host: its key is in the hardware's report, and its quote holds the report data and what was
//! booted.

mod boot;
mod files;

use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::EncodePublicKey;
use rsa::signature::Verifier;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};

use super::{Context, Facts};
use crate::policy::{VtpmReference, VtpmRules};
use crate::report_data::ReportData;
use crate::verdict::{CheckId, Recorder};
use crate::vtpm::{PCR, PCRS, RsaKey, TpmQuote, Vtpm, attestation_key, report_data};

use boot::Boot;

/// The shortest modulus of a key, bytes.
const MIN_MODULUS: usize = 256;

/// What needs a key to judge it by.
const OF_THE_KEY: [CheckId; 2] = [CheckId::VtpmKey, CheckId::VtpmQuote];

const NAMES: [&str; PCRS] = [
    "pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr5", "pcr6", "pcr7", "pcr8", "pcr9", "pcr10",
    "pcr11", "pcr12", "pcr13", "pcr14", "pcr15", "pcr16", "pcr17", "pcr18", "pcr19", "pcr20",
    "pcr21", "pcr22", "pcr23",
];

/// What the hardware's quote is about becomes what the TPM's is about, where the one vouches for the other.
pub(super) fn verify(
    context: &Context<'_>,
    facts: Option<Facts>,
    recorder: &mut Recorder,
) -> Option<Facts> {
    let rules = &context.policy.rules.vtpm;
    let Some(bytes) = &context.evidence.vtpm else {
        if !rules.reference.is_empty() {
            recorder.check(CheckId::VtpmQuote).fail(
                "the policy names what a TPM must show (`vtpm.reference`), and the evidence holds no TPM quote; use a policy that is not for hosts with a TPM, or do not rely on this host",
            );
        }
        return facts;
    };
    let vtpm = match Vtpm::decode(bytes) {
        Ok(vtpm) => vtpm,
        Err(error) => {
            recorder.check(CheckId::VtpmQuote).fail(format!(
                "{error}; ask the host for evidence again, and do not rely on this one"
            ));
            let others = [
                CheckId::RuntimeData,
                CheckId::VtpmKey,
                CheckId::Pcrs,
                CheckId::BootLog,
                CheckId::Files,
            ];
            recorder.blocked(CheckId::VtpmQuote, &others);
            return facts;
        }
    };
    let key = runtime_data(&vtpm, facts.as_ref(), recorder);
    let quoted = match key {
        Some(key) => {
            accepted(rules, &key, recorder);
            quote(&vtpm, key, recorder)
        }
        None => {
            recorder.blocked(CheckId::RuntimeData, &OF_THE_KEY);
            None
        }
    };
    let boot = Boot::of(context.evidence, &vtpm);
    let found = pcrs(rules, &vtpm, &boot, recorder);
    let (Ok(nearest) | Err(nearest)) = found.map(Some);
    boot.check(nearest, recorder);
    files::verify(context.evidence, &vtpm, nearest, recorder);
    // Where it is none, the hardware's stays, which is over no binding.
    facts.map(|facts| Facts {
        report_data: quoted.unwrap_or(facts.report_data),
        ..facts
    })
}

/// By what a policy names a TPM's key: SHA-256 of the public key in DER (SubjectPublicKeyInfo). None where it is no RSA key of at least
/// 2048 bits.
pub fn fingerprint(key: &RsaKey) -> Option<[u8; 32]> {
    digest(&rsa(key).ok()?)
}

fn digest(key: &RsaPublicKey) -> Option<[u8; 32]> {
    let document = key.to_public_key_der().ok()?;
    Some(Sha256::digest(document.as_bytes()).into())
}

fn rsa(key: &RsaKey) -> Result<RsaPublicKey, String> {
    if key.n.len() < MIN_MODULUS {
        return Err("the TPM's key is too short".to_owned());
    }
    let [n, e] = [&key.n, &key.e].map(|number| BigUint::from_bytes_be(number));
    RsaPublicKey::new(n, e).map_err(|error| format!("the TPM's key is no RSA key ({error})"))
}

/// The key that runtime data names, whether or not the hardware vouches for it.
fn runtime_data(
    vtpm: &Vtpm,
    facts: Option<&Facts>,
    recorder: &mut Recorder,
) -> Option<RsaPublicKey> {
    let key = attestation_key(&vtpm.runtime_data.0)
        .map_err(|error| error.to_string())
        .and_then(|key| rsa(&key));
    let expected = ReportData::from_bytes(report_data(&vtpm.runtime_data.0));
    match (facts, &key) {
        (None, _) => recorder.blocked(CheckId::QuoteForm, &[CheckId::RuntimeData]),
        (Some(_), Err(reason)) => recorder.check(CheckId::RuntimeData).fail(format!(
            "{reason}; ask the host for evidence again, and do not rely on this one"
        )),
        (Some(facts), Ok(_)) => {
            recorder
                .check(CheckId::RuntimeData)
                .input("quoted", facts.report_data)
                .input("recomputed", expected)
                .require(facts.report_data == expected, || {
                    "the hardware's report is not over this runtime data, so it does not vouch for this TPM: one of them is of another machine or was made up; do not rely on this host".to_owned()
                });
        }
    }
    key.ok()
}

fn accepted(rules: &VtpmRules, key: &RsaPublicKey, recorder: &mut Recorder) {
    let check = recorder.check(CheckId::VtpmKey);
    let Some(found) = digest(key) else {
        return check
            .fail("the TPM's key can not be written as a public key; do not rely on this host");
    };
    let check = check.hex("sha256", found);
    match &rules.keys {
        None if rules.paravisor => check.pass(),
        None => check.fail("the policy accepts no keys of TPMs; add this one to `vtpm.keys` if it is yours, or say `vtpm.paravisor = true` if the image that `[tdx]` or `[snp]` names is a paravisor that runs the TPM"),
        Some(keys) => {
            check.require(keys.iter().any(|key| key.0 == found), || {
                "the TPM is not one that the policy names; add its key to `vtpm.keys` if it is yours".to_owned()
            });
        }
    }
}

/// The report data that the TPM signed, where it did.
fn quote(vtpm: &Vtpm, key: RsaPublicKey, recorder: &mut Recorder) -> Option<ReportData> {
    let check = recorder.check(CheckId::VtpmQuote);
    let signed = Signature::try_from(vtpm.signature.0.as_slice()).is_ok_and(|signature| {
        VerifyingKey::<rsa::sha2::Sha256>::new(key)
            .verify(&vtpm.quote.0, &signature)
            .is_ok()
    });
    let quote = match TpmQuote::parse(&vtpm.quote.0) {
        Ok(quote) => quote,
        Err(error) => {
            check.fail(format!(
                "{error}; ask the host for evidence again, and do not rely on this one"
            ));
            return None;
        }
    };
    let check = check
        .hex("extra_data", quote.extra_data)
        .input("reset_count", quote.reset_count)
        .input("restart_count", quote.restart_count)
        .input(
            "firmware_version",
            format_args!("{:#x}", quote.firmware_version),
        );
    if !signed {
        check.fail("the TPM's key does not sign this quote: it is of another TPM, or was altered; ask the host for evidence again and do not rely on this one");
        return None;
    }
    if quote.pcr_digest != vtpm.pcr_digest() {
        check.fail("the PCRs that came along are not those that the TPM signed; ask the host for evidence again and do not rely on this one");
        return None;
    }
    check.pass();
    // Of another length it is no report data: nothing is cut or filled up.
    let report_data = quote.extra_data.try_into().ok()?;
    Some(ReportData::from_bytes(report_data))
}

/// The reference that matches, all registers together; else the nearest.
fn pcrs<'a>(
    rules: &'a VtpmRules,
    vtpm: &Vtpm,
    boot: &Boot,
    recorder: &mut Recorder,
) -> Result<&'a VtpmReference, Option<&'a VtpmReference>> {
    let mut values = vtpm.pcrs.iter();
    let found = NAMES.map(|name| {
        let value = values.next().map_or([0; PCR], |value| value.0);
        (name, const_hex::encode(value))
    });
    let check = recorder.check(CheckId::Pcrs);
    check.image("vtpm", &found, &rules.reference, |reference| {
        let mut register = 0..;
        let wanted = found.clone().map(|(_, found)| {
            let register = register.next().unwrap_or_default();
            match reference.value(register) {
                Some(value) => const_hex::encode(value),
                None if !reference.is_by_events(register) => found,
                None if boot.matches(register, reference) => found,
                None => "what the policy's events lead to".to_owned(),
            }
        });
        (reference.name.as_str(), wanted)
    })
}
