//! The host's payment plugin, called by a service: the request's body is an offer in JSON, the answer is the challenge
//! that asks for its payment.
//!
//! ```text
//! curl --data '{"scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": "0x036C…", "payTo": "0x…",
//!     "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}}' http://HOST/agents/ask-payment/
//! ```
//!
//! The answer is the plugin's own, status and header fields included: with x402, status 402 and what is to be paid in
//! `payment-required`. A host without a payment plugin does not take this agent.

use http_kit::{Error, Target, json, read_body, respond};
use hypervisor::plugin::payment::{self, ErrorCode, ResourceInfo};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({
    path: "../../wit",
    generate_all,
    inline: "
        package guests:ask-payment;

        world ask-payment {
            import hypervisor:plugin/payment@0.1.1;
        }
    ",
});

/// An offer longer than this is not read.
const LONGEST_OFFER: usize = 64 * 1024;

struct AskPayment;

wasip2::http::proxy::export!(AskPayment);

impl Guest for AskPayment {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = ask(&request, out) {
            eprintln!("ask-payment: {error}");
        }
    }
}

/// One way to pay, under the names that x402 uses.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Offer {
    scheme: String,
    network: String,
    asset: String,
    amount: String,
    pay_to: String,
    max_timeout_seconds: u64,
    extra: Option<Map<String, Value>>,
}

impl From<Offer> for payment::Offer {
    fn from(offer: Offer) -> Self {
        Self {
            scheme: offer.scheme,
            network: offer.network,
            asset: offer.asset,
            amount: offer.amount,
            pay_to: offer.pay_to,
            max_timeout_seconds: offer.max_timeout_seconds,
            extra: offer.extra.map(|extra| Value::Object(extra).to_string()),
        }
    }
}

fn ask(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let offer: Offer = match read_body(request, LONGEST_OFFER)
        .map_err(|error| error.to_string())
        .and_then(|body| serde_json::from_slice(&body).map_err(|error| error.to_string()))
    {
        Ok(offer) => offer,
        Err(message) => {
            return json(
                out,
                400,
                &json!({ "error": format!("no offer: {message}") }),
            );
        }
    };
    let info = ResourceInfo {
        url: format!(
            "http://{}{}",
            request.authority().as_deref().unwrap_or("localhost"),
            Target::of(request).path()
        ),
        description: Some("What the offer is for".to_owned()),
        mime_type: Some("application/json".to_owned()),
        metadata: None,
    };
    let challenge = match payment::challenge(&info, &[offer.into()]) {
        Ok(challenge) => challenge,
        Err(error) => {
            let (status, name, message) = in_words(error);
            return json(out, status, &json!({ "error": name, "message": message }));
        }
    };
    let headers: Vec<(&str, &str)> = challenge
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_str()))
        .collect();
    respond(out, challenge.status, &headers, &challenge.body)
}

fn in_words(error: ErrorCode) -> (u16, &'static str, Option<String>) {
    match error {
        ErrorCode::InvalidOffer(message) => (422, "invalid-offer", Some(message)),
        ErrorCode::Unavailable(message) => (503, "unavailable", Some(message)),
        ErrorCode::InternalError(message) => (500, "internal-error", message),
    }
}
