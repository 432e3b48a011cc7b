//! The facilitator that misbehaves.

use hypervisor_tests::payments::faulty::{self, Call, Fault, Reply, lies};
use hypervisor_tests::payments::oracle::PRICE;
use hypervisor_tests::payments::{Address, Chain, Facilitator, Payment, Version};
use hypervisor_tests::raw;
use serde_json::{Value, json};

/// A faulty facilitator in front of a real one, and payments to send it.
struct Faulty {
    chain: Chain,
    _real: Facilitator,
    faulty: faulty::Facilitator,
    offer: Value,
    http: reqwest::Client,
}

impl Faulty {
    async fn start() -> Self {
        let chain = Chain::start();
        let real = Facilitator::start(&chain);
        Self {
            faulty: faulty::Facilitator::start(Some(real.url())).await,
            offer: chain.offer(Version::V2, PRICE),
            chain,
            _real: real,
            http: reqwest::Client::new(),
        }
    }

    /// A request to settle a new payment.
    fn settle(&self) -> reqwest::RequestBuilder {
        let question = Payment::for_offer(self.chain.payer(0), &self.offer).question(&self.offer);
        self.http
            .post(format!("{}/settle", self.faulty.url()))
            .body(question.to_string())
    }

    /// Status and body of the answer to a new payment's settlement.
    async fn settled(&self) -> (u16, Vec<u8>) {
        let answer = self.settle().send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.bytes().await.unwrap().to_vec(),
        )
    }

    async fn payments(&self) -> usize {
        self.chain.transfers().await.len()
    }
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn without_a_fault_the_real_facilitator_answers() {
    let rig = Faulty::start().await;
    let (status, body) = rig.settled().await;
    assert_eq!((status, &parse(&body)["success"]), (200, &json!(true)));
    assert_eq!(rig.payments().await, 1);
    let supported = format!("{}/supported", rig.faulty.url());
    let supported = rig.http.get(supported).send().await.unwrap();
    assert!(!parse(&supported.bytes().await.unwrap())["signers"].is_null());
    assert_eq!(
        (rig.faulty.verify_calls(), rig.faulty.settle_calls()),
        (0, 1)
    );
    let received = rig.faulty.received(Call::Settle);
    assert_eq!(received[0]["paymentRequirements"], rig.offer);
}

#[tokio::test]
async fn a_wrong_answer_can_hide_a_payment_that_was_made_or_come_in_place_of_it() {
    let rig = Faulty::start().await;
    let wrong = |body: &[u8]| serde_json::from_slice::<Value>(body).is_err();
    for (made, fault) in [(1, Fault::after as fn(Reply) -> Fault), (0, Fault::instead)] {
        let before = rig.payments().await;

        rig.faulty.next_settle(fault(Reply::Html(502)));
        let (status, body) = rig.settled().await;
        assert!(status == 502 && wrong(&body) && body.starts_with(b"<html>"));

        rig.faulty.next_settle(fault(Reply::Status(503)));
        let (status, body) = rig.settled().await;
        assert_eq!((status, &parse(&body)["success"]), (503, &json!(true)));

        rig.faulty.next_settle(fault(Reply::Truncated));
        let (status, body) = rig.settled().await;
        assert!(status == 200 && wrong(&body) && body.starts_with(b"{"));

        rig.faulty.next_settle(fault(Reply::NotJson));
        let (status, body) = rig.settled().await;
        assert!(status == 200 && wrong(&body));

        rig.faulty.next_settle(fault(Reply::Huge(10 << 20)));
        let (status, body) = rig.settled().await;
        assert!(status == 200 && body.len() > 10 << 20);
        assert_eq!(parse(&body)["success"], true);

        rig.faulty.next_settle(fault(Reply::Pending));
        let (_, body) = rig.settled().await;
        assert_eq!(parse(&body)["errorReason"], "settlement_pending");
        assert_eq!(parse(&body)["transaction"].as_str().unwrap().len(), 66);

        rig.faulty.next_settle(fault(Reply::Dropped));
        assert!(rig.settle().send().await.is_err());

        rig.faulty.next_settle(fault(Reply::CutOff));
        let answer = rig.settle().send().await.unwrap();
        assert!(answer.status().is_success() && answer.bytes().await.is_err());

        assert_eq!(rig.payments().await - before, 8 * made);
    }
}

