//! `sign-in-with-x`: proofs that the official functions made (@x402/extensions 2.27.0), and all that is wrong with others.

use serde_json::{Value, json};

use super::kit::{NOW, Shop, SoftCrypto, decode, encode, header, usdc};
use super::solana;
use crate::api::{Header, Offer};
use crate::error::Refusal;
use crate::extensions::sign_in::{self, LIFETIME};
use crate::offer::Resource;
use crate::offered;
use crate::sign_in_api::Proof;
use crate::time::instant;

const NONCE: &str = "000000006b49d20000112233445566aa";
const BASE: &str = "https://shop.example";
const URL: &str = "https://shop.example/agents/echo/";
/// By the key of 32 times 0x11.
const ACCOUNT: &str = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A";
const SIGNATURE: &str = "0xe5815a8773df646009e64e1b7b4fe3e58136a2f1c9781b0075a052851515f52e63fa7e674a6dda3f9210594064210fce7a1cbb29d9643690edd04e5f0a7403471b";
/// By the key of 32 times 0x07.
const WALLET: &str = "GmaDrppBC7P5ARKV8g3djiwP89vz1jLK23V2GBjuAEGB";
const ITS_SIGNATURE: &str =
    "5m315pJhwERE4Z7cn2YWf6gf24s9ht7yaCsAgSndf5zWeBdVdhaj2A36yrU9347gkEQ61ccTuKhgMzjWkrN9nDky";
const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

/// A host that sells calls of an agent, on two EVM chains and on Solana.
fn shop() -> Shop {
    let mut shop = Shop::new();
    let elsewhere = Offer {
        network: "eip155:8453".to_owned(),
        ..usdc()
    };
    shop.offers = vec![usdc(), elsewhere, solana::kit::offer()];
    shop.info.url = URL.to_owned();
    shop.info.metadata = Some(json!({"method": "GET", "name": "echo"}).to_string());
    shop.variables.push(("PUBLIC_URL", BASE.to_owned()));
    shop
}

/// The proof as the official client sends it.
fn signed() -> Value {
    json!({
        "domain": "shop.example",
        "address": ACCOUNT,
        "statement": "Get again what this account has paid for.",
        "uri": URL,
        "version": "1",
        "chainId": "eip155:84532",
        "type": "eip191",
        "nonce": NONCE,
        "issuedAt": "2027-01-15T08:00:00.000Z",
        "expirationTime": "2027-01-15T08:05:00.000Z",
        "resources": [URL],
        "signature": SIGNATURE,
    })
}

fn on_solana() -> Value {
    let mut proof = signed();
    proof["address"] = WALLET.into();
    proof["chainId"] = DEVNET.into();
    proof["type"] = "ed25519".into();
    proof["signature"] = ITS_SIGNATURE.into();
    proof
}

fn sent(proof: &Value) -> Vec<Header> {
    vec![header("SIGN-IN-WITH-X", &encode(proof))]
}

fn read(shop: &Shop, headers: &[Header]) -> Option<Result<Proof, Refusal>> {
    let (settings, resource) = (shop.settings().unwrap(), Resource::new(&shop.info).unwrap());
    let terms = offered::check(&shop.offers).unwrap();
    let sent = (headers, shop.now);
    sign_in::read(&settings, &resource, &terms, sent, &SoftCrypto).unwrap()
}

fn accounts(proof: &Proof) -> Vec<(&str, &str)> {
    let accounts = proof.accounts.iter();
    accounts
        .map(|it| (it.chain.as_str(), it.payer.as_str()))
        .collect()
}

#[test]
fn what_the_official_client_signs_proves_the_account_on_every_chain_that_has_it() {
    let proof = read(&shop(), &sent(&signed())).unwrap().unwrap();
    let payer = ACCOUNT.to_lowercase();
    assert_eq!(
        accounts(&proof),
        [
            ("eip155:84532", payer.as_str()),
            ("eip155:8453", payer.as_str())
        ]
    );
    assert_eq!(proof.nonce, NONCE);
    assert_eq!((proof.issued, proof.expires), (NOW, NOW + LIFETIME));
    let proof = read(&shop(), &sent(&on_solana())).unwrap().unwrap();
    assert_eq!(accounts(&proof), [(DEVNET, WALLET)]);
}

