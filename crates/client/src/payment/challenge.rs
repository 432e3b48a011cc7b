//! PAYMENT-REQUIRED: what a host asks for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::Error;

/// JSON kept as it came.
pub(crate) type Json = RawValue;

/// Longest header of x402 that is read, bytes of base64.
const MAX_HEADER: usize = 32 * 1024;

/// Most offers of one challenge.
const MAX_OFFERS: usize = 32;

/// PaymentRequired of x402 version 2. Unknown members are ignored, as the format may grow.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Challenge {
    x402_version: u64,
    /// Why payment is asked for, or why the one that was sent is refused.
    pub(crate) error: Option<String>,
    /// Echoed.
    pub(crate) resource: Option<Box<Json>>,
    /// The offers; the one taken is echoed.
    pub(crate) accepts: Vec<Box<Json>>,
    /// Echoed.
    pub(crate) extensions: Option<Box<Json>>,
}

/// The members of PaymentRequirements that decide, all of them untrusted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requirements {
    pub(crate) scheme: String,
    pub(crate) network: String,
    pub(crate) amount: String,
    pub(crate) asset: String,
    pub(crate) pay_to: String,
    pub(crate) max_timeout_seconds: u64,
    #[serde(default)]
    pub(crate) extra: Extra,
}

/// The members of `extra` that the schemes give a meaning on EVM chains.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Extra {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) asset_transfer_method: Option<String>,
    pub(crate) payment_flow: Option<String>,
    pub(crate) facilitator_address: Option<String>,
}

/// A JSON object. (serde_json alone would take an array of the members' values too.)
pub(crate) fn object<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    if !json.trim_ascii_start().starts_with('{') {
        return Err("it is not a JSON object".to_owned());
    }
    // serde_json's text names members and positions, and may repeat a value of the host's.
    serde_json::from_str(json).map_err(|error| super::printable(&error.to_string()))
}

/// Base64 of a JSON object, as all headers of x402 are.
pub(crate) fn decode<T: DeserializeOwned>(header: &[u8]) -> Result<T, String> {
    if header.len() > MAX_HEADER {
        return Err(format!("it has more than {MAX_HEADER} bytes"));
    }
    let json = STANDARD
        .decode(header)
        .map_err(|_| "it is not base64".to_owned())?;
    object(str::from_utf8(&json).map_err(|_| "it is not UTF-8".to_owned())?)
}

