//! Purchases that clients give a name: bought once, and for nobody else.

use hypervisor_client::protocol::{Problem, ProblemType};
use hypervisor_tests::Answer;
use hypervisor_tests::payments::official::{self, Client, Request};
use hypervisor_tests::payments::sign::{decode_header, encode_header};
use hypervisor_tests::payments::{Payer, Payment, Version};
use serde_json::json;

use crate::payments::agents::Call;
use crate::payments::kit::{PRICE, Shop, asked};

const NAME: &str = "order-0000000000001";

/// A payment that calls the purchase `name`.
fn named(payer: &Payer, offer: &serde_json::Value, name: &str) -> String {
    let payment = Payment::for_offer(payer, offer);
    let mut header = decode_header(&payment.header().1);
    header["extensions"] = json!({"payment-identifier": {"info": {"required": false, "id": name}}});
    encode_header(&header)
}

async fn offer(call: &Call) -> serde_json::Value {
    let answer = call.send(&[]).await;
    asked(&answer, Version::V2)["accepts"][0].clone()
}

async fn buy(call: &Call, payer: &Payer, name: &str) -> Answer {
    let payment = named(payer, &offer(call).await, name);
    call.send(&[("payment-signature", &payment)]).await
}

#[tokio::test]
async fn the_official_client_that_names_its_purchase_gets_the_answer_again_and_pays_once() {
    let shop = Shop::open();
    shop.sell("http-echo", "").await;
    let payer = shop.chain.payer(0).clone();
    let url = shop.host.agent("http-echo", "/");
    let request = |body| Request {
        url: &url,
        method: "POST",
        headers: &[],
        body: Some(body),
    };
    let first = official::pay_as(NAME, &payer, &request(b"one")).await;
    let first = first.unwrap();
    assert_eq!((first.status, &*first.body), (200, &b"one"[..]));
    let again = official::pay_as(NAME, &payer, &request(b"one")).await;
    let again = again.unwrap();
    assert_eq!((again.status, &*again.body), (200, &b"one"[..]));
    let receipt = |answer: &Answer| answer.headers["payment-response"].clone();
    assert_eq!(receipt(&first), receipt(&again));
    let other = official::pay_as(NAME, &payer, &request(b"two")).await;
    let other = other.unwrap();
    let problem: Problem = serde_json::from_slice(&other.body).unwrap();
    assert_eq!(other.status, 409);
    assert_eq!(problem.kind, ProblemType::PaymentReused.uri());
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn what_is_named_is_judged_by_the_official_validators_and_may_be_required() {
    let shop = Shop::with("[payments.settings]\nPAYMENT_IDENTIFIER = 'required'");
    shop.sell(
        "http-hello",
        "media_type = 'text/plain'\nskills = ['greets']",
    )
    .await;
    let call = Call::get(&shop, "http-hello", "/");
    let challenge = asked(&call.send(&[]).await, Version::V2);
    let none: [&str; 0] = [];
    assert_eq!(official::problems(&challenge["extensions"]).await, none);
    assert_eq!(challenge["resource"]["mimeType"], "text/plain");
    assert_eq!(challenge["resource"]["tags"], json!(["greets"]));
    let required = &challenge["extensions"]["payment-identifier"]["info"]["required"];
    assert_eq!(required, true);
    let payer = shop.chain.payer(0);
    let url = shop.host.agent("http-hello", "/");
    let request = Request::get(&url);
    let nameless = official::pay(Client::Current, payer, &request).await;
    assert_eq!(nameless.unwrap().status, 400);
    assert_eq!(shop.chain.transfers().await.len(), 0);
    let bought = official::pay_as(NAME, payer, &request).await.unwrap();
    assert_eq!(bought.status, 200);
}

#[tokio::test]
async fn the_name_of_anothers_purchase_gets_nothing_of_it() {
    let shop = Shop::open();
    shop.sell("http-echo", "").await;
    let (alice, mallory) = (shop.chain.payer(0), shop.chain.payer(1));
    let call = Call::post(&shop, "http-echo", b"mine");
    assert_eq!(buy(&call, alice, NAME).await.status, 200);
    // The same request by the same name, and somebody else pays: it is a purchase of their own, that they pay for.
    let balance = shop.chain.balance_of(mallory.address()).await;
    assert_eq!(buy(&call, mallory, NAME).await.status, 200);
    let after = shop.chain.balance_of(mallory.address()).await;
    assert_eq!(after, balance - 2 * PRICE);
    // A payment that only says that it is the buyer's.
    let genuine = Payment::for_offer(mallory, &offer(&call).await);
    let mut forged = decode_header(&genuine.header().1);
    forged["payload"]["authorization"]["from"] = alice.address().to_string().into();
    forged["extensions"] = json!({"payment-identifier": {"info": {"required": false, "id": NAME}}});
    let forged = encode_header(&forged);
    let answer = call.send(&[("payment-signature", &forged)]).await;
    assert_eq!(answer.status, 402, "{answer:?}");
    assert!(answer.body != b"mine");
    assert_eq!(shop.chain.transfers().await.len(), 2);
}

#[tokio::test]
async fn one_name_sent_twice_at_once_with_two_payments_is_bought_once() {
    let shop = Shop::with("unsettled = 2");
    shop.sell("http-echo", "").await;
    let payer = shop.chain.payer(0);
    let call = Call::post(&shop, "http-echo", b"once");
    let (one, other) = tokio::join!(buy(&call, payer, NAME), buy(&call, payer, NAME));
    assert_eq!((one.status, other.status), (200, 200), "{one:?} {other:?}");
    assert_eq!(one.body, other.body);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}
