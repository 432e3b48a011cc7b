//! Checks of a TDX quote: the chain of trust up to the policy's root, the TD and its image.
//!
//! dcap-qvl makes the whole judgement that Intel specifies. It stops at the first error, so the signatures are also checked
//! here one by one, which tells where a quote was altered; and what it does not look at is checked here alone.

mod boot;
mod collateral;
mod tcb;
mod td;

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteClaims, QuoteCollateralV3, QuotePolicy};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;

use super::{Context, Facts, chain};
use crate::policy::Trust;
use crate::report_data::ReportData;
use crate::tdx::{CERT_TYPE_PCK_CHAIN, TdxQuote};
use crate::verdict::{CheckId, Recorder};
use collateral::Fault;

/// SHA-256 of Intel's SGX Root CA, under which TDX stands too.
const INTEL_ROOT: [u8; 32] = [
    0x44, 0xa0, 0x19, 0x6b, 0x2b, 0x99, 0xf8, 0x89, 0xb8, 0xe1, 0x49, 0xe9, 0x5b, 0x80, 0x7a, 0x35,
    0x0e, 0x74, 0x24, 0x96, 0x43, 0x99, 0xe8, 0x85, 0xa7, 0xcb, 0xb8, 0xcc, 0xfa, 0xb6, 0x74, 0xd3,
];

/// What needs a quote that can be read.
const OF_THE_QUOTE: [CheckId; 13] = [
    CheckId::QuoteLength,
    CheckId::CertificateChain,
    CheckId::QuoteSignature,
    CheckId::QeBinding,
    CheckId::QeSignature,
    CheckId::Collateral,
    CheckId::TcbStatus,
    CheckId::TcbEvaluation,
    CheckId::Advisories,
    CheckId::Platform,
    CheckId::GuestProtection,
    CheckId::Measurements,
    CheckId::BootLog,
];

pub(super) fn verify(
    context: &Context<'_>,
    bytes: &[u8],
    recorder: &mut Recorder,
) -> Option<Facts> {
    recorder.not_applicable(
        &[
            CheckId::Revocation,
            CheckId::Generation,
            CheckId::Endorsement,
            CheckId::Vmpl,
        ],
        "on TDX other checks cover it",
    );
    let check = recorder
        .check(CheckId::QuoteForm)
        .input("bytes", bytes.len());
    let quote = match TdxQuote::parse(bytes) {
        Ok(quote) => {
            check.input("version", quote.version).pass();
            quote
        }
        Err(error) => {
            check.fail(format!(
                "{error}; ask the host for evidence again, and do not rely on this one"
            ));
            recorder.blocked(CheckId::QuoteForm, &OF_THE_QUOTE);
            return None;
        }
    };
    recorder
        .check(CheckId::QuoteLength)
        .input("quote", quote.length)
        .input("given", bytes.len())
        .require(quote.length == bytes.len(), || {
            format!(
                "{} bytes follow the quote, which may be the guest's memory; the host must be updated to trim its quotes",
                bytes.len().saturating_sub(quote.length)
            )
        });
    // What follows the quote is looked at by nothing below.
    let bytes = bytes.get(..quote.length).unwrap_or(bytes);

    let collateral = context
        .evidence
        .collateral
        .as_deref()
        .map(serde_json::from_slice::<QuoteCollateralV3>)
        .transpose();
    let pck = pck_chain(&quote, collateral.as_ref().ok().and_then(Option::as_ref));
    let root = certificate_chain(context, &pck, recorder);
    signatures(
        &quote,
        pck.as_ref().ok().and_then(|chain| chain.first()),
        recorder,
    );

    let chain = pck.as_deref().unwrap_or_default();
    let judged = judge(context, bytes, (&quote, chain), collateral, root);
    let claims = collateral_check(context, judged, recorder);
    let rules = &context.policy.rules.tdx;
    match &claims {
        Some(claims) => tcb::verify(rules, context, claims, recorder),
        None => recorder.blocked(
            CheckId::Collateral,
            &[
                CheckId::TcbStatus,
                CheckId::TcbEvaluation,
                CheckId::Advisories,
                CheckId::PlatformFlags,
                CheckId::Platform,
            ],
        ),
    }
    let reference = td::verify(rules, context.evidence, &quote.report, recorder);
    let [.., rtmr3] = quote.report.rtmr;
    Some(Facts {
        report_data: ReportData::from_bytes(quote.report.report_data),
        register: Some(rtmr3),
        register_start: reference.map(|reference| reference.rtmr3.0),
        tcb_evaluation_data_number: claims.map(|claims| claims.tcb.eval_data_number),
    })
}