#[test]
fn what_is_not_signed_here_now_and_for_this_proves_nothing_and_is_told_why() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 21] = [
        ("domain_mismatch", |it| it["domain"] = "evil.example".into()),
        ("uri_mismatch", |it| {
            it["uri"] = "https://shop.example/agents/other/".into();
        }),
        ("uri_mismatch", |it| {
            it["uri"] = "https://evil.example/agents/echo/".into();
        }),
        ("uri_mismatch", |it| it["resources"] = json!([BASE])),
        ("uri_mismatch", |it| it["resources"] = Value::Null),
        ("nonce", |it| it["nonce"] = "abcdefgh".into()),
        ("nonce", |it| it["nonce"] = Value::Null),
        // Another time than the nonce is of.
        ("issued_at", |it| it["issuedAt"] = instant(NOW + 1).into()),
        ("expiration_time", |it| {
            it["expirationTime"] = instant(NOW + 3600).into();
        }),
        ("expiration_time", |it| it["expirationTime"] = Value::Null),
        ("header", |it| it["version"] = "2".into()),
        ("header", |it| it["statement"] = "\n\nURI: a".into()),
        ("header", |it| it["notBefore"] = instant(NOW).into()),
        ("header", |it| it["requestId"] = "7".into()),
        ("unsupported_chain", |it| it["chainId"] = "eip155:1".into()),
        ("unsupported_chain", |it| it["type"] = "ed25519".into()),
        ("signature", |it| it["chainId"] = "eip155:8453".into()),
        ("signature", |it| it["address"] = WALLET.into()),
        ("signature", |it| {
            it["address"] = "0x857b06519E91e3A54538791bDbb0E22373e36b66".into();
        }),
        ("signature", |it| {
            // What a contract wallet signs, which only its chain can judge.
            it["signature"] = format!("0x{}", "64".repeat(200)).into();
        }),
        ("signature", |it| {
            // The wallet of Solana says that it is the other.
            it["signature"] = ITS_SIGNATURE.into();
        }),
    ];
    for (code, change) in cases {
        let mut proof = signed();
        change(&mut proof);
        let headers = sent(&proof);
        let refusal = shop().refused_offline(&headers);
        assert_eq!(refusal.reason, format!("invalid_siwx_{code}"), "{proof}");
        assert_eq!(refusal.challenge.status, 402);
        let asked = decode(&refusal.challenge.headers, "payment-required");
        assert!(asked["extensions"][sign_in::NAME].is_object());
        assert!(read(&shop(), &headers).unwrap().is_err());
    }
    let mut other = on_solana();
    other["signature"] = SIGNATURE.into();
    assert!(read(&shop(), &sent(&other)).unwrap().is_err());
    let mut other = on_solana();
    other["chainId"] = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".into();
    assert!(read(&shop(), &sent(&other)).unwrap().is_err());
}

#[test]
fn a_proof_is_good_from_when_it_was_asked_for_and_for_five_minutes() {
    for (now, code) in [
        (NOW - 1, Some("invalid_siwx_issued_at_in_future")),
        (NOW, None),
        (NOW + LIFETIME - 1, None),
        (NOW + LIFETIME, Some("invalid_siwx_expired")),
    ] {
        let mut shop = shop();
        shop.now = now;
        let read = read(&shop, &sent(&signed())).unwrap();
        assert_eq!(read.err().map(|it| it.code.into_owned()).as_deref(), code);
    }
}

