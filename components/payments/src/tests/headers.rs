//! Payments that are not payments, and payments for something else.

use serde_json::{Value, json};

use super::kit::{Purse, Shop, SoftCrypto, decode, encode, header, payer, usdc};
use crate::api::{Header, Offer, PaymentId};
use crate::evm;
use crate::verify;

/// A payment of version 2, changed.
fn edited(edit: impl Fn(&mut Value) + 'static) -> Vec<Header> {
    let mut purse = Purse::new(&usdc());
    purse.edit = Box::new(edit);
    purse.v2()
}

/// Refused before any network, in a form that tells the client why: the status and the reason.
fn refused(headers: &[Header]) -> (u16, String) {
    let refusal = Shop::new().refused_offline(headers);
    let told = decode(&refusal.challenge.headers, "payment-required");
    assert_eq!(told["error"], refusal.reason);
    (refusal.challenge.status, refusal.reason)
}

fn malformed() -> (u16, String) {
    (400, "invalid_payload".to_owned())
}

#[test]
fn no_payment_is_asked_for() {
    let refusal = Shop::new().refused_offline(&[header("accept", "*/*")]);
    assert_eq!(refusal.reason, "payment_required");
    assert_eq!(refusal.challenge.status, 402);
}

#[test]
fn header_names_compare_without_regard_to_case() {
    let mut headers = Purse::new(&usdc()).v2();
    headers[0].name = "Payment-signature".to_owned();
    Shop::new().authorized(&headers);
}

#[test]
fn a_header_that_is_not_base64_of_an_object_is_malformed() {
    let good = Purse::new(&usdc()).v2()[0].value.clone();
    let unpadded = encode(&json!({"x402Version": 2, "a": "x"}));
    assert!(unpadded.ends_with('='), "this row tests padding");
    for value in [
        "",
        "not base64!",
        &good[1..],
        unpadded.trim_end_matches('='),
        &good.replacen('e', "_", 1),
        &format!("{}\n{}", &good[..8], &good[8..]),
        &encode(&json!([])),
        &encode(&json!("text")),
        // The bits behind the last byte are not zero.
        "e31=",
        "e30=e30=",
    ] {
        for name in ["PAYMENT-SIGNATURE", "X-PAYMENT"] {
            assert_eq!(refused(&[header(name, value)]), malformed(), "{value:?}");
        }
    }
}

#[test]
fn a_header_of_ten_megabytes_is_malformed() {
    let value = "A".repeat(10 << 20);
    assert_eq!(refused(&[header("payment-signature", &value)]), malformed());
}

#[test]
fn a_header_that_occurs_twice_is_malformed() {
    for headers in [Purse::new(&usdc()).v2(), Purse::new(&usdc()).v1()] {
        let mut twice = [headers.clone(), headers].concat();
        twice[1].name = twice[1].name.to_lowercase();
        assert_eq!(refused(&twice), malformed());
    }
}

#[test]
fn both_headers_must_carry_the_same_payment() {
    let purse = Purse::new(&usdc());
    let both = [purse.v2(), purse.v1()].concat();
    Shop::new().authorized(&both);

    let mut other = Purse::new(&usdc());
    other.authorization.nonce = [1; 32].into();
    assert_eq!(refused(&[purse.v2(), other.v1()].concat()), malformed());
    assert_eq!(
        refused(&[purse.v2(), vec![header("x-payment", "AAAA")]].concat()),
        malformed()
    );
}

#[test]
fn both_headers_must_name_the_same_network() {
    let purse = Purse::new(&usdc());
    let mut elsewhere = Purse::new(&usdc());
    elsewhere.edit = Box::new(|payment| payment["network"] = json!("base"));
    assert_eq!(refused(&[purse.v2(), elsewhere.v1()].concat()), malformed());
}

