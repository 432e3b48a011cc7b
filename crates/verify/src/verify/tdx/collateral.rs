//! What Intel's collateral says of itself: its chains, dates, revocation lists, and which platform it is of.
//!
//! dcap-qvl judges most of this again, and stops at the first fault with an error for programmers. Here a fault has a name, a date
//! and its own advice, and what the library leaves unread is read.

use std::time::{Duration, UNIX_EPOCH};

use dcap_qvl::QuoteCollateralV3;
use der::Decode;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;

use super::super::chain::{self, time};

const ANEW: &str = "fetch fresh collateral, and check the verifier's clock";
const ANOTHER: &str = "fetch fresh collateral for this platform, and do not rely on this host if that changes nothing";
const REVOKED: &str = "Intel revokes keys that leaked or were broken: do not rely on this machine, whatever its firmware";

/// What is wrong, and what to do; and what the library said of it, where it found it.
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) advice: &'static str,
    pub(super) library: Option<String>,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>, advice: &'static str) -> Self {
        Self {
            reason: reason.into(),
            advice,
            library: None,
        }
    }

    /// A fault that Intel's judgement ended with. The library's words are for programmers: they decide nothing but these.
    pub(super) fn of_library(error: &impl std::fmt::Display) -> Self {
        let said = format!("{error:#}");
        let has = |words: &str| said.contains(words);
        let (reason, advice) = if has("CertRevoked") {
            ("a certificate of this platform was revoked", REVOKED)
        } else if has("xpired") || has("future") || has("NotValidYet") {
            ("certificates or collateral are not of now", ANEW)
        } else if has("No matching TCB level") || has("ISVSVN") {
            (
                "Intel no longer appraises a module or firmware this old",
                UPDATE,
            )
        } else if has("TCB status is invalid") {
            ("Intel revoked the TCB level of this firmware", UPDATE)
        } else if has("module MRSIGNER") {
            ("another key than Intel's signed the TDX module", NOT_INTELS)
        } else if has("SEAMATTRIBUTES") {
            (
                "the TDX module has attributes that Intel refuses",
                NOT_INTELS,
            )
        } else if has("TDX module") {
            ("the TCB info does not know this TDX module", NOT_INTELS)
        } else if has("QE auth data") {
            (
                "the quoting enclave's own data is not 32 bytes long",
                NOT_INTELS,
            )
        } else if has("QE ") {
            (
                "the quoting enclave is not the one of the QE identity",
                NOT_INTELS,
            )
        } else if has("Fmspc") {
            ("the TCB info is of another kind of platform", ANOTHER)
        } else if has("tcb_info") || has("qe_identity") {
            (
                "Intel's signature over the TCB info or QE identity fails",
                ANOTHER,
            )
        } else {
            (
                "quote and collateral do not pass Intel's verification",
                ANOTHER,
            )
        };
        Self {
            library: Some(said),
            ..Self::new(reason, advice)
        }
    }
}

fn fault<T>(reason: String, advice: &'static str) -> Result<T, Fault> {
    Err(Fault::new(reason, advice))
}

const UPDATE: &str = "update BIOS, microcode and the TDX module of the platform";
const NOT_INTELS: &str = "do not rely on this machine";

/// Reads the parts that can be read without the quote. `pck` is the chain of the platform's key, `root` the fingerprint of the
/// root that the policy names.
pub(super) fn inspect(
    collateral: &QuoteCollateralV3,
    pck: &[Certificate],
    root: [u8; 32],
    now: u64,
) -> Result<(), Fault> {
    for (name, pem) in [
        ("TCB info", &collateral.tcb_info_issuer_chain),
        ("QE identity", &collateral.qe_identity_issuer_chain),
        ("PCK revocation list", &collateral.pck_crl_issuer_chain),
    ] {
        issuers(name, pem, root)?;
    }
    document("TCB info", &collateral.tcb_info, now)?;
    document("QE identity", &collateral.qe_identity, now)?;
    let (leaf, issuer) = (pck.first(), pck.get(1));
    crl("platforms' keys", &collateral.pck_crl, leaf, now)?;
    crl(
        "Intel's certification authorities",
        &collateral.root_ca_crl,
        issuer,
        now,
    )
}

