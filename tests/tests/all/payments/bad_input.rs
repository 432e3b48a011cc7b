//! Payments bent out of shape: refused with a reason, nothing run, nothing charged, and the next one is served.

use base64::prelude::{BASE64_STANDARD, Engine};
use hypervisor_tests::Answer;
use hypervisor_tests::payments::sign::encode_header;
use hypervisor_tests::payments::{Payment, Version};
use serde_json::{Value, json};

use crate::payments::kit::{PYTHON, Purchase, Shop, asked, reason};

async fn served_afterwards(shop: &Shop) {
    let purchase = Purchase::of_echo(&shop.host, "and on").await;
    let before = shop.chain.transfers().await.len();
    let answer = purchase.pay(&shop.payment(&purchase).await).await;
    assert_eq!(purchase.opened(&answer).result, b"and on\n");
    assert_eq!(shop.chain.transfers().await.len(), before + 1);
}

fn is_refused(what: &str, answer: &Answer) {
    assert!([400, 402].contains(&answer.status), "{what}: {answer:?}");
    assert_eq!(asked(answer, Version::V1)["x402Version"], 1, "{what}");
    assert!(!reason(answer).is_empty(), "{what}: {answer:?}");
}

type Bend = fn(&mut Value);

#[tokio::test]
async fn payloads_that_say_something_else_are_refused() {
    let rows: &[(&str, Bend)] = &[
        ("unknown version", |p| p["x402Version"] = 3.into()),
        ("version in words", |p| p["x402Version"] = "2".into()),
        ("unknown scheme", |p| {
            p["accepted"]["scheme"] = "upto".into()
        }),
        ("unknown network", |p| {
            p["accepted"]["network"] = "eip155:1".into()
        }),
        ("another asset", |p| {
            p["accepted"]["asset"] = format!("0x{}", "11".repeat(20)).into()
        }),
        ("another recipient", |p| {
            p["accepted"]["payTo"] = format!("0x{}", "11".repeat(20)).into()
        }),
        ("less than asked", |p| p["accepted"]["amount"] = "1".into()),
        ("a number for an amount", |p| {
            p["payload"]["authorization"]["value"] = 10_000.into()
        }),
        ("an amount above 256 bits", |p| {
            p["payload"]["authorization"]["value"] = "9".repeat(80).into()
        }),
        ("a negative amount", |p| {
            p["payload"]["authorization"]["value"] = "-10000".into()
        }),
        ("an amount in hexadecimal", |p| {
            p["payload"]["authorization"]["value"] = "0x2710".into()
        }),
        ("an amount with a leading zero", |p| {
            p["payload"]["authorization"]["value"] = "010000".into()
        }),
        ("no authorization", |p| {
            p["payload"]
                .as_object_mut()
                .unwrap()
                .remove("authorization");
        }),
        ("no signature", |p| {
            p["payload"].as_object_mut().unwrap().remove("signature");
        }),
        ("no nonce", |p| {
            p["payload"]["authorization"]
                .as_object_mut()
                .unwrap()
                .remove("nonce");
        }),
        ("a short nonce", |p| {
            p["payload"]["authorization"]["nonce"] = "0x11".into()
        }),
        ("no payload", |p| {
            p.as_object_mut().unwrap().remove("payload");
        }),
        ("nothing accepted", |p| {
            p.as_object_mut().unwrap().remove("accepted");
        }),
        ("a list", |p| *p = json!([1, 2, 3])),
        ("null", |p| *p = Value::Null),
    ];
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "no").await;
    let payment = shop.payment(&purchase).await;
    for (what, bend) in rows {
        let mut payload = payment.payload();
        bend(&mut payload);
        let answer = purchase
            .send(&[("payment-signature", &encode_header(&payload))])
            .await;
        is_refused(what, &answer);
    }
    assert_eq!(shop.chain.transfers().await.len(), 0);
    served_afterwards(&shop).await;
}

