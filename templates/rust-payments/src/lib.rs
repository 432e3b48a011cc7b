//! Takes prepaid vouchers: no chain, no network. An issuer sells them and signs them on P-256 (ES256); a client sends one with its
//! request, both parts in base64url:
//!
//! ```text
//! X-Voucher: base64url({"id":"…","amount":"3","pay_to":"shop","valid_before":1800000000}).base64url(signature)
//! ```
//!
//! Its id is what the host reserves, so each is good for one request, and settling has nothing to do.

use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use exports::hypervisor::plugin::{payment, payment_fields, quote};
use hypervisor::plugin::crypto;
use payment::{
    AuthorizedPayment, ChallengeResponse, ErrorCode, Header, Offer, PaymentId, Receipt, Refusal,
    ResourceInfo, Settlement, Verification,
};
use serde::Deserialize;
use serde_json::json;

wit_bindgen::generate!({ path: "wit", world: "component", generate_all });

export!(Vouchers);

const FIELD: &str = "x-voucher";
const NETWORK: &str = "voucher:issuer";

struct Vouchers;

/// What the issuer signs. A member that is missing or unknown is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Voucher {
    id: String,
    amount: String,
    pay_to: String,
    valid_before: u64,
}

impl payment_fields::Guest for Vouchers {
    /// The header fields that payments are in.
    fn names() -> Vec<String> {
        vec![FIELD.to_owned()]
    }
}

impl quote::Guest for Vouchers {
    /// The offers for a price, which the operator writes like `3 CREDIT`.
    fn quote(price: String, pay_to: String, terms: quote::Terms) -> Result<Vec<Offer>, ErrorCode> {
        let credits = price.strip_suffix(" CREDIT").filter(|amount| {
            amount.bytes().all(|byte| byte.is_ascii_digit())
                && amount.starts_with(|first| first != '0')
        });
        let amount = credits.ok_or_else(|| {
            let text = format!("`{price}` is not a number of credits; write it like `3 CREDIT`");
            ErrorCode::InvalidOffer(text)
        })?;
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

impl payment::Guest for Vouchers {
    /// The response to a request that does not pay.
    fn challenge(info: ResourceInfo, offers: Vec<Offer>) -> Result<ChallengeResponse, ErrorCode> {
        issuer()?;
        Ok(challenge("payment_required", &info, &offers))
    }

    /// Which payment the headers carry. Nothing is checked yet.
    fn identify(_offers: Vec<Offer>, headers: Vec<Header>) -> Option<PaymentId> {
        read(&headers).map(|(payment, ..)| payment.id)
    }

    /// Whether they pay for it: only the operator's offers count, and nothing that a client says about them.
    fn verify(
        info: ResourceInfo,
        offers: Vec<Offer>,
        headers: Vec<Header>,
    ) -> Result<Verification, ErrorCode> {
        let issuer = issuer()?;
        let now = UNIX_EPOCH.elapsed().map_or(u64::MAX, |now| now.as_secs());
        let is_signed = |text: &[u8], by: &[u8]| crypto::p256_verify(&issuer, text, by).is_ok();
        let is_offered = |payment: &AuthorizedPayment| {
            let is = |offer: &Offer| offer.amount == payment.amount && offer.pay_to == payment.pay_to;
            offers.iter().any(is)
        };
        let reason = match read(&headers) {
            None => "payment_required",
            Some((_, text, by)) if !is_signed(&text, &by) => "invalid_signature",
            Some((payment, ..)) if !is_offered(&payment) => "invalid_payment_requirements",
            Some((payment, ..)) if payment.valid_before <= now => "voucher_expired",
            Some((payment, ..)) => return Ok(Verification::Authorized(payment)),
        };
        Ok(Verification::Refused(Refusal {
            reason: reason.to_owned(),
            message: None,
            challenge: challenge(reason, &info, &offers),
        }))
    }

    /// The issuer was paid when it sold the voucher.
    fn settle(payment: AuthorizedPayment) -> Settlement {
        Settlement::Settled(Receipt {
            transaction: payment.id.nonce.clone(),
            id: payment.id,
            amount: payment.amount,
            headers: Vec::new(),
        })
    }

    /// What became of a payment whose settlement was not heard of.
    fn reconcile(payment: AuthorizedPayment) -> Settlement {
        Self::settle(payment)
    }
}

/// The issuer's public key, from `[payments.settings]`.
fn issuer() -> Result<Vec<u8>, ErrorCode> {
    let text = std::env::var("VOUCHER_ISSUER").unwrap_or_default();
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let key: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    key.filter(|key| matches!(key.len(), 33 | 65))
        .ok_or_else(|| ErrorCode::InternalError(Some("VOUCHER_ISSUER: not a public key".into())))
}

/// The payment, what was signed, and the signature, from the one header field that is ours.
fn read(headers: &[Header]) -> Option<(AuthorizedPayment, Vec<u8>, Vec<u8>)> {
    let is_ours = |header: &&Header| header.name.eq_ignore_ascii_case(FIELD);
    let mut ours = headers.iter().filter(is_ours);
    let value = &ours.next()?.value;
    if ours.next().is_some() || value.len() > 4096 {
        return None;
    }
    let (payload, signature) = value.trim().split_once('.')?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let voucher: Voucher = serde_json::from_slice(&payload).ok()?;
    let payment = AuthorizedPayment {
        // Prepaid: each is a purse of its own.
        id: PaymentId {
            chain: NETWORK.to_owned(),
            asset: "voucher".to_owned(),
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

fn challenge(reason: &str, info: &ResourceInfo, offers: &[Offer]) -> ChallengeResponse {
    let accept = |offer: &Offer| json!({"amount": offer.amount, "pay_to": offer.pay_to});
    let accepts: Vec<_> = offers.iter().map(accept).collect();
    let body = json!({"error": reason, "resource": info.url, "accepts": accepts}).to_string();
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    ChallengeResponse {
        status: 402,
        headers: vec![
            header("content-type", "application/json"),
            header("cache-control", "no-store"),
        ],
        body: body.into_bytes(),
    }
}
