//! The official clients, against a seller in a few lines.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hypervisor_tests::payments::official::{self, Client, Request};
use hypervisor_tests::payments::sign::{decode_header, encode_header};
use hypervisor_tests::payments::{Chain, Facilitator, Version};
use hypervisor_tests::raw;
use serde_json::{Value, json};

/// A seller in a few lines: asks for the offer's price, settles, then serves.
struct Seller {
    url: String,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Seller {
    async fn start(facilitator: &Facilitator, offer: Value) -> Self {
        let seen = Arc::<Mutex<Vec<(HeaderMap, Bytes)>>>::default();
        let (log, settle_url) = (seen.clone(), format!("{}/settle", facilitator.url()));
        let app = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            log.lock().unwrap().push((headers.clone(), body));
            sell(settle_url.clone(), offer.clone(), headers)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/paid", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { url, seen }
    }
}

async fn sell(settle_url: String, offer: Value, headers: HeaderMap) -> Response {
    let version = Version::of(&offer);
    let mut answer = HeaderMap::new();
    let mut set = |name: &str, value: &Value| {
        answer.insert(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(encode_header(value)).unwrap(),
        );
    };
    let Some(payment) = headers.get(version.payment_header()) else {
        let body = match version {
            Version::V1 => json!({"x402Version": 1, "error": "pay", "accepts": [offer]}),
            Version::V2 => {
                let resource = json!({"url": "http://localhost/paid"});
                set(
                    "PAYMENT-REQUIRED",
                    &json!({"x402Version": 2, "resource": resource, "accepts": [offer]}),
                );
                json!({})
            }
        };
        return (StatusCode::PAYMENT_REQUIRED, answer, body.to_string()).into_response();
    };
    let question = json!({
        "x402Version": version.number(),
        "paymentPayload": decode_header(payment.to_str().unwrap()),
        "paymentRequirements": offer,
    });
    let settled = raw::post(
        &reqwest::Client::new(),
        &settle_url,
        "application/json",
        question.to_string().into(),
    )
    .await;
    set(
        version.settlement_header(),
        &serde_json::from_slice(&settled.body).unwrap(),
    );
    (StatusCode::OK, answer, "served").into_response()
}

/// The client pays the seller's offer of one cent, and sends its request unchanged.
async fn pays(client: Client, version: Version) {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let seller = Seller::start(&facilitator, chain.offer(version, 10_000)).await;
    let payer = chain.payer(0);

    let answer = official::pay(
        client,
        payer,
        &Request {
            url: &seller.url,
            method: "POST",
            headers: &[("content-type", "application/cbor")],
            body: Some(b"\xa0\x00\xff"),
        },
    )
    .await
    .unwrap();

    assert_eq!((answer.status, &answer.body[..]), (200, &b"served"[..]));
    let settled = decode_header(
        answer.headers[version.settlement_header()]
            .to_str()
            .unwrap(),
    );
    let moved = chain.transfers().await;
    assert_eq!(moved.len(), 1);
    assert_eq!((moved[0].from, moved[0].value), (payer.address(), 10_000));
    assert_eq!(settled["transaction"], moved[0].transaction);
    let seen = seller.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for (headers, body) in seen.iter() {
        assert_eq!(headers["content-type"], "application/cbor");
        assert_eq!(body[..], b"\xa0\x00\xff"[..]);
    }
}

#[tokio::test]
async fn the_official_client_pays_an_offer_of_version_2() {
    pays(Client::Current, Version::V2).await;
}

#[tokio::test]
async fn the_official_client_pays_an_offer_of_version_1() {
    pays(Client::Current, Version::V1).await;
}

#[tokio::test]
async fn the_legacy_client_pays_an_offer_of_version_1() {
    pays(Client::Legacy, Version::V1).await;
}

#[tokio::test]
async fn the_official_clients_keep_to_their_spending_limits() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    for (client, version, price) in [
        (Client::Current, Version::V2, 1_000_001),
        (Client::Legacy, Version::V1, 100_001),
    ] {
        let seller = Seller::start(&facilitator, chain.offer(version, price)).await;
        let refusal = official::pay(client, chain.payer(0), &Request::get(&seller.url)).await;
        assert!(refusal.is_err(), "{client:?}: {refusal:?}");
    }
    assert_eq!(chain.transfers().await, []);
}