/// An issuer's chain leads to the root, each certificate signing the one before it.
fn issuers(name: &str, pem: &str, root: [u8; 32]) -> Result<(), Fault> {
    let malformed = |reason: String| {
        Fault::new(
            format!("the chain of the {name}'s issuer: {reason}"),
            ANOTHER,
        )
    };
    let certificates = chain::from_pem(pem.as_bytes()).map_err(malformed)?;
    chain::linked(&certificates).map_err(malformed)?;
    if certificates.last().and_then(chain::fingerprint) != Some(root) {
        return Err(malformed(
            "it leads to another root than the policy names".to_owned(),
        ));
    }
    Ok(())
}

/// The dates of a signed JSON document, and its kind of TCB.
fn document(name: &str, json: &str, now: u64) -> Result<(), Fault> {
    let Ok(document) = serde_json::from_str::<serde_json::Value>(json) else {
        // The library says what is wrong with it.
        return Ok(());
    };
    if let Some(kind) = document.get("tcbType")
        && kind.as_u64() != Some(0)
    {
        return fault(
            format!(
                "the {name} counts TCB levels in a way that this program does not know (tcbType {kind})"
            ),
            "update this program",
        );
    }
    let date = |key: &str| {
        let text = document.get(key)?.as_str()?;
        let time = humantime::parse_rfc3339(text).ok()?;
        time.duration_since(UNIX_EPOCH).ok()
    };
    within(name, date("issueDate"), date("nextUpdate"), now)
}

/// A revocation list, and whether `certificate` is on it.
fn crl(of: &str, der: &[u8], certificate: Option<&Certificate>, now: u64) -> Result<(), Fault> {
    let Ok(list) = CertificateList::from_der(der) else {
        return fault(format!("the revocation list of {of} is not DER"), ANOTHER);
    };
    let list = list.tbs_cert_list;
    if let Some(certificate) = certificate {
        let serial = &certificate.tbs_certificate.serial_number;
        let revoked = list.revoked_certificates.unwrap_or_default();
        if let Some(entry) = revoked.iter().find(|entry| entry.serial_number == *serial) {
            return fault(
                format!(
                    "the certificate {serial} was revoked at {}: it is on the revocation list of {of}",
                    time(entry.revocation_date.to_unix_duration())
                ),
                REVOKED,
            );
        }
    }
    let until = list.next_update.map(|time| time.to_unix_duration());
    within(
        &format!("revocation list of {of}"),
        Some(list.this_update.to_unix_duration()),
        until,
        now,
    )
}

/// What has no date that can be read is left to the library.
fn within(
    name: &str,
    from: Option<Duration>,
    until: Option<Duration>,
    now: u64,
) -> Result<(), Fault> {
    let now = Duration::from_secs(now);
    if let Some(from) = from.filter(|from| *from > now) {
        return fault(
            format!("the {name} is of the future: it was made at {}", time(from)),
            ANEW,
        );
    }
    match until.filter(|until| *until < now) {
        Some(until) => fault(format!("the {name} expired at {}", time(until)), ANEW),
        None => Ok(()),
    }
}

/// The PCE of TCB info is the one that the platform's key names.
pub(super) fn same_pce(collateral: &str, pce_id: &[u8]) -> Result<(), Fault> {
    let named = serde_json::from_str::<serde_json::Value>(collateral)
        .ok()
        .and_then(|document| const_hex::decode(document.get("pceId")?.as_str()?).ok());
    if named.as_deref() == Some(pce_id) {
        return Ok(());
    }
    fault(
        format!(
            "the TCB info is of another PCE than the {} that the platform's key names",
            const_hex::encode(pce_id)
        ),
        "the collateral is of another platform: fetch that of this one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcb_info_of_another_pce_or_of_an_unknown_kind_is_refused() {
        let own = r#"{"pceId":"0001"}"#;
        assert!(same_pce(own, &[0, 1]).is_ok());
        assert!(same_pce(own, &[0, 0]).is_err());
        assert!(same_pce("{}", &[0, 1]).is_err());
        assert!(document("TCB info", r#"{"tcbType":0}"#, 1).is_ok());
        assert!(document("TCB info", r#"{"tcbType":1}"#, 1).is_err());
    }
}