/// The chain of the platform's key: from the quote, or from the collateral where the quote only names the key.
fn pck_chain(
    quote: &TdxQuote<'_>,
    collateral: Option<&QuoteCollateralV3>,
) -> Result<Vec<Certificate>, String> {
    if quote.certification_type == CERT_TYPE_PCK_CHAIN {
        return chain::from_pem(quote.certification);
    }
    match collateral.and_then(|collateral| collateral.pck_certificate_chain.as_ref()) {
        Some(pem) => chain::from_pem(pem.as_bytes()),
        None => Err(format!(
            "the quote has certification data of type {}, and the collateral holds no chain for it",
            quote.certification_type
        )),
    }
}

/// The fingerprint of the root that the policy names for TDX.
fn root_of(trust: Trust) -> Option<[u8; 32]> {
    match trust {
        Trust::Hardware { intel: true, .. } => Some(INTEL_ROOT),
        Trust::Simulated { fingerprint } => Some(fingerprint),
        Trust::Hardware { .. } => None,
    }
}

/// Each certificate must sign the one before it and be valid now, and the last be the policy's root. Returns its DER if so.
fn certificate_chain(
    context: &Context<'_>,
    chain: &Result<Vec<Certificate>, String>,
    recorder: &mut Recorder,
) -> Option<Vec<u8>> {
    use der::Encode;

    let check = recorder.check(CheckId::CertificateChain);
    let Some(wanted) = root_of(context.policy.trust) else {
        check.fail("the policy names no root for TDX; add \"intel\" to `roots.vendors` if this host may run on it");
        return None;
    };
    let check = check.hex("root", wanted);
    let chain = match chain {
        Ok(chain) => chain,
        Err(reason) => {
            check.fail(format!("{reason}; ask the host for evidence again"));
            return None;
        }
    };
    let root = chain
        .last()
        .filter(|_| chain.len() == 3)
        .and_then(|root| Some((root.to_der().ok()?, chain::fingerprint(root)?)));
    let Some((root, found)) = root else {
        check.fail(format!(
            "the chain has {} certificates, a platform's has 3; ask the host for evidence again",
            chain.len()
        ));
        return None;
    };
    let check = check.hex("found", found);
    if found != wanted {
        check.fail("the certificates lead to another root than the policy names, so the quote is not from the hardware it claims; do not rely on this host");
        return None;
    }
    if let Err(reason) = chain::linked(chain) {
        check.fail(format!(
            "{reason}, so the quote is not from the hardware it claims; do not rely on this host"
        ));
        return None;
    }
    let untimely = chain
        .iter()
        .find(|certificate| !chain::is_valid_at(certificate, context.now));
    if let Some(certificate) = untimely {
        check.fail(format!(
            "{}; check the verifier's clock, or have the platform's owner register it with Intel again",
            chain::validity_in_words(certificate)
        ));
        return None;
    }
    check.pass();
    Some(root)
}

