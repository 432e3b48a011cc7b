//! Facilitators that fail or lie: what is served is paid for, and nothing is paid for twice.

use hypervisor_tests::payments::faulty::{self, Fault, Reply, lies};
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};
use hypervisor_tests::{Host, eventually};

use crate::payments::kit::{Purchase, config, confirmed, reason};

struct Scene {
    chain: Chain,
    _real: Facilitator,
    faulty: faulty::Facilitator,
    host: Host,
}

impl Scene {
    /// Settlements are confirmed on the chain.
    async fn new() -> Self {
        Self::with(confirmed).await
    }

    /// The facilitator is all there is to know.
    async fn without_rpc() -> Self {
        Self::with(|_| String::new()).await
    }

    async fn with(more: impl FnOnce(&Chain) -> String) -> Self {
        let chain = Chain::start();
        let real = Facilitator::start(&chain);
        let faulty = faulty::Facilitator::start(Some(real.url())).await;
        let more = format!("wall = '5s'\n{}", more(&chain));
        let host = Host::with(&config(&chain, &faulty.url(), &more));
        Self {
            chain,
            _real: real,
            faulty,
            host,
        }
    }

    async fn purchase(&self, word: &str) -> (Purchase, Payment) {
        let purchase = Purchase::of_echo(&self.host, word).await;
        let payment = purchase.payment(&self.chain, Version::V2).await;
        (purchase, payment)
    }
}

#[tokio::test]
async fn a_transaction_that_settled_one_payment_is_not_believed_to_have_settled_another() {
    let scene = Scene::without_rpc().await;
    let (purchase, payment) = scene.purchase("one").await;
    assert_eq!(purchase.pay(&payment).await.status, 200);
    let transaction = scene.chain.transfers().await[0].transaction.clone();
    let (purchase, payment) = scene.purchase("two").await;
    scene.faulty.on_settle(Fault::instead(Reply::Json(
        200,
        serde_json::json!({
            "success": true, "transaction": transaction, "network": "eip155:84532",
            "payer": payment.authorization.from.to_string(),
        }),
    )));
    for _ in 0..2 {
        let answer = purchase.pay(&payment).await;
        assert_eq!(answer.problem(), "settlement-unknown");
    }
    assert_eq!(scene.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_settlement_that_hangs_is_in_doubt_and_is_found_on_the_chain() {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("kept").await;
    scene.faulty.next_settle(Fault::none().held());
    let answer = purchase.pay(&payment).await;
    assert_eq!(answer.problem(), "settlement-unknown");
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"kept\n");
    assert_eq!(scene.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn settled_first_and_in_doubt_the_same_request_is_answered_when_it_is_found_on_the_chain() {
    let settle_first = |chain: &Chain| format!("settle_first = true\n{}", confirmed(chain));
    let scene = Scene::with(settle_first).await;
    let (purchase, payment) = scene.purchase("kept").await;
    scene.faulty.on_settle(Fault::instead(Reply::Html(502)));
    let answer = purchase.pay(&payment).await;
    assert_eq!(answer.problem(), "settlement-unknown");
    scene.faulty.on_settle(Fault::none());
    let answer = eventually("the doubt is cleared", async || {
        let answer = purchase.pay(&payment).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!(purchase.opened(&answer).result, b"kept\n");
    assert_eq!(scene.chain.transfers().await.len(), 1);
    // It was answered once: its sequence is used now, and the answer is the one that was kept.
    let again = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&again).result, b"kept\n");
    assert_eq!(purchase.send(&[]).await.status, 200);
}

#[tokio::test]
async fn a_lost_answer_stays_in_doubt_without_an_rpc_endpoint_and_is_never_paid_twice() {
    let scene = Scene::without_rpc().await;
    let (purchase, payment) = scene.purchase("perhaps").await;
    scene.faulty.on_settle(Fault::after(Reply::Html(502)));
    for _ in 0..3 {
        let answer = purchase.pay(&payment).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "settlement-unknown")
        );
    }
    assert_eq!(scene.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn in_doubt_another_request_does_not_get_the_payment() {
    let scene = Scene::without_rpc().await;
    let (purchase, payment) = scene.purchase("perhaps").await;
    scene.faulty.on_settle(Fault::after(Reply::Html(502)));
    purchase.pay(&payment).await;
    let other = Purchase::of_echo(&scene.host, "other").await;
    let answer = other.pay(&payment).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "payment-reused")
    );
}

/// The facilitator's verdicts come like this: the payment is neither accepted nor refused, and good a moment later.
async fn no_verdict(faults: Vec<Fault>) {
    let scene = Scene::new().await;
    for (paid, fault) in faults.into_iter().enumerate() {
        let (purchase, payment) = scene.purchase("later").await;
        scene.faulty.next_verify(fault);
        let answer = purchase.pay(&payment).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "payment-unverified")
        );
        assert_eq!(scene.chain.transfers().await.len(), paid);
        let answer = purchase.pay(&payment).await;
        assert_eq!(purchase.opened(&answer).result, b"later\n");
        assert_eq!(scene.chain.transfers().await.len(), paid + 1);
    }
}

#[tokio::test]
async fn an_answer_without_a_verdict_charges_nothing_and_the_payment_is_still_good() {
    no_verdict(vec![
        Fault::instead(Reply::Html(502)),
        Fault::after(Reply::Status(503)),
        Fault::after(Reply::Truncated),
        Fault::after(Reply::Dropped),
        Fault::after(Reply::Huge(10 << 20)),
        Fault::after(Reply::Edited(lies::other_payer)),
        Fault::after(Reply::Edited(lies::verdict_in_words)),
    ])
    .await;
}

#[tokio::test]
async fn a_verification_that_hangs_charges_nothing() {
    no_verdict(vec![Fault::none().held()]).await;
}

#[tokio::test]
async fn reasons_of_other_facilitators_are_passed_on() {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("no").await;
    scene.faulty.on_verify(Fault::instead(Reply::Json(
        400,
        serde_json::json!({"isValid": false, "invalidReason": "a_reason_of_its_own"}),
    )));
    let answer = purchase.pay(&payment).await;
    assert_eq!(
        (answer.status, reason(&answer).as_str()),
        (402, "a_reason_of_its_own")
    );
}

#[tokio::test]
async fn a_facilitator_that_is_down_at_the_start_and_later_costs_no_payment() {
    let chain = Chain::start();
    let real = Facilitator::start(&chain);
    let mut faulty = faulty::Facilitator::down(Some(real.url())).await;
    let host = Host::with(&config(&chain, &faulty.url(), &confirmed(&chain)));
    let purchase = Purchase::of_echo(&host, "patience").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    assert_eq!(purchase.pay(&payment).await.problem(), "payment-unverified");
    faulty.restart().await;
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"patience\n");
    faulty.stop().await;
    let (purchase, payment) = {
        let purchase = Purchase::of_echo(&host, "again").await;
        let payment = purchase.payment(&chain, Version::V2).await;
        (purchase, payment)
    };
    assert_eq!(purchase.pay(&payment).await.problem(), "payment-unverified");
    assert_eq!(chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_second_facilitator_takes_over_from_one_that_is_down() {
    let chain = Chain::start();
    let real = Facilitator::start(&chain);
    let down = faulty::Facilitator::down(None).await;
    let both = format!("{}', '{}", down.url(), real.url());
    let host = Host::with(&config(&chain, &both, &confirmed(&chain)));
    let purchase = Purchase::of_echo(&host, "served").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"served\n");
}