#[tokio::test]
async fn headers_that_cannot_be_read_are_refused() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "no").await;
    let payment = shop.payment(&purchase).await;
    let payload = payment.payload().to_string();
    let twice = payload.replacen(
        "\"x402Version\":2",
        "\"x402Version\":2,\"x402Version\":2",
        1,
    );
    assert_ne!(twice, payload);
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let rows = [
        ("no base64", "?".to_owned()),
        (
            "base64 without its padding",
            BASE64_STANDARD
                .encode("{} ")
                .trim_end_matches('=')
                .to_owned()
                + "x",
        ),
        ("no JSON", BASE64_STANDARD.encode("not JSON")),
        ("not UTF-8", BASE64_STANDARD.encode([0xff, 0xfe])),
        ("a key twice", BASE64_STANDARD.encode(twice)),
        ("deeply nested", BASE64_STANDARD.encode(deep)),
        ("empty", String::new()),
        ("100 KB", BASE64_STANDARD.encode(vec![b' '; 75_000])),
    ];
    for (what, value) in &rows {
        let answer = purchase.send(&[("payment-signature", value)]).await;
        is_refused(what, &answer);
    }
    served_afterwards(&shop).await;
}

#[tokio::test]
async fn a_header_of_ten_megabytes_is_refused_and_the_host_lives() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "no").await;
    let large = "A".repeat(10 << 20);
    // The connection may be closed before all of it was sent.
    if let Ok(answer) = purchase.try_send(&[("payment-signature", &large)]).await {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    served_afterwards(&shop).await;
}

#[tokio::test]
async fn two_payments_that_disagree_are_refused() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "no").await;
    let v2 = purchase.payment(&shop.chain, Version::V2).await.header();
    let v1 = purchase.payment(&shop.chain, Version::V1).await.header();
    let answer = purchase.send(&[(v2.0, &v2.1), (v1.0, &v1.1)]).await;
    is_refused("both versions", &answer);
    let other = purchase.payment(&shop.chain, Version::V2).await.header();
    let answer = purchase.send(&[(v2.0, &v2.1), (other.0, &other.1)]).await;
    is_refused("one header twice", &answer);
    assert_eq!(shop.chain.transfers().await.len(), 0);
    served_afterwards(&shop).await;
}

#[tokio::test]
async fn a_payment_for_a_cheaper_route_does_not_pay_for_another() {
    let script = hypervisor_tests::programs::python_plugin();
    let shop = Shop::with(&format!(
        "[payments.prices]\n'{PYTHON}' = '0.02 USDC'\n[runtime.python]\n{script}"
    ));
    let cheap = Purchase::of_echo(&shop.host, "cheap").await;
    let payment = shop.payment(&cheap).await;
    let dear = Purchase::of_script(&shop.host, "print('dear')").await;
    is_refused("another route", &dear.pay(&payment).await);
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn the_specifications_example_and_its_placeholders_are_refused() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "no").await;
    let offer = purchase.offer(Version::V2).await;
    let mut payment = Payment::for_offer(shop.chain.payer(0), &offer);
    let signature = "2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c";
    payment.tamper =
        hypervisor_tests::payments::sign::Tamper::Other(const_hex::decode(signature).unwrap());
    is_refused("a placeholder", &purchase.pay(&payment).await);
    payment.authorization.valid_after = 1_740_672_089;
    payment.authorization.valid_before = 1_740_672_154;
    is_refused("long expired", &purchase.pay(&payment).await);
}

#[tokio::test]
async fn other_methods_of_a_paid_route_run_nothing() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "no").await;
    let (name, value) = shop.payment(&purchase).await.header();
    let http = reqwest::Client::new();
    // Whoever only looks is told what it costs.
    for (method, status) in [
        (reqwest::Method::HEAD, 402),
        (reqwest::Method::GET, 402),
        (reqwest::Method::PUT, 405),
    ] {
        let answer = http
            .request(method, &purchase.url)
            .header(name, &value)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
    }
    assert_eq!(shop.facilitator.calls().await.verify, 0);
}
