//! Cards where a request says that the host has another name.

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::wire::exchange;
use serde_json::{Value, json};

use super::kit::configured;

const FOREIGN: [&str; 4] = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "host.example@evil.example",
];

async fn with(environment: &str) -> Host {
    let front = format!("environment = {{ {environment} }}");
    let host = Host::with(&configured("", &front));
    host.deploy(&owner(), "http-hello", "hello", "").await;
    host
}

/// The status and the body of an answer to a request that names this host.
async fn got(host: &Host, name: &str, path: &str, more: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {name}\r\n{more}connection: close\r\n\r\n");
    let answer = exchange(host.url(), request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

const CARD: &str = "/a2a/hello/.well-known/agent-card.json";

#[tokio::test]
async fn a_host_without_a_public_url_gives_no_card_under_a_foreign_name() {
    let host = with("").await;
    for name in FOREIGN {
        for path in [CARD, "/a2a/", "/a2a/hello/.well-known/jwks.json"] {
            let (status, body) = got(&host, name, path, "").await;
            assert!(matches!(status, 400 | 403), "{name}: {status} {body}");
            assert!(!body.contains("evil.example"), "{body}");
        }
    }
    let (status, body) = got(&host, "127.0.0.1:9", CARD, "").await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_message_under_a_foreign_name_is_refused_where_the_host_has_none() {
    let host = with("").await;
    let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}});
    let body = body.to_string();
    let request = format!(
        "POST /a2a/hello/ HTTP/1.1\r\nhost: evil.example\r\na2a-version: 1.0\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(host.url(), request).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let calls = host
        .counter("hypervisor_agent_calls_total{exit=\"ok\"}")
        .await;
    // The refusal itself is a call of the front.
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn a_card_has_the_public_url_whatever_the_request_says() {
    let host = with("PUBLIC_URL = 'https://host.example'").await;
    let forwarded = "x-forwarded-host: evil.example\r\nx-forwarded-proto: http\r\n\
                     forwarded: host=evil.example;proto=http\r\nx-forwarded-prefix: /evil\r\n";
    let names = ["host.example", "evil.example", "127.0.0.1:1"];
    let mut cards = Vec::new();
    for name in names {
        for more in ["", forwarded] {
            let (status, body) = got(&host, name, CARD, more).await;
            assert_eq!(status, 200, "{name}: {body}");
            assert!(
                !body.contains("evil") && !body.contains("127.0.0.1"),
                "{body}"
            );
            let mut card: Value = serde_json::from_str(&body).unwrap();
            // Two signatures of one card differ.
            card.as_object_mut().unwrap().remove("signatures");
            cards.push(card);
        }
    }
    for card in &cards {
        assert_eq!(card, &cards[0]);
        let interfaces = card["supportedInterfaces"].as_array().unwrap();
        for interface in interfaces {
            let url = interface["url"].as_str().unwrap();
            assert!(url.starts_with("https://host.example/a2a/hello"), "{url}");
        }
    }
}
