//! The header that carries a payment, and base64 of JSON in headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::api::Header;
use crate::error::{Error, Refusal};
use crate::json;

/// Carries a payment of version 2.
const V2: &str = "payment-signature";
/// Carries a payment of version 1.
const V1: &str = "x-payment";
/// Every field that carries a payment.
pub const NAMES: [&str; 2] = [V2, V1];
/// The longest value of either, in bytes. A payment by a contract wallet takes about 4 KiB.
const LONGEST: usize = 16 * 1024;

/// The version of the protocol that a payment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `X-PAYMENT`.
    V1,
    /// `PAYMENT-SIGNATURE`.
    V2,
}

impl Version {
    /// The number in `x402Version`.
    pub fn number(self) -> u64 {
        match self {
            Version::V1 => 1,
            Version::V2 => 2,
        }
    }
}

/// A payment's JSON, by version.
pub type Decoded = (Version, Map<String, Value>);

/// What the headers of a request carry. `None` if there is no payment among them.
///
/// Both versions at once are what a client may send that does not know which the server speaks; the caller holds them to
/// be the same payment.
pub fn find(headers: &[Header]) -> Result<Option<(Decoded, Option<Decoded>)>, Refusal> {
    let v2 = only(headers, V2)?.map(decode).transpose()?;
    let v1 = only(headers, V1)?.map(decode).transpose()?;
    Ok(match (v2, v1) {
        (Some(v2), v1) => Some(((Version::V2, v2), v1.map(|v1| (Version::V1, v1)))),
        (None, Some(v1)) => Some(((Version::V1, v1), None)),
        (None, None) => None,
    })
}

/// The value of the one header of that name.
pub fn only<'a>(headers: &'a [Header], name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut found = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    let first = found.next();
    if found.next().is_some() {
        return Err(Refusal::malformed(format!(
            "the header {name} occurs more than once"
        )));
    }
    Ok(first.map(|header| header.value.as_str()))
}

fn decode(value: &str) -> Result<Map<String, Value>, Refusal> {
    if value.len() > LONGEST {
        return Err(Refusal::malformed(format!(
            "the payment header is longer than {LONGEST} bytes"
        )));
    }
    // RFC 9110 lets white space surround a value.
    let text = STANDARD
        .decode(value.trim_matches([' ', '\t']))
        .map_err(|_| {
            Refusal::malformed("the payment header is not standard base64 with padding")
        })?;
    json::parse_object(&text)
        .map_err(|problem| Refusal::malformed(format!("the payment header: {problem}")))
}

/// JSON as a header's value.
pub fn encode(value: &Value) -> Result<String, Error> {
    Ok(STANDARD.encode(serde_json::to_vec(value)?))
}
