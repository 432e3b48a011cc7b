//! x402 over MCP: the host's demand for payment becomes a result, and a payment in `_meta` becomes the header that the host takes.

use front::ports::Answer;
use front::x402;
use serde_json::{Map, Value};

use crate::error::RpcError;
use crate::outcome::Outcome;

/// Where a client puts a payment.
pub const PAYMENT: &str = "x402/payment";
/// Where it finds what became of it.
pub const RESPONSE: &str = "x402/payment-response";

pub use front::x402::Payment;

/// The payment in `_meta`, in version 2 or 1.
pub fn payment(meta: Option<&Map<String, Value>>) -> Result<Option<Payment>, RpcError> {
    let Some(payment) = meta.and_then(|meta| meta.get(PAYMENT)) else {
        return Ok(None);
    };
    let read = Payment::read(payment);
    read.map(Some)
        .map_err(|what| RpcError::Params(format!("`{PAYMENT}` {what}")))
}

/// The result that asks for payment, where the host does.
pub fn demanded(answer: &Answer, tool: &str) -> Option<Outcome> {
    let challenge = x402::challenge(answer, &format!("mcp://tool/{tool}"))?;
    let text = Value::Object(challenge.clone()).to_string();
    let outcome = Outcome::error(text).with_structured(challenge);
    Some(settled(answer, outcome))
}

/// The result with what became of its payment, where the host says it.
pub fn settled(answer: &Answer, outcome: Outcome) -> Outcome {
    match x402::response(answer) {
        Some(response) => outcome.with_meta(RESPONSE, response.into()),
        None => outcome,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use front::fields::Fields;
    use serde_json::json;

    use super::*;

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
    fn a_payment_is_read_from_where_clients_put_it() {
        let meta = json!({PAYMENT: {"x402Version": 2, "payload": {"a": 1}}});
        assert!(payment(meta.as_object()).is_ok_and(|it| it.is_some()));
        assert!(payment(None).is_ok_and(|it| it.is_none()));
        assert!(payment(json!({}).as_object()).is_ok_and(|it| it.is_none()));
        for wrong in [json!(1), json!({}), json!(null)] {
            assert!(payment(json!({PAYMENT: wrong}).as_object()).is_err());
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
}
