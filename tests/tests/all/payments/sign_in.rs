//! `sign-in-with-x`: who has paid gets again what it was for, by a signature and without the payment.

use hypervisor_tests::payments::official::{self, Request, SignIn};
use hypervisor_tests::payments::{Payer, Payment, Version};
use hypervisor_tests::{Answer, programs::guest};
use serde_json::Value;

use crate::payments::agents::Call;
use crate::payments::kit::{Purchase, Shop, asked, reason, restart};

pub(crate) const PUBLIC: &str = "https://shop.example";
const FIELD: &str = "sign-in-with-x";

/// A shop that knows by which name it is called.
pub(crate) async fn shop(more: &str) -> Shop {
    let shop = Shop::with(&format!("public_url = '{PUBLIC}'\n{more}"));
    shop.sell("http-echo", "").await;
    shop
}

/// What a challenge for the call declares.
pub(crate) async fn declared(call: &Call) -> Value {
    let challenge = asked(&call.send(&[]).await, Version::V2);
    challenge["extensions"][FIELD].clone()
}

/// The header of a proof that is made for the call now.
pub(crate) async fn proof(call: &Call, payer: &Payer) -> String {
    official::proof(payer, &declared(call).await).await
}

/// Asks by a proof alone.
pub(crate) async fn signed(call: &Call, proof: &str) -> Answer {
    call.send(&[(FIELD, proof)]).await
}

pub(crate) async fn buy(shop: &Shop, call: &Call) -> Payment {
    let payment = call.payment(shop, Version::V2).await;
    assert_eq!(call.pay(&payment).await.status, 200);
    payment
}

#[tokio::test]
async fn the_official_client_signs_in_and_gets_what_its_account_paid_for_and_nobody_else_does() {
    let shop = shop("").await;
    let (payer, other) = (shop.chain.payer(0), shop.chain.payer(1));
    let url = shop.host.agent("http-echo", "/");
    let request = |body| Request {
        url: &url,
        method: "POST",
        headers: &[],
        body: Some(body),
    };
    let ask = async |how, payer, body| {
        let answer = official::sign_in(how, payer, PUBLIC, &request(body)).await;
        answer.unwrap()
    };
    assert_eq!(ask(SignIn::Only, payer, b"one").await.status, 402);
    let bought = ask(SignIn::OrPay, payer, b"one").await;
    assert_eq!((bought.status, &*bought.body), (200, &b"one"[..]));
    for how in [SignIn::Only, SignIn::OrPay] {
        let again = ask(how, payer, b"one").await;
        assert_eq!((again.status, &*again.body), (200, &b"one"[..]));
        let receipt = |answer: &Answer| answer.headers["payment-response"].clone();
        assert_eq!(receipt(&again), receipt(&bought));
    }
    // Another request was not paid for, and another account has not paid.
    assert_eq!(ask(SignIn::Only, payer, b"two").await.status, 402);
    assert_eq!(ask(SignIn::Only, other, b"one").await.status, 402);
    assert_eq!(shop.chain.transfers().await.len(), 1);
    let calls = "hypervisor_agent_calls_total{exit=\"ok\"}";
    assert_eq!(shop.host.counter(calls).await, 1);
    assert!(
        !shop
            .host
            .log()
            .contains(&payer.address().to_string().to_lowercase()[2..])
    );
}

#[tokio::test]
async fn the_newest_purchase_is_given_and_is_found_after_a_restart() {
    let mut shop = shop("").await;
    let call = Call::post(&shop, "http-echo", b"twice");
    let first = call.pay(&call.payment(&shop, Version::V2).await).await;
    let second = call.pay(&call.payment(&shop, Version::V2).await).await;
    let receipt = |answer: &Answer| answer.headers["payment-response"].clone();
    assert_ne!(receipt(&first), receipt(&second));
    let payer = shop.chain.payer(0).clone();
    let again = signed(&call, &proof(&call, &payer).await).await;
    assert_eq!(receipt(&again), receipt(&second));
    restart(&mut shop.host);
    shop.sell("http-echo", "").await;
    let call = Call::post(&shop, "http-echo", b"twice");
    let again = signed(&call, &proof(&call, &payer).await).await;
    // A host without a key of its platform's forgets answers in the clear, and they can be bought anew.
    assert_eq!(
        (again.status, reason(&again).as_str()),
        (402, "payment_required")
    );
    buy(&shop, &call).await;
    assert_eq!(
        signed(&call, &proof(&call, &payer).await).await.body,
        b"twice"
    );
}

#[tokio::test]
async fn a_payment_is_known_again_whatever_proof_comes_with_it() {
    let shop = shop("").await;
    let payer = shop.chain.payer(0);
    let call = Call::post(&shop, "http-echo", b"both");
    let payment = call.payment(&shop, Version::V2).await;
    let (name, value) = payment.header();
    for _ in 0..2 {
        let proof = proof(&call, payer).await;
        let answer = call.send(&[(name, &value), (FIELD, &proof)]).await;
        assert_eq!((answer.status, &*answer.body), (200, &b"both"[..]));
    }
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn it_is_declared_where_it_is_of_use() {
    let shop = shop("").await;
    let call = Call::get(&shop, "http-echo", "/a?q=1");
    let declared = declared(&call).await;
    assert_eq!(declared["info"]["domain"], "shop.example");
    let uri = format!("{PUBLIC}/agents/http-echo/a");
    assert_eq!(declared["info"]["uri"], uri.as_str());
    assert_ne!(declared, self::declared(&call).await, "a nonce of its own");
    // A sealed request proves by itself whose it is.
    let purchase = Purchase::of(&shop.host, &guest("echo"), &[]).await;
    let challenge = asked(&purchase.send(&[]).await, Version::V2);
    assert_eq!(challenge["extensions"][FIELD], Value::Null);
    // Where the host does not know its name, a proof could be for another.
    let nameless = Shop::open();
    nameless.sell("http-echo", "").await;
    let call = Call::post(&nameless, "http-echo", b"mine");
    assert_eq!(self::declared(&call).await, Value::Null);
    buy(&nameless, &call).await;
    let proof = official::proof(nameless.chain.payer(0), &declared).await;
    assert_eq!(signed(&call, &proof).await.status, 402);
}