impl Challenge {
    /// Reads the value of PAYMENT-REQUIRED.
    ///
    /// # Errors
    /// [`Error::Challenge`] for what is not base64 of a PaymentRequired of version 2 with 1 to 32 offers.
    pub(crate) fn from_header(header: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Challenge {
            reason: format!("header PAYMENT-REQUIRED: {reason}"),
        };
        let challenge: Self = decode(header).map_err(wrong)?;
        if challenge.x402_version != 2 {
            let version = challenge.x402_version;
            return Err(wrong(format!(
                "x402 version {version}, and only 2 is supported"
            )));
        }
        match challenge.accepts.len() {
            0 => Err(wrong("it offers nothing".to_owned())),
            1..=MAX_OFFERS => Ok(challenge),
            number => Err(wrong(format!(
                "{number} offers, and {MAX_OFFERS} are read at most"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn header(value: &serde_json::Value) -> Vec<u8> {
        STANDARD.encode(value.to_string()).into_bytes()
    }

    fn reason(header: &[u8]) -> String {
        Challenge::from_header(header).unwrap_err().to_string()
    }

    /// The header of the example in the specification's HTTP transport, version 2.
    const EXAMPLE: &str = include_str!("../../vectors/payment-required.txt");

    #[test]
    fn the_example_of_the_specification_is_read() {
        let challenge = Challenge::from_header(EXAMPLE.trim().as_bytes()).unwrap();
        assert_eq!(
            challenge.error.as_deref(),
            Some("PAYMENT-SIGNATURE header is required")
        );
        let [offer] = challenge.accepts.as_slice() else {
            panic!("one offer");
        };
        let offer: Requirements = serde_json::from_str(offer.get()).unwrap();
        assert_eq!(
            (offer.scheme.as_str(), offer.amount.as_str()),
            ("exact", "10000")
        );
        assert_eq!(offer.max_timeout_seconds, 60);
        assert_eq!(offer.extra.name.as_deref(), Some("USDC"));
    }

    #[test]
    fn echoed_members_are_kept_to_the_byte() {
        let text = r#"{"x402Version":2,"resource":{"url" : "/a","n":1.0},"accepts":[ {"b":1e2,"a":"ü"} ],"extensions":{}}"#;
        let challenge = Challenge::from_header(STANDARD.encode(text).as_bytes()).unwrap();
        assert_eq!(
            challenge.resource.unwrap().get(),
            r#"{"url" : "/a","n":1.0}"#
        );
        assert_eq!(challenge.accepts[0].get(), r#"{"b":1e2,"a":"ü"}"#);
        assert_eq!(challenge.extensions.unwrap().get(), "{}");
    }

    #[test]
    fn other_versions_are_refused_by_number() {
        let reason = reason(&header(&json!({"x402Version": 1, "accepts": [{}]})));
        assert!(reason.contains("version 1, and only 2"), "{reason}");
    }

    #[test]
    fn what_is_not_base64_of_json_of_the_right_shape_is_refused() {
        assert!(reason(b"%%%").contains("not base64"));
        // Padding is required, the alphabet is the standard one.
        assert!(reason(b"e30").contains("not base64"));
        assert!(reason(STANDARD.encode("{").as_bytes()).contains("EOF"));
        assert!(reason(&header(&json!({"x402Version": 2}))).contains("accepts"));
        assert!(reason(&header(&json!({"x402Version": 2, "accepts": []}))).contains("nothing"));
        assert!(
            reason(&header(&json!({"x402Version": "2", "accepts": [{}]}))).contains("invalid type")
        );
        let array = json!([2, null, null, [{}], null]);
        assert!(reason(&header(&array)).contains("not a JSON object"));
        assert!(reason(STANDARD.encode([0xff]).as_bytes()).contains("not UTF-8"));
        let twice = r#"{"x402Version":2,"x402Version":2,"accepts":[{}]}"#;
        assert!(reason(STANDARD.encode(twice).as_bytes()).contains("duplicate"));
        assert!(
            reason(
                STANDARD
                    .encode(r#"{"x402Version":2,"accepts":[{}]} x"#)
                    .as_bytes()
            )
            .contains("trailing")
        );
    }

    #[test]
    fn too_much_is_refused_before_it_is_decoded() {
        assert!(reason(&vec![b'A'; MAX_HEADER + 1]).contains("more than 32768 bytes"));
        let many = json!({"x402Version": 2, "accepts": vec![json!({}); MAX_OFFERS + 1]});
        assert!(reason(&header(&many)).contains("33 offers"));
    }

    #[test]
    fn a_hosts_text_can_not_steer_a_terminal() {
        let reason = reason(&header(
            &json!({"x402Version": "\u{1b}[2J\u{202e}", "accepts": [{}]}),
        ));
        assert!(!reason.contains(['\u{1b}', '\u{202e}']), "{reason:?}");
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Challenge::from_header(&bytes);
        }

        #[test]
        fn any_json_is_read_or_refused(json in r#"(\{"x402Version":2,"accepts":\[.{0,60}\]\}|.{0,60})"#) {
            let _ = Challenge::from_header(STANDARD.encode(json).as_bytes());
        }

        #[test]
        fn a_damaged_example_is_read_or_refused(at in any::<prop::sample::Index>(), byte: u8) {
            let mut json = STANDARD.decode(EXAMPLE.trim()).unwrap();
            let at = at.index(json.len());
            json[at] = byte;
            let _ = Challenge::from_header(STANDARD.encode(json).as_bytes());
        }
    }
}
