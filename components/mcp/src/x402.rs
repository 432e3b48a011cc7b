//! x402 over MCP: the host's demand for payment becomes a result, and a payment in `_meta` becomes the header that the host takes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::error::RpcError;
use crate::json;
use crate::outcome::Outcome;
use crate::ports::{Answer, Asked};

/// Where a client puts a payment.
const PAYMENT: &str = "x402/payment";
/// Where it finds what became of it.
const RESPONSE: &str = "x402/payment-response";
/// The longest payment, in JSON: the host takes a header of 16 KiB.
const LONGEST_PAYMENT: usize = 12 * 1024;
/// The longest challenge or receipt that is read from a header, in base64.
const LONGEST_HEADER: usize = 128 * 1024;
/// Extensions of a challenge that are about HTTP: nobody can use them from here.
const HTTP_ONLY: [&str; 2] = ["bazaar", "sign-in-with-x"];

/// A payment that came with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    header: &'static str,
    value: String,
}

impl Payment {
    /// The one in `_meta`, in version 2 or 1.
    pub fn read(meta: Option<&Map<String, Value>>) -> Result<Option<Self>, RpcError> {
        let Some(payment) = meta.and_then(|meta| meta.get(PAYMENT)) else {
            return Ok(None);
        };
        let wrong = |what: &str| RpcError::Params(format!("`{PAYMENT}` {what}"));
        let version = payment.get("x402Version").and_then(Value::as_u64);
        let header = match version {
            Some(2) => "payment-signature",
            Some(1) => "x-payment",
            _ => return Err(wrong("is no payment of x402 in version 2 or 1")),
        };
        let text = serde_json::to_vec(payment).map_err(|_| wrong("can not be written"))?;
        if text.len() > LONGEST_PAYMENT {
            return Err(wrong("is longer than 12 KiB"));
        }
        let value = STANDARD.encode(text);
        Ok(Some(Self { header, value }))
    }

    /// The request with this payment, where there is one.
    pub fn on(payment: Option<&Self>, asked: Asked) -> Asked {
        match payment {
            None => asked,
            Some(payment) => asked.with(payment.header, payment.value.clone()),
        }
    }
}

/// The result that asks for payment, where the host does.
pub fn demanded(answer: &Answer, tool: &str) -> Option<Outcome> {
    // 412: the payer has yet to let its token be transferred.
    if !matches!(answer.status, 402 | 412) {
        return None;
    }
    let header = answer
        .fields
        .first("payment-required")
        .and_then(from_header);
    let mut challenge = match header {
        Some(challenge) => challenge,
        None if answer.status == 402 => json::object(&answer.body).ok()?,
        None => return None,
    };
    challenge.get("accepts").filter(|it| it.is_array())?;
    let url = Value::from(format!("mcp://tool/{tool}"));
    match challenge.get_mut("resource") {
        Some(Value::Object(resource)) => {
            resource.insert("url".to_owned(), url);
            // That of the sealed answer, which nobody sees here.
            resource.remove("mimeType");
        }
        _ => {
            let accepts = challenge.get_mut("accepts").and_then(Value::as_array_mut);
            for offer in accepts.into_iter().flatten() {
                if let Some(resource) = offer.get_mut("resource") {
                    *resource = url.clone();
                }
            }
        }
    }
    if let Some(Value::Object(extensions)) = challenge.get_mut("extensions") {
        extensions.retain(|name, _| !HTTP_ONLY.contains(&&**name));
    }
    let text = Value::Object(challenge.clone()).to_string();
    let outcome = Outcome::error(text).with_structured(challenge);
    Some(settled(answer, outcome))
}

/// The result with what became of its payment, where the host says it.
pub fn settled(answer: &Answer, outcome: Outcome) -> Outcome {
    let named = ["payment-response", "x-payment-response"];
    let header = named.into_iter().find_map(|name| answer.fields.first(name));
    match header.and_then(from_header) {
        Some(response) => outcome.with_meta(RESPONSE, response.into()),
        None => outcome,
    }
}

fn from_header(value: &str) -> Option<Map<String, Value>> {
    if value.len() > LONGEST_HEADER {
        return None;
    }
    json::object(&STANDARD.decode(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fields::Fields;

    fn encoded(value: &Value) -> String {
        STANDARD.encode(value.to_string())
    }

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
            let meta = json!({PAYMENT: payment});
            let read = Payment::read(meta.as_object()).unwrap();
            let asked = Payment::on(read.as_ref(), Asked::host("POST", "/".to_owned(), 1));
            assert_eq!(asked.headers, [(name, encoded(&payment))]);
        }
        assert_eq!(Payment::read(None), Ok(None));
        assert_eq!(Payment::read(json!({}).as_object()), Ok(None));
        for payment in [
            json!(1),
            json!({}),
            json!({"x402Version": 3}),
            json!(null),
            json!({"x402Version": 2, "payload": "a".repeat(LONGEST_PAYMENT)}),
        ] {
            let meta = json!({PAYMENT: payment});
            assert!(Payment::read(meta.as_object()).is_err());
        }
    }

    #[test]
    fn a_demand_is_an_error_that_says_the_same_twice() {
        let challenge = json!({
            "x402Version": 2, "accepts": [{"amount": "1"}],
            "resource": {"url": "http://host.internal/x", "description": "d", "mimeType": "application/cbor"},
            "extensions": {"bazaar": {}, "payment-identifier": {}},
        });
        let v1 = json!({"x402Version": 1, "accepts": [{"resource": "http://host.internal/x"}]});
        let asks = answer(402, &[("payment-required", &encoded(&challenge))], &v1);
        let result = demanded(&asks, "run_python").unwrap().into_result();
        let structured = &result["structuredContent"];
        let resource = json!({"url": "mcp://tool/run_python", "description": "d"});
        assert_eq!(structured["resource"], resource);
        assert_eq!(structured["extensions"], json!({"payment-identifier": {}}));
        assert_eq!(result["isError"], true);
        let text: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(&text, structured);

        let old = demanded(&answer(402, &[], &v1), "t").unwrap().into_result();
        assert_eq!(
            old["structuredContent"]["accepts"][0]["resource"],
            "mcp://tool/t"
        );
    }

    #[test]
    fn what_asks_for_no_payment_is_no_demand() {
        assert!(demanded(&answer(200, &[], &json!({"accepts": []})), "t").is_none());
        assert!(demanded(&answer(402, &[], &json!({})), "t").is_none());
        assert!(demanded(&answer(402, &[("payment-required", "!")], &json!([])), "t").is_none());
        assert!(demanded(&answer(412, &[], &json!({"accepts": []})), "t").is_none());
    }

    #[test]
    fn what_became_of_a_payment_is_told_beside_the_result() {
        let receipt = json!({"success": true, "transaction": "0x1"});
        for name in ["payment-response", "x-payment-response"] {
            let paid = answer(200, &[(name, &encoded(&receipt))], &json!(null));
            let result = settled(&paid, Outcome::text("a")).into_result();
            assert_eq!(result["_meta"][RESPONSE], receipt);
        }
        let none = answer(200, &[("payment-response", "a")], &json!(null));
        assert_eq!(settled(&none, Outcome::text("a")), Outcome::text("a"));
    }

    proptest! {
        #[test]
        fn any_header_and_body_are_judged(header in ".{0,60}", body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let answer = Answer {
                status: 402,
                fields: Fields::of(&[("payment-required", &header), ("payment-response", &header)]),
                body,
                is_cut: false,
            };
            let _ = demanded(&answer, "t");
            let _ = settled(&answer, Outcome::default());
        }
    }
}
