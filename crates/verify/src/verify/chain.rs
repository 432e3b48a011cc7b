//! X.509 certificates: what the verifiers of both vendors look at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::pem::LineEnding;
use der::{Decode, Encode, EncodePem, Reader, SliceReader};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;

/// The most certificates of a chain that are read. Chains of both vendors have three.
const MAX_CERTIFICATES: usize = 8;

/// A chain from PEM: the certificates in their order and nothing else, for nothing signs what stands between them. One NUL may
/// end it, as in Intel's quotes, and lines may end in CR LF.
pub(super) fn from_pem(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let text = std::str::from_utf8(pem.strip_suffix(&[0]).unwrap_or(pem))
        .map_err(|_| "the certificates are not a PEM chain (not text)".to_owned())?;
    // The parser can not take a text without any.
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err("there is no certificate".to_owned());
    }
    let malformed = |error: der::Error| format!("the certificates are not a PEM chain ({error})");
    let chain = bounded(Certificate::load_pem_chain(text.as_bytes()).map_err(malformed)?)?;
    let mut canonical = String::new();
    for certificate in &chain {
        canonical.push_str(&certificate.to_pem(LineEnding::LF).map_err(malformed)?);
    }
    let text = text.replace("\r\n", "\n");
    if text != canonical && text != canonical.trim_end() {
        return Err("something else stands between or after the certificates".to_owned());
    }
    Ok(chain)
}

/// A chain from DER, one certificate after the other.
pub(super) fn from_der(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    let malformed = |error: der::Error| format!("the certificates are not DER ({error})");
    let mut reader = SliceReader::new(bytes).map_err(malformed)?;
    let mut chain = Vec::new();
    while !reader.is_finished() && chain.len() <= MAX_CERTIFICATES {
        chain.push(Certificate::decode(&mut reader).map_err(malformed)?);
    }
    bounded(chain)
}

fn bounded(chain: Vec<Certificate>) -> Result<Vec<Certificate>, String> {
    match chain.len() {
        0 => Err("there is no certificate".to_owned()),
        n if n > MAX_CERTIFICATES => Err(format!("more than {MAX_CERTIFICATES} certificates")),
        _ => Ok(chain),
    }
}

/// Whether each certificate is signed by the one after it, and the last by itself, all by ECDSA with P-256 and SHA-256, as
/// Intel's are.
pub(super) fn linked(chain: &[Certificate]) -> Result<(), String> {
    let issuers = chain.iter().skip(1).chain(chain.last());
    match chain
        .iter()
        .zip(issuers)
        .position(|(certificate, issuer)| !is_signed_by(certificate, issuer))
    {
        None => Ok(()),
        Some(place) => Err(format!(
            "certificate {} of {} is not signed by the next",
            place.saturating_add(1),
            chain.len()
        )),
    }
}

fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let (Ok(signed), Ok(key), Ok(signature)) = (
        certificate.tbs_certificate.to_der(),
        VerifyingKey::from_sec1_bytes(public_key(issuer)),
        Signature::from_der(certificate.signature.raw_bytes()),
    ) else {
        return false;
    };
    certificate.tbs_certificate.issuer == issuer.tbs_certificate.subject
        && is_plain(certificate)
        && key.verify(&signed, &signature).is_ok()
}

/// Whether what no signature covers says what the signed part says: the algorithm stands twice (RFC 5280 §4.1.1.2), and a signature
/// has whole bytes.
pub(super) fn is_plain(certificate: &Certificate) -> bool {
    certificate.signature_algorithm == certificate.tbs_certificate.signature
        && certificate.signature.unused_bits() == 0
}

/// SHA-256 over a certificate's DER.
pub(super) fn fingerprint(certificate: &Certificate) -> Option<[u8; 32]> {
    certificate
        .to_der()
        .ok()
        .map(|der| Sha256::digest(der).into())
}

/// From when until when a certificate is valid: Unix time, seconds.
pub(super) fn validity(certificate: &Certificate) -> std::ops::RangeInclusive<u64> {
    let validity = &certificate.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    seconds(validity.not_before)..=seconds(validity.not_after)
}

/// Whether a certificate is valid at a time.
pub(super) fn is_valid_at(certificate: &Certificate, now: u64) -> bool {
    validity(certificate).contains(&now)
}

pub(super) fn validity_in_words(certificate: &Certificate) -> String {
    let (from, until) = validity(certificate).into_inner();
    format!(
        "`{}` is valid from {} to {}",
        certificate.tbs_certificate.subject,
        time(Duration::from_secs(from)),
        time(Duration::from_secs(until))
    )
}

pub(super) fn time(since_1970: Duration) -> String {
    // humantime ends with the year 9999.
    let last = Duration::from_secs(253_402_300_799);
    let at: SystemTime = UNIX_EPOCH + since_1970.min(last);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The bytes of a certificate's public key, without its algorithm.
pub(super) fn public_key(certificate: &Certificate) -> &[u8] {
    certificate
        .tbs_certificate
        .subject_public_key_info
        .subject_public_key
        .raw_bytes()
}

/// The value of an extension.
pub(super) fn extension<'a>(certificate: &'a Certificate, oid: &str) -> Option<&'a [u8]> {
    let oid = der::oid::ObjectIdentifier::new(oid).ok()?;
    certificate
        .tbs_certificate
        .extensions
        .as_ref()?
        .iter()
        .find(|extension| extension.extn_id == oid)
        .map(|extension| extension.extn_value.as_bytes())
}