#[test]
fn a_header_that_is_none_is_refused_whatever_it_is() {
    let twice = [sent(&signed()), sent(&signed())].concat();
    let mut long = signed();
    long["more"] = "x".repeat(12 * 1024).into();
    let doubled = signed().to_string().replacen('{', "{\"nonce\":\"\",", 1);
    let raw = |value: &str| vec![header("sign-in-with-x", value)];
    use base64::Engine;
    let doubled = base64::engine::general_purpose::STANDARD.encode(doubled);
    let cases = [
        twice,
        sent(&long),
        raw(""),
        raw("{}"),
        raw("AA=="),
        raw(&doubled),
    ];
    for headers in cases.into_iter().chain([sent(&json!([])), sent(&json!(7))]) {
        let refusal = shop().refused_offline(&headers);
        assert_eq!(refusal.reason, "invalid_siwx_header");
    }
    let refusal = shop().refused_offline(&sent(&json!({})));
    assert_eq!(refusal.reason, "invalid_siwx_nonce");
    // One that is good and for which nothing is held is like none.
    let refusal = shop().refused_offline(&sent(&signed()));
    assert_eq!(refusal.reason, "payment_required");
}

fn declared(shop: &Shop) -> Value {
    let asked = decode(
        &shop.refused_offline(&[]).challenge.headers,
        "payment-required",
    );
    asked["extensions"][sign_in::NAME].clone()
}

#[test]
fn a_challenge_asks_for_it_where_the_host_knows_its_name_and_answers_in_the_clear() {
    let asked = declared(&shop());
    let nonce = asked["info"]["nonce"].as_str().unwrap();
    let mut info = signed();
    for key in ["address", "chainId", "type", "signature"] {
        info.as_object_mut().unwrap().remove(key);
    }
    info["nonce"] = nonce.into();
    assert_eq!(asked["info"], info);
    assert!(nonce.len() == 32 && nonce.starts_with(&NONCE[..16]));
    assert_ne!(declared(&shop())["info"]["nonce"], nonce);
    assert_eq!(
        asked["supportedChains"],
        json!([
            {"chainId": "eip155:84532", "type": "eip191"},
            {"chainId": "eip155:8453", "type": "eip191"},
            {"chainId": DEVNET, "type": "ed25519"},
        ])
    );
    let changes: [fn(&mut Shop); 4] = [
        |shop| shop.variables.retain(|(name, _)| *name != "PUBLIC_URL"),
        |shop| shop.variables.push(("SIGN_IN", "off".to_owned())),
        |shop| shop.info.url = "http://localhost/agents/echo/".to_owned(),
        |shop| shop.info.metadata = Some(json!({"method": "GET"}).to_string()),
    ];
    for change in changes {
        let mut shop = shop();
        change(&mut shop);
        assert_eq!(declared(&shop), Value::Null);
        assert!(read(&shop, &sent(&signed())).is_none());
    }
    let mut shop = shop();
    shop.variables.push(("SIGN_IN", "maybe".to_owned()));
    assert!(shop.settings().is_err());
}

#[test]
fn the_domain_is_what_browsers_say() {
    for (url, domain) in [
        ("https://Shop.Example:443", "shop.example"),
        ("http://shop.example:80", "shop.example"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("https://shop.example/under", "shop.example"),
    ] {
        let mut shop = shop();
        shop.variables.retain(|(name, _)| *name != "PUBLIC_URL");
        shop.variables.push(("PUBLIC_URL", url.to_owned()));
        shop.info.url = format!("{url}/agents/echo/");
        assert_eq!(declared(&shop)["info"]["domain"], domain);
    }
}

proptest::proptest! {
    #[test]
    fn any_proof_is_read_or_refused(key in 0usize..13, value in "\\PC{0,80}", text: String) {
        let mut proof = signed();
        let keys: Vec<String> = proof.as_object().unwrap().keys().cloned().collect();
        if let Some(key) = keys.get(key) {
            proof[key] = value.clone().into();
        }
        let good = proof == signed();
        let read = |headers: &[Header]| self::read(&shop(), headers).unwrap();
        proptest::prop_assert_eq!(read(&sent(&proof)).is_ok(), good);
        let _ = read(&[header("sign-in-with-x", &text)]);
        let _ = read(&sent(&value.into()));
    }
}
