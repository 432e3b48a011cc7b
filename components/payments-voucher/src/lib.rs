//! Takes prepaid vouchers: another way to pay, and the proof that payment is a plugin. No chain, no network.
//!
//! An issuer sells vouchers and signs them with P-256 (ES256); `VOUCHER_ISSUER` is its public key, SEC 1 in hexadecimal.
//! A client sends one with its request, both parts in base64url without padding:
//!
//! ```text
//! X-Voucher: base64url({"id":"…","amount":"100","pay_to":"acme","valid_before":1800000000}).base64url(signature)
//! ```
//!
//! The id is its nonce: the host's reservation makes it good for one request, so settling has nothing to do. A price is a number
//! of credits, `3 CREDIT`; offers have the scheme `voucher` and the network `voucher:issuer`, whatever the operator's networks are.

use std::time::UNIX_EPOCH;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bindings::exports::hypervisor::plugin::{payment::*, quote};
use bindings::hypervisor::plugin::crypto;
use serde_json::json;

#[expect(unsafe_code)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "hypervisor:plugin/payments-with-quote",
        generate_all,
    });
    export!(Vouchers with_types_in self);
    use super::Vouchers;
}

/// The header field that carries a voucher.
const FIELD: &str = "x-voucher";
const NETWORK: &str = "voucher:issuer";

/// What the issuer signs. A member that is missing, unknown or there twice is refused.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Voucher {
    id: String,
    amount: String,
    pay_to: String,
    valid_before: u64,
}

/// The payment, what was signed, and the signature, which is not checked here.
fn read(headers: &[Header]) -> Option<(AuthorizedPayment, Vec<u8>, Vec<u8>)> {
    let ours = |header: &&Header| header.name.eq_ignore_ascii_case(FIELD);
    let mut found = headers.iter().filter(ours);
    let value = &found.next()?.value;
    if found.next().is_some() || value.len() > 4096 {
        return None;
    }
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let (payload, signature) = value.trim().split_once('.')?;
    let (payload, signature) = (part(payload)?, part(signature)?);
    let voucher: Voucher = serde_json::from_slice(&payload).ok()?;
    let payment = AuthorizedPayment {
        id: PaymentId {
            chain: NETWORK.to_owned(),
            asset: "voucher".to_owned(),
            // Prepaid: each is a purse of its own.
            payer: voucher.id.clone(),
            nonce: voucher.id,
        },
        amount: voucher.amount,
        pay_to: voucher.pay_to,
        valid_before: voucher.valid_before,
        state: Vec::new(),
    };
    Some((payment, payload, signature))
}

/// The issuer's public key, where it and the offers can be used.
fn check(offers: &[Offer]) -> Result<Vec<u8>, ErrorCode> {
    let ours = |offer: &Offer| offer.scheme == "voucher" && offer.network == NETWORK;
    if let Some(at) = offers.iter().position(|offer| !ours(offer)) {
        let text = format!("offer {}: not voucher on {NETWORK}", at + 1);
        return Err(ErrorCode::InvalidOffer(text));
    }
    let text = std::env::var("VOUCHER_ISSUER").unwrap_or_default();
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let key: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    key.filter(|key| matches!(key.len(), 33 | 65))
        .ok_or_else(|| ErrorCode::InternalError(Some("VOUCHER_ISSUER: not a public key".into())))
}

fn challenge(reason: &str, info: &ResourceInfo, offers: &[Offer]) -> ChallengeResponse {
    let accept = |offer: &Offer| json!({"amount": offer.amount, "pay_to": offer.pay_to});
    let accepts: Vec<_> = offers.iter().map(accept).collect();
    let body = json!({"error": reason, "resource": info.url, "accepts": accepts}).to_string();
    let header = |name: String, value: String| Header { name, value };
    let content_type = header("content-type".into(), "application/json".into());
    let cache_control = header("cache-control".into(), "no-store".into());
    ChallengeResponse {
        status: 402,
        headers: vec![content_type, cache_control],
        body: body.into_bytes(),
    }
}

struct Vouchers;

impl bindings::exports::hypervisor::plugin::payment_fields::Guest for Vouchers {
    fn names() -> Vec<String> {
        vec![FIELD.to_owned()]
    }
}

impl quote::Guest for Vouchers {
    fn quote(price: String, pay_to: String, terms: quote::Terms) -> Result<Vec<Offer>, ErrorCode> {
        let credits = price.strip_suffix(" CREDIT").filter(|amount| {
            amount.bytes().all(|b| b.is_ascii_digit())
                && !amount.is_empty()
                && !amount.starts_with('0')
        });
        let Some(amount) = credits else {
            let text = format!("`{price}` is not a number of credits; write it like `3 CREDIT`");
            return Err(ErrorCode::InvalidOffer(text));
        };
        Ok(vec![Offer {
            scheme: "voucher".to_owned(),
            network: NETWORK.to_owned(),
            asset: "voucher".to_owned(),
            amount: amount.to_owned(),
            pay_to,
            max_timeout_seconds: terms.max_timeout_seconds,
            extra: None,
        }])
    }
}

impl Guest for Vouchers {
    fn challenge(info: ResourceInfo, offers: Vec<Offer>) -> Result<ChallengeResponse, ErrorCode> {
        check(&offers)?;
        Ok(challenge("payment_required", &info, &offers))
    }

    fn identify(_: Vec<Offer>, headers: Vec<Header>) -> Option<PaymentId> {
        Some(read(&headers)?.0.id)
    }

    fn verify(
        info: ResourceInfo,
        offers: Vec<Offer>,
        headers: Vec<Header>,
    ) -> Result<Verification, ErrorCode> {
        let issuer = check(&offers)?;
        let now = UNIX_EPOCH.elapsed().map_or(u64::MAX, |now| now.as_secs());
        let pays =
            |p: &AuthorizedPayment, o: &Offer| (&p.amount, &p.pay_to) == (&o.amount, &o.pay_to);
        let signed = |text: &[u8], by: &[u8]| crypto::p256_verify(&issuer, text, by).is_ok();
        let reason = match read(&headers) {
            None => "payment_required",
            Some((_, payload, signature)) if !signed(&payload, &signature) => "invalid_signature",
            Some((payment, ..)) if !offers.iter().any(|offer| pays(&payment, offer)) => {
                "invalid_payment_requirements"
            }
            Some((payment, ..)) if payment.valid_before <= now => "voucher_expired",
            Some((payment, ..)) => return Ok(Verification::Authorized(payment)),
        };
        Ok(Verification::Refused(Refusal {
            reason: reason.to_owned(),
            message: None,
            challenge: challenge(reason, &info, &offers),
        }))
    }

    fn settle(payment: AuthorizedPayment) -> Settlement {
        Settlement::Settled(Receipt {
            transaction: payment.id.nonce.clone(),
            id: payment.id,
            amount: payment.amount,
            headers: Vec::new(),
        })
    }

    fn reconcile(payment: AuthorizedPayment) -> Settlement {
        Self::settle(payment)
    }
}
