//! Cards, their keys, and evidence.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256, Sha512};

use super::*;
use crate::sign::canonical;

const PUBLIC: [(&str, &str); 1] = [("PUBLIC_URL", "https://host.example/")];

fn get(host: &Arc<Host>, path: &str, headers: &[(&str, &str)]) -> Got {
    ask(host, &settings(&PUBLIC), ("GET", path), headers, b"")
}

#[test]
fn a_card_says_where_and_how_an_agent_is_asked() {
    let host = Host::new();
    let got = get(&host, "/a2a/a/.well-known/agent-card.json", &[]);
    let card = got.json();
    assert_eq!(
        (&card["name"], &card["description"], &card["version"]),
        (&json!("a"), &json!("Tells."), &json!("1.2"))
    );
    let interfaces = json!([
        {"url": "https://host.example/a2a/a/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": "https://host.example/a2a/a", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
    ]);
    assert_eq!(card["supportedInterfaces"], interfaces);
    assert_eq!(card["skills"][0]["tags"], json!(["telling"]));
    assert_eq!(card["capabilities"]["streaming"], true);
    assert_eq!(
        get(&host, "/a2a/a/.well-known/agent-card.json/", &[]).json(),
        card
    );
    assert_eq!(
        get(&host, "/a2a/none/.well-known/agent-card.json", &[]).status,
        404
    );
}

#[test]
fn no_required_member_of_a_card_is_empty() {
    let host = Host::new();
    let card = get(&host, "/a2a/sold/.well-known/agent-card.json", &[]).json();
    let members = card.as_object().unwrap();
    let whole: Value = serde_json::from_slice(&canonical(members)).unwrap();
    let mut unsigned = card.clone();
    unsigned.as_object_mut().unwrap().remove("signatures");
    assert_eq!(whole, unsigned);
}

#[test]
fn a_card_is_kept_by_its_tag() {
    let host = Host::new();
    let first = get(&host, "/a2a/a/.well-known/agent-card.json", &[]);
    assert_eq!(first.header("cache-control"), Some("public, max-age=60"));
    let tag = first.header("etag").unwrap().to_owned();
    let second = get(
        &host,
        "/a2a/a/.well-known/agent-card.json",
        &[("if-none-match", &tag)],
    );
    assert_eq!(
        (second.status, second.body.len(), second.header("etag")),
        (304, 0, Some(&*tag))
    );
    let other = get(
        &host,
        "/a2a/sold/.well-known/agent-card.json",
        &[("if-none-match", &tag)],
    );
    assert_eq!(other.status, 200);
}

#[test]
fn a_priced_agent_says_how_it_is_paid() {
    let host = Host::new();
    let card = get(&host, "/a2a/sold/.well-known/agent-card.json", &[]).json();
    let extensions = card["capabilities"]["extensions"].as_array().unwrap();
    let uris: Vec<&str> = extensions
        .iter()
        .map(|it| it["uri"].as_str().unwrap())
        .collect();
    assert_eq!(
        uris,
        [
            crate::pay::URIS[0],
            crate::pay::URIS[1],
            crate::card::EVIDENCE
        ]
    );
    assert!(extensions.iter().all(|it| it.get("required").is_none()));
    assert!(
        card["description"]
            .as_str()
            .unwrap()
            .ends_with("A call costs 0.01 USDC.")
    );
}

#[test]
fn the_keys_are_where_the_signature_says() {
    let host = Host::new();
    let card = get(&host, "/a2a/a/.well-known/agent-card.json", &[]).json();
    let header = URL_SAFE_NO_PAD
        .decode(card["signatures"][0]["protected"].as_str().unwrap())
        .unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(
        header["jku"],
        "https://host.example/a2a/a/.well-known/jwks.json"
    );
    let keys = get(&host, "/a2a/a/.well-known/jwks.json", &[]).json();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
}

#[test]
fn evidence_is_bound_to_the_card_its_key_and_the_nonce() {
    let host = Host::new();
    let card = get(&host, "/a2a/a/.well-known/agent-card.json", &[]).json();
    let keys = get(&host, "/a2a/a/.well-known/jwks.json", &[]).json();
    let params = &card["capabilities"]["extensions"][0]["params"];
    assert_eq!(params["evidenceUrl"], "https://host.example/a2a/a/evidence");
    let got = get(
        &host,
        &format!("/a2a/a/evidence?nonce={}", "ab".repeat(16)),
        &[],
    );
    assert_eq!(got.header("content-type"), Some("application/cbor"));
    let thumbprint = URL_SAFE_NO_PAD
        .decode(keys["keys"][0]["kid"].as_str().unwrap())
        .unwrap();
    let claim = [
        b"hypervisor/v1 a2a-card\0".to_vec(),
        Sha256::digest(canonical(card.as_object().unwrap())).to_vec(),
        thumbprint,
        vec![0xab; 16],
    ];
    assert_eq!(got.body, Sha512::digest(claim.concat()).to_vec());
}

#[test]
fn a_nonce_has_16_to_64_bytes() {
    let host = Host::new();
    for query in [
        "",
        "?nonce=",
        "?nonce=zz",
        &format!("?nonce={}", "ab".repeat(15)),
        &format!("?nonce={}", "ab".repeat(65)),
    ] {
        assert_eq!(
            get(&host, &format!("/a2a/a/evidence{query}"), &[]).status,
            400,
            "{query}"
        );
    }
}

#[test]
fn a_host_that_proves_nothing_says_so() {
    let host = Host::new();
    host.keys.lock().unwrap().unavailable = Some("no TEE".to_owned());
    let card = get(&host, "/a2a/a/.well-known/agent-card.json", &[]).json();
    assert!(card["capabilities"].get("extensions").is_none());
    let got = get(
        &host,
        &format!("/a2a/a/evidence?nonce={}", "ab".repeat(16)),
        &[],
    );
    assert_eq!(got.status, 503);
    assert!(
        got.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no TEE")
    );
}

#[test]
fn the_hosts_own_card_is_that_of_the_agent_that_the_operator_names() {
    let host = Host::new();
    assert_eq!(get(&host, "/.well-known/agent-card.json", &[]).status, 404);
    let named = settings(&[PUBLIC[0], ("A2A_DEFAULT_AGENT", "a")]);
    let got = ask(
        &host,
        &named,
        ("GET", "/.well-known/agent-card.json"),
        &[],
        b"",
    );
    assert_eq!(
        got.json(),
        get(&host, "/a2a/a/.well-known/agent-card.json", &[]).json()
    );
}

#[test]
fn all_agents_are_listed_with_where_their_cards_are() {
    let host = Host::new();
    for path in ["/a2a/", "/a2a"] {
        let listed = get(&host, path, &[]).json();
        assert_eq!(
            listed["agents"][1]["card"],
            "https://host.example/a2a/sold/.well-known/agent-card.json"
        );
    }
}
