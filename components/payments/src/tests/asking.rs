//! The challenge, and the offers that it is made of.

use serde_json::json;

use super::kit::{NOW, Shop, decode, usdc};
use crate::api::{ErrorCode, Offer};
use crate::challenge::challenge;
use crate::extensions::identifier::{Policy, declared};

#[test]
fn one_challenge_serves_both_versions() {
    let shop = Shop::new();
    let challenge = challenge(&shop.settings().unwrap(), &shop.info, &shop.offers, NOW).unwrap();
    assert_eq!(challenge.status, 402);
    let value = |name: &str| {
        let header = challenge.headers.iter().find(|header| header.name == name);
        header.unwrap().value.as_str()
    };
    assert_eq!(value("content-type"), "application/json");
    assert_eq!(value("cache-control"), "no-store");
    assert_eq!(
        decode(&challenge.headers, "payment-required"),
        json!({
            "x402Version": 2,
            "error": "payment_required",
            "resource": {
                "url": "https://api.example.com/premium-data",
                "description": "Data",
                "mimeType": "application/json",
                "tags": ["x"],
            },
            "accepts": [{
                "scheme": "exact",
                "network": "eip155:84532",
                "amount": "10000",
                "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
                "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
                "maxTimeoutSeconds": 60,
                "extra": {"name": "USDC", "version": "2"},
            }],
            "extensions": {"payment-identifier": declared(Policy::Optional)},
        })
    );
    let body: serde_json::Value = serde_json::from_slice(&challenge.body).unwrap();
    assert_eq!(
        body,
        json!({
            "x402Version": 1,
            "error": "payment_required",
            "accepts": [{
                "scheme": "exact",
                "network": "base-sepolia",
                "maxAmountRequired": "10000",
                "resource": "https://api.example.com/premium-data",
                "description": "Data",
                "mimeType": "application/json",
                "outputSchema": {"type": "object"},
                "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
                "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
                "maxTimeoutSeconds": 60,
                "extra": {"name": "USDC", "version": "2"},
            }],
        })
    );
}

#[test]
fn a_chain_without_a_name_in_version_1_is_offered_in_version_2_alone() {
    let mut shop = Shop::new();
    shop.offers.push(Offer {
        network: "eip155:42161".to_owned(),
        ..usdc()
    });
    let challenge = challenge(&shop.settings().unwrap(), &shop.info, &shop.offers, NOW).unwrap();
    let v2 = decode(&challenge.headers, "payment-required");
    assert_eq!(v2["accepts"][1]["network"], "eip155:42161");
    let v1: serde_json::Value = serde_json::from_slice(&challenge.body).unwrap();
    assert_eq!(v1["accepts"].as_array().unwrap().len(), 1);
}

#[test]
fn an_offer_that_cannot_be_used_is_named_with_what_is_wrong() {
    type Spoil = fn(&mut Offer);
    let cases: [(Spoil, &str); 15] = [
        (|offer| offer.scheme = "barter".to_owned(), "scheme"),
        (
            |offer| offer.scheme = "upto".to_owned(),
            "assetTransferMethod",
        ),
        (|offer| offer.network = "base".to_owned(), "network"),
        (|offer| offer.network = "solana:1".to_owned(), "network"),
        (|offer| offer.asset = "USDC".to_owned(), "asset"),
        (|offer| offer.pay_to = "0x00".to_owned(), "pay-to"),
        (|offer| offer.amount = "0.01".to_owned(), "amount"),
        (|offer| offer.amount = "9".repeat(78), "amount"),
        (|offer| offer.max_timeout_seconds = 6, "max-timeout-seconds"),
        (|offer| offer.extra = None, "\"name\""),
        (
            |offer| offer.extra = Some(r#"{"name":"USDC"}"#.to_owned()),
            "\"version\"",
        ),
        (
            |offer| offer.extra = Some(r#"{"name":"a","name":"b","version":"2"}"#.to_owned()),
            "twice",
        ),
        (
            |offer| {
                offer.extra = Some(
                    r#"{"name":"a","version":"2","assetTransferMethod":"erc7710"}"#.to_owned(),
                );
            },
            "assetTransferMethod",
        ),
        (
            |offer| {
                offer.scheme = "upto".to_owned();
                offer.extra = Some(r#"{"assetTransferMethod":"permit2"}"#.to_owned());
            },
            "facilitatorAddress",
        ),
        (|offer| offer.extra = Some("[]".to_owned()), "object"),
    ];
    for (spoil, word) in cases {
        let mut shop = Shop::new();
        shop.offers.push(usdc());
        spoil(&mut shop.offers[1]);
        let error = challenge(&shop.settings().unwrap(), &shop.info, &shop.offers, NOW)
            .unwrap_err()
            .into();
        let ErrorCode::InvalidOffer(text) = error else {
            panic!("{error:?}");
        };
        assert!(
            text.starts_with("offer 2 ") && text.contains(word),
            "{text}"
        );
    }
}

#[test]
fn no_offers_and_broken_metadata_are_refused() {
    let shop = Shop::new();
    let settings = shop.settings().unwrap();
    assert!(challenge(&settings, &shop.info, &[], NOW).is_err());
    assert!(challenge(&settings, &shop.info, &vec![usdc(); 33], NOW).is_err());
    let mut info = shop.info.clone();
    info.metadata = Some("{".to_owned());
    assert!(challenge(&settings, &info, &shop.offers, NOW).is_err());
}