#[test]
fn a_key_that_occurs_twice_is_malformed() {
    let text = Purse::new(&usdc()).json().to_string();
    let twice = text.replacen(r#""value":"#, r#""value":"1","value":"#, 1);
    assert_ne!(text, twice);
    let value = encode_text(&twice);
    assert_eq!(refused(&[header("payment-signature", &value)]), malformed());
}

fn encode_text(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn fields_that_are_missing_or_of_another_type_are_malformed() {
    let paths = [
        "/x402Version",
        "/accepted",
        "/accepted/scheme",
        "/accepted/network",
        "/payload",
        "/payload/signature",
        "/payload/authorization",
        "/payload/authorization/from",
        "/payload/authorization/to",
        "/payload/authorization/value",
        "/payload/authorization/validAfter",
        "/payload/authorization/validBefore",
        "/payload/authorization/nonce",
    ];
    for path in paths {
        for bad in [
            Value::Null,
            json!(true),
            json!(-1),
            json!(1.5),
            json!(["x"]),
        ] {
            let headers = edited({
                let bad = bad.clone();
                move |payment| *payment.pointer_mut(path).unwrap() = bad.clone()
            });
            assert_eq!(refused(&headers), malformed(), "{path}: {bad}");
        }
        let headers = edited(move |payment| {
            let (parent, key) = path.rsplit_once('/').unwrap();
            let parent = payment.pointer_mut(parent).unwrap();
            parent.as_object_mut().unwrap().remove(key).unwrap();
        });
        assert_eq!(refused(&headers), malformed(), "{path} missing");
    }
}

#[test]
fn amounts_and_times_are_decimal_strings_of_256_bits() {
    let above = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
    for field in ["value", "validAfter", "validBefore"] {
        for bad in [
            json!(10_000),
            json!("-10000"),
            json!("+10000"),
            json!("010000"),
            json!("0x2710"),
            json!("1e4"),
            json!(""),
            json!(above),
        ] {
            let headers = edited({
                let bad = bad.clone();
                move |payment| payment["payload"]["authorization"][field] = bad.clone()
            });
            assert_eq!(refused(&headers), malformed(), "{field}: {bad}");
        }
    }
}

#[test]
fn an_unknown_version_is_refused_and_so_is_a_version_in_the_others_header() {
    let expected = (402, "invalid_x402_version".to_owned());
    for version in [0, 1, 3] {
        let headers = edited(move |payment| payment["x402Version"] = json!(version));
        assert_eq!(refused(&headers), expected);
    }
    let mut headers = Purse::new(&usdc()).v2();
    headers[0].name = "x-payment".to_owned();
    assert_eq!(refused(&headers), expected);
}

#[test]
fn scheme_network_and_asset_must_have_been_offered() {
    for (path, value, reason) in [
        ("/accepted/scheme", "upto", "unsupported_scheme"),
        ("/accepted/network", "eip155:8453", "invalid_network"),
        ("/accepted/network", "base-sepolia", "invalid_network"),
        (
            "/accepted/asset",
            "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
            "invalid_payment_requirements",
        ),
    ] {
        let headers = edited(move |payment| *payment.pointer_mut(path).unwrap() = json!(value));
        assert_eq!(refused(&headers), (402, reason.to_owned()), "{path}");
    }
    for (key, value, reason) in [
        ("scheme", "upto", "unsupported_scheme"),
        ("network", "base", "invalid_network"),
        ("network", "eip155:84532", "invalid_network"),
    ] {
        let mut purse = Purse::new(&usdc());
        purse.edit = Box::new(move |payment| payment[key] = json!(value));
        assert_eq!(refused(&purse.v1()), (402, reason.to_owned()), "{key}");
    }
}

#[test]
fn what_was_accepted_must_be_the_offer_field_by_field() {
    let expected = (402, "invalid_payment_requirements".to_owned());
    for (path, value) in [
        ("/accepted/amount", json!("1")),
        ("/accepted/payTo", json!(evm::text(payer()))),
        ("/accepted/maxTimeoutSeconds", json!(3600)),
        ("/accepted/maxTimeoutSeconds", json!("60")),
        ("/accepted/extra", json!({"name": "USDC"})),
        ("/accepted/extra/version", json!("1")),
        ("/accepted/extra", Value::Null),
    ] {
        let headers = edited(move |payment| *payment.pointer_mut(path).unwrap() = value.clone());
        assert_eq!(refused(&headers), expected, "{path}");
    }
    let added = edited(|payment| payment["accepted"]["discount"] = json!(true));
    assert_eq!(refused(&added), expected);
}

#[test]
fn the_clients_extra_may_hold_more_than_the_offers() {
    let headers = edited(|payment| payment["accepted"]["extra"]["wallet"] = json!("x"));
    Shop::new().authorized(&headers);
}

#[test]
fn a_payment_for_another_routes_offer_is_refused() {
    let cheap = Offer {
        amount: "1".to_owned(),
        ..usdc()
    };
    assert_eq!(
        refused(&Purse::new(&cheap).v2()).1,
        "invalid_payment_requirements"
    );
    assert_eq!(
        refused(&Purse::new(&cheap).v1()).1,
        "invalid_exact_evm_payload_authorization_value"
    );
}

#[test]
fn refusals_hold_nothing_of_the_payment() {
    let headers = edited(|payment| payment["payload"]["authorization"]["value"] = json!("1234x"));
    let refusal = Shop::new().refused_offline(&headers);
    let told = format!("{refusal:?}");
    assert!(!told.contains("1234x"), "{told}");
    assert!(!told.contains(&evm::text(payer())[2..]), "{told}");
}

fn identified(headers: &[Header], offers: &[Offer]) -> Option<PaymentId> {
    verify::identify(headers, offers, &SoftCrypto)
}

#[test]
fn identify_gives_the_id_that_verify_gives_in_either_version() {
    let purse = Purse::new(&usdc());
    for headers in [purse.v2(), purse.v1()] {
        let id = identified(&headers, &[usdc()]).unwrap();
        let authorized = Shop::new().authorized(&headers).id;
        assert_eq!(
            (&id.chain, &id.asset, &id.payer, &id.nonce),
            (
                &authorized.chain,
                &authorized.asset,
                &authorized.payer,
                &authorized.nonce
            )
        );
        assert_eq!(id.chain, "eip155:84532");
        assert_eq!(id.asset, usdc().asset.to_lowercase());
        assert_eq!(id.payer, evm::text(payer()));
        assert_eq!(id.nonce, format!("0x{}", "09".repeat(32)));
    }
}

#[test]
fn identify_finds_the_token_that_a_payment_of_version_1_was_signed_for() {
    let other = Offer {
        asset: format!("0x{}", "22".repeat(20)),
        ..usdc()
    };
    for offers in [[other.clone(), usdc()], [usdc(), other]] {
        let id = identified(&Purse::new(&usdc()).v1(), &offers).unwrap();
        assert_eq!(id.asset, usdc().asset.to_lowercase());
    }
}

#[test]
fn identify_names_a_payment_whose_price_has_changed_since() {
    let dearer = Offer {
        amount: "99999".to_owned(),
        ..usdc()
    };
    for headers in [Purse::new(&usdc()).v2(), Purse::new(&usdc()).v1()] {
        assert!(identified(&headers, std::slice::from_ref(&dearer)).is_some());
    }
}