/// Every signature of the quote, each by itself.
fn signatures(quote: &TdxQuote<'_>, pck: Option<&Certificate>, recorder: &mut Recorder) {
    let x_y = &quote.attestation_key;
    recorder
        .check(CheckId::QuoteSignature)
        .hex("attestation_key", x_y)
        .require(
            verify_p256(&sec1(x_y), quote.signed, &quote.signature),
            || {
                "the report in the quote was altered; ask the host for evidence again and do not rely on this one".to_owned()
            },
        );

    let hash = Sha256::new()
        .chain_update(quote.attestation_key)
        .chain_update(quote.qe_auth_data)
        .finalize();
    // SGX report: the report data is its last 64 bytes, of which the quoting enclave uses the first half.
    let (_, report_data) = quote.qe_report.split_at(quote.qe_report.len() - 64);
    let expected = [hash.as_slice(), &[0; 32]].concat();
    recorder
        .check(CheckId::QeBinding)
        .hex("quoted", report_data)
        .require(report_data == expected, || {
            "the quoting enclave does not vouch for the attestation key; ask the host for evidence again".to_owned()
        });

    match pck {
        Some(pck) => {
            recorder.check(CheckId::QeSignature).require(
                verify_p256(
                    chain::public_key(pck),
                    &quote.qe_report,
                    &quote.qe_report_signature,
                ),
                || {
                    "the platform's key does not sign the quoting enclave's report; ask the host for evidence again".to_owned()
                },
            );
        }
        None => recorder.blocked(CheckId::CertificateChain, &[CheckId::QeSignature]),
    }
}

/// An uncompressed SEC1 point from its coordinates.
fn sec1(x_y: &[u8]) -> Vec<u8> {
    [&[4], x_y].concat()
}

fn verify_p256(key: &[u8], message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = VerifyingKey::from_sec1_bytes(key) else {
        return false;
    };
    Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// Intel's whole judgement.
fn judge(
    context: &Context<'_>,
    bytes: &[u8],
    (quote, pck): (&TdxQuote<'_>, &[Certificate]),
    collateral: Result<Option<QuoteCollateralV3>, serde_json::Error>,
    root: Option<Vec<u8>>,
) -> Result<QuoteClaims, Fault> {
    const SEND: &str = "have the host send it along, or fetch it from Intel for this platform";
    let mut collateral = collateral
        .map_err(|error| {
            Fault::new(
                format!("the collateral is not JSON of its form ({error})"),
                SEND,
            )
        })?
        .ok_or_else(|| Fault::new("the evidence holds no collateral", SEND))?;
    if let Some(fingerprint) = root_of(context.policy.trust).filter(|_| root.is_some()) {
        collateral::inspect(&collateral, pck, fingerprint, context.now)?;
    }
    let tcb_info = collateral.tcb_info.clone();
    if quote.certification_type == CERT_TYPE_PCK_CHAIN {
        // The library would take the collateral's chain before the quote's.
        collateral.pck_certificate_chain = None;
    }
    let verifier = match context.policy.trust {
        Trust::Hardware { intel: true, .. } => QuoteVerifier::new_prod(),
        Trust::Simulated { .. } if root.is_some() => QuoteVerifier::new(root.unwrap_or_default()),
        _ => {
            return Err(Fault::new(
                "the certificates lead to no root that the policy names",
                "put `certificate-chain` right first",
            ));
        }
    };
    let claims = verifier
        // Both are checks of their own here.
        .allow_debug(true)
        .allow_service_td(true)
        .verify_with_policy(
            bytes,
            collateral,
            context.now,
            &QuotePolicy::claims_only(context.now),
        )
        .map_err(|error| Fault::of_library(&error))?;
    collateral::same_pce(&tcb_info, &claims.platform.pck.pce_id)?;
    Ok(claims)
}

fn collateral_check(
    context: &Context<'_>,
    judged: Result<QuoteClaims, Fault>,
    recorder: &mut Recorder,
) -> Option<QuoteClaims> {
    let check = recorder
        .check(CheckId::Collateral)
        .input("now", context.now);
    match judged {
        Ok(claims) => {
            check
                .input("valid_from", claims.latest_issue_date)
                .input("valid_to", claims.earliest_expiration_date)
                .hex("fmspc", claims.platform.pck.fmspc)
                .pass();
            Some(claims)
        }
        Err(Fault {
            reason,
            advice,
            library,
        }) => {
            let check = match library {
                Some(said) => check.input("library", said),
                None => check,
            };
            check.fail(format!("{reason}; {advice}"));
            None
        }
    }
}