#[tokio::test]
async fn an_answer_can_be_about_another_payment() {
    let rig = Faulty::start().await;
    let lie = async |lie: fn(&mut Value), field: &str| {
        rig.faulty.next_settle(Fault::after(Reply::Edited(lie)));
        let (_, body) = rig.settled().await;
        parse(&body)[field].as_str().unwrap().to_owned()
    };
    let somebody: Address = lie(lies::other_payer, "payer").await.parse().unwrap();
    assert_ne!(somebody, rig.chain.payer(0).address());
    assert_eq!(lie(lies::other_network, "network").await, "eip155:1");
    assert_eq!(lie(lies::other_amount, "amount").await, "1");
    assert_eq!(lie(lies::odd_transaction, "transaction").await, "0x1234");
    assert_eq!(lie(lies::no_transaction, "transaction").await, "");
    assert_eq!(lie(lies::verdict_in_words, "success").await, "true");
}

#[tokio::test]
async fn a_held_call_has_done_its_work_and_answers_when_released() {
    let rig = Faulty::start().await;
    rig.faulty.on_settle(Fault::after(Reply::AsIs).held());
    let call = tokio::spawn(rig.settle().send());
    rig.faulty.held(1).await;
    assert_eq!(rig.payments().await, 1);
    assert!(!call.is_finished());
    rig.faulty.release();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_work() {
    let rig = Faulty::start().await;
    rig.faulty.on_settle(Fault::after(Reply::AsIs).held());
    let call = tokio::spawn(rig.settle().send());
    rig.faulty.settle_arrived(1).await;
    call.abort();
    rig.faulty.held(1).await;
    assert_eq!(rig.payments().await, 1);
}

#[tokio::test]
async fn an_answer_can_trickle() {
    let rig = Faulty::start().await;
    rig.faulty.on_settle(Fault::after(Reply::Trickled));
    let mut answer = rig.settle().send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(serde_json::from_slice::<Value>(&first).is_err());
    rig.faulty.release();
    let rest = answer.bytes().await.unwrap();
    assert_eq!(parse(&[first, rest].concat())["success"], true);
}

#[tokio::test]
async fn faults_come_in_the_order_planned_and_then_the_usual_one() {
    let facilitator = faulty::Facilitator::start(None).await;
    facilitator.on_verify(Fault::instead(Reply::Json(200, json!({"isValid": false}))));
    facilitator.next_verify(Fault::instead(Reply::Html(500)));
    facilitator.next_verify(Fault::none());
    let http = reqwest::Client::new();
    let url = format!("{}/verify", facilitator.url());
    let ask = || raw::post(&http, &url, "application/json", b"{}".to_vec());
    assert_eq!(ask().await.status, 500);
    assert_eq!(parse(&ask().await.body)["isValid"], true);
    for _ in 0..2 {
        assert_eq!(parse(&ask().await.body)["isValid"], false);
    }
    assert_eq!(facilitator.verify_calls(), 4);
    assert_eq!(facilitator.received(Call::Verify), vec![json!({}); 4]);
}

#[tokio::test]
async fn a_facilitator_that_is_down_refuses_connections_and_comes_back_at_the_same_address() {
    let mut facilitator = faulty::Facilitator::down(None).await;
    let (http, url) = (
        reqwest::Client::new(),
        format!("{}/supported", facilitator.url()),
    );
    let get = || http.get(&url).send();
    for _ in 0..3 {
        assert!(get().await.unwrap_err().is_connect());
        facilitator.restart().await;
        assert_eq!(get().await.unwrap().status(), 200);
        facilitator.stop().await;
    }
}
