//! Payments by x402: the headers of HTTP as JSON, and JSON as headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::json;
use crate::ports::{Answer, Asked};

/// The longest payment, in JSON: the host takes a header of 16 KiB.
const LONGEST_PAYMENT: usize = 12 * 1024;
/// The longest challenge or receipt that is read from a header, in base64.
const LONGEST_HEADER: usize = 128 * 1024;
/// Extensions of a challenge that are about HTTP: nobody can use them through a front.
const HTTP_ONLY: [&str; 2] = ["bazaar", "sign-in-with-x"];

/// Header fields that payments come in, of version 2 and of version 1.
pub const HEADERS: [&str; 2] = ["payment-signature", "x-payment"];

/// A payment.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment {
    header: &'static str,
    value: String,
}

impl Payment {
    /// The one in JSON, in version 2 or 1. An error says what is wrong with it.
    pub fn read(payment: &Value) -> Result<Self, &'static str> {
        let payment = &whole(payment);
        let version = payment.get("x402Version").and_then(Value::as_u64);
        let header = match version {
            Some(2) => "payment-signature",
            Some(1) => "x-payment",
            _ => return Err("is no payment of x402 in version 2 or 1"),
        };
        let text = serde_json::to_vec(payment).map_err(|_| "can not be written")?;
        if text.len() > LONGEST_PAYMENT {
            return Err("is longer than 12 KiB");
        }
        let value = STANDARD.encode(text);
        Ok(Self { header, value })
    }

    /// The one in this header, as it is: what it says is the host's to judge.
    pub fn in_header(header: &'static str, value: &str) -> Self {
        Self {
            header,
            value: value.to_owned(),
        }
    }

    /// What tells it from every other, for a digest.
    pub fn bytes(&self) -> &[u8] {
        self.value.as_bytes()
    }

    /// The request with this payment, where there is one.
    pub fn on(payment: Option<&Self>, asked: Asked) -> Asked {
        match payment {
            None => asked,
            Some(payment) => asked.with(payment.header, payment.value.clone()),
        }
    }
}

/// The same with numbers as x402 has them, none of which is a fraction: what went through protobuf's `Struct`, as metadata of A2A may have,
/// says `2.0` for 2.
fn whole(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let whole = members
                .iter()
                .map(|(name, value)| (name.clone(), whole(value)));
            Value::Object(whole.collect())
        }
        Value::Array(items) => items.iter().map(whole).collect(),
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            let integer = text
                .strip_suffix(".0")
                .and_then(|it| it.parse::<i64>().ok());
            integer.map_or_else(|| value.clone(), Value::from)
        }
        value => value.clone(),
    }
}

/// What the host asks for, where it asks for a payment: the challenge, with `url` as what is paid for.
pub fn challenge(answer: &Answer, url: &str) -> Option<Map<String, Value>> {
    // 412: the payer has yet to let its token be transferred.
    if !matches!(answer.status, 402 | 412) {
        return None;
    }
    let header = answer.fields.first("payment-required");
    let mut challenge = match header.and_then(from_header) {
        Some(challenge) => challenge,
        None if answer.status == 402 => json::object(&answer.body).ok()?,
        None => return None,
    };
    rewrite(&mut challenge, url)?;
    Some(challenge)
}

/// The challenge of version 1, which is the body, likewise.
pub fn challenge_in_body(answer: &Answer, url: &str) -> Option<Map<String, Value>> {
    let mut challenge = json::object(&answer.body).ok()?;
    rewrite(&mut challenge, url)?;
    Some(challenge)
}

fn rewrite(challenge: &mut Map<String, Value>, url: &str) -> Option<()> {
    challenge.get("accepts").filter(|it| it.is_array())?;
    match challenge.get_mut("resource") {
        Some(Value::Object(resource)) => {
            resource.insert("url".to_owned(), url.into());
            // That of an answer that nobody sees here.
            resource.remove("mimeType");
        }
        _ => {
            let accepts = challenge.get_mut("accepts").and_then(Value::as_array_mut);
            for offer in accepts.into_iter().flatten() {
                if let Some(resource) = offer.get_mut("resource") {
                    *resource = url.into();
                }
            }
        }
    }
    if let Some(Value::Object(extensions)) = challenge.get_mut("extensions") {
        extensions.retain(|name, _| !HTTP_ONLY.contains(&&**name));
    }
    Some(())
}

