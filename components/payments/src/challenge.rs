//! The answer that asks for payment. One serves both versions: version 2 reads the header, version 1 the body.

use serde_json::{Value, json};

use crate::api::{ChallengeResponse, Header, Offer, ResourceInfo};
use crate::error::{Error, Refusal, code};
use crate::extensions;
use crate::header::encode;
use crate::offer::Resource;
use crate::offered::{self, Offered};
use crate::settings::Settings;

/// The challenge, before anything was paid.
pub fn challenge(
    settings: &Settings,
    info: &ResourceInfo,
    offers: &[Offer],
    now: u64,
) -> Result<ChallengeResponse, Error> {
    let resource = Resource::new(info)?;
    let terms = offered::check(offers)?;
    render(settings, &resource, &terms, &no_payment(), now)
}

/// A request without a payment.
pub fn no_payment() -> Refusal {
    Refusal::new(code::PAYMENT_REQUIRED, "the request carries no payment")
}

/// The challenge that tells why a payment was refused.
pub fn render(
    settings: &Settings,
    resource: &Resource,
    terms: &[Offered],
    refusal: &Refusal,
    now: u64,
) -> Result<ChallengeResponse, Error> {
    let v2 = json!({
        "x402Version": 2,
        "error": refusal.code,
        "resource": resource.v2(),
        "accepts": terms.iter().map(Offered::v2).collect::<Vec<_>>(),
        "extensions": extensions::declared(settings, resource, terms, now),
    });
    // A chain without a name in version 1 cannot be paid on with it.
    let accepts: Vec<Value> = terms
        .iter()
        .filter_map(|terms| terms.v1(resource))
        .collect();
    let v1 = json!({
        "x402Version": 1,
        "error": refusal.code,
        "accepts": accepts,
    });
    let header = |name: &str, value: String| Header {
        name: name.to_owned(),
        value,
    };
    Ok(ChallengeResponse {
        status: refusal.status,
        headers: vec![
            header("content-type", "application/json".to_owned()),
            header("cache-control", "no-store".to_owned()),
            header("payment-required", encode(&v2)?),
        ],
        body: serde_json::to_vec(&v1)?,
    })
}
