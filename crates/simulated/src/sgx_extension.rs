//! The SGX extension of a PCK certificate.
//!
//! Intel SGX PCK Certificate and Certificate Revocation List Profile, section 1.3.5: a SEQUENCE of (OID, value) pairs under
//! 1.2.840.113741.1.13.1, the configuration (.7) only in certificates of the Platform CA.

use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_cert::ext::Extension;

use crate::error::Error;
use crate::keys::failed;
use crate::platform::Platform;

const SGX: &str = "1.2.840.113741.1.13.1";

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;

/// The extension for `platform`. `ppid` and `instance` tell one simulated platform from another.
pub(crate) fn extension(
    platform: &Platform,
    ppid: &[u8; 16],
    instance: &[u8; 16],
) -> Result<Extension, Error> {
    let mut tcb = Vec::new();
    for (number, svn) in (1..).zip(platform.cpu_svn) {
        pair(&mut tcb, &format!("2.{number}"), &integer(svn.into()))?;
    }
    pair(&mut tcb, "2.17", &integer(platform.tcb.pce_svn()))?;
    pair(&mut tcb, "2.18", &tlv(OCTETS, &platform.cpu_svn))?;

    let mut configuration = Vec::new();
    for (name, flag) in [
        ("7.1", platform.dynamic_platform),
        ("7.2", platform.cached_keys),
        ("7.3", platform.smt),
    ] {
        pair(
            &mut configuration,
            name,
            &tlv(BOOLEAN, &[if flag { 0xff } else { 0 }]),
        )?;
    }

    let mut all = Vec::new();
    pair(&mut all, "1", &tlv(OCTETS, ppid))?;
    pair(&mut all, "2", &tlv(SEQUENCE, &tcb))?;
    pair(&mut all, "3", &tlv(OCTETS, &[0, 0]))?;
    pair(&mut all, "4", &tlv(OCTETS, &platform.fmspc))?;
    pair(&mut all, "5", &tlv(ENUMERATED, &[1]))?;
    pair(&mut all, "6", &tlv(OCTETS, instance))?;
    pair(&mut all, "7", &tlv(SEQUENCE, &configuration))?;

    Ok(Extension {
        extn_id: oid(SGX)?,
        critical: false,
        extn_value: OctetString::new(tlv(SEQUENCE, &all))
            .map_err(|error| failed("SGX extension", error))?,
    })
}

/// Appends SEQUENCE { OID `SGX.name`, value }.
fn pair(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), Error> {
    let mut content = tlv(OID, oid(&format!("{SGX}.{name}"))?.as_bytes());
    content.extend_from_slice(value);
    out.extend_from_slice(&tlv(SEQUENCE, &content));
    Ok(())
}

fn oid(text: &str) -> Result<ObjectIdentifier, Error> {
    ObjectIdentifier::new(text).map_err(|error| failed("SGX extension", error))
}

/// A small non-negative INTEGER, in as few bytes as DER asks for.
fn integer(value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    match (high, low) {
        (0, 0..=0x7f) => tlv(INTEGER, &[low]),
        (0, _) | (1..=0x7f, _) => tlv(INTEGER, &[high, low]),
        _ => tlv(INTEGER, &[0, high, low]),
    }
}

/// Tag, length and content in DER (X.690 section 8.1.3); content up to 65535 bytes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let mut out = vec![tag];
    match (high, low) {
        (0, 0..=0x7f) => out.push(low),
        (0, _) => out.extend_from_slice(&[0x81, low]),
        _ => out.extend_from_slice(&[0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}