/// The header that says what became of a payment, where the host says it.
pub fn response_header(answer: &Answer) -> Option<&str> {
    let named = ["payment-response", "x-payment-response"];
    named.into_iter().find_map(|name| answer.fields.first(name))
}

/// What became of a payment, where the host says it.
pub fn response(answer: &Answer) -> Option<Map<String, Value>> {
    response_header(answer).and_then(from_header)
}

/// The object in a header.
pub fn from_header(value: &str) -> Option<Map<String, Value>> {
    if value.len() > LONGEST_HEADER {
        return None;
    }
    json::object(&STANDARD.decode(value).ok()?).ok()
}

/// An object as a header has it.
pub fn to_header(object: &Map<String, Value>) -> String {
    STANDARD.encode(serde_json::to_vec(object).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fields::Fields;

    fn answer(status: u16, headers: &[(&str, &str)], body: &Value) -> Answer {
        Answer {
            status,
            fields: Fields::of(headers),
            body: body.to_string().into_bytes(),
            is_cut: false,
        }
    }

    #[test]
    fn a_payment_becomes_the_header_of_its_version() {
        for (version, name) in [(2, "payment-signature"), (1, "x-payment")] {
            let payment = json!({"x402Version": version, "payload": {"a": 1}});
            let read = Payment::read(&payment).ok();
            let asked = Payment::on(read.as_ref(), Asked::host("POST", "/".to_owned(), 1));
            let value = STANDARD.encode(payment.to_string());
            assert_eq!(asked.headers, [(name, value)]);
        }
        for payment in [
            json!(1),
            json!({}),
            json!({"x402Version": 3}),
            json!(null),
            json!({"x402Version": 2, "payload": "a".repeat(LONGEST_PAYMENT)}),
        ] {
            assert!(Payment::read(&payment).is_err());
        }
    }

    #[test]
    fn a_payment_whose_numbers_became_floating_is_the_same_payment() {
        let sent = json!({"x402Version": 2.0, "accepted": {"maxTimeoutSeconds": 60.0, "amount": "1.0"}, "a": [1.5, 1e300]});
        let meant = json!({"x402Version": 2, "accepted": {"maxTimeoutSeconds": 60, "amount": "1.0"}, "a": [1.5, 1e300]});
        let value = |payment| Payment::read(&payment).map(|it| it.value).ok();
        assert_eq!(value(sent), value(meant));
    }

    #[test]
    fn a_challenge_names_what_the_client_asked_for() {
        let challenged = json!({
            "x402Version": 2, "accepts": [{"amount": "1"}],
            "resource": {"url": "http://a.agent.internal/", "description": "d", "mimeType": "text/plain"},
            "extensions": {"bazaar": {}, "payment-identifier": {}},
        });
        let v1 = json!({"x402Version": 1, "accepts": [{"resource": "http://a.agent.internal/"}]});
        let header = STANDARD.encode(challenged.to_string());
        let asks = answer(402, &[("payment-required", &header)], &v1);
        let read = Value::Object(challenge(&asks, "u").unwrap());
        assert_eq!(read["resource"], json!({"url": "u", "description": "d"}));
        assert_eq!(read["extensions"], json!({"payment-identifier": {}}));
        let old = Value::Object(challenge_in_body(&asks, "u").unwrap());
        assert_eq!(old["accepts"][0]["resource"], "u");
        let header = to_header(read.as_object().unwrap());
        assert_eq!(from_header(&header).map(Value::Object), Some(read));
    }

    #[test]
    fn what_asks_for_no_payment_is_no_challenge() {
        assert!(challenge(&answer(200, &[], &json!({"accepts": []})), "u").is_none());
        assert!(challenge(&answer(402, &[], &json!({})), "u").is_none());
        assert!(challenge(&answer(402, &[("payment-required", "!")], &json!([])), "u").is_none());
        assert!(challenge(&answer(412, &[], &json!({"accepts": []})), "u").is_none());
    }

    proptest! {
        #[test]
        fn only_the_way_of_writing_a_number_changes(number in any::<f64>()) {
            prop_assert_eq!(whole(&json!(number)).as_f64(), json!(number).as_f64());
        }

        #[test]
        fn any_header_and_body_are_judged(header in ".{0,60}", body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let answer = Answer {
                status: 402,
                fields: Fields::of(&[("payment-required", &header), ("payment-response", &header)]),
                body,
                is_cut: false,
            };
            let _ = (challenge(&answer, "u"), challenge_in_body(&answer, "u"), response(&answer));
        }
    }
}
