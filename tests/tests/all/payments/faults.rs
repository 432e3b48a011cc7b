//! Facilitators that fail or lie: what is served is paid for, and nothing is paid for twice.

use hypervisor_tests::Host;
use hypervisor_tests::payments::faulty::{self, Fault, Reply, lies};
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};

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

/// The settlement is made and the answer is lost in this way: the client gets what was paid for, and is asked for no new
/// signature.
async fn a_lost_answer_is_found_on_the_chain(reply: Reply) {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("kept").await;
    scene.faulty.next_settle(Fault::after(reply));
    let answer = purchase.pay(&payment).await;
    let opened = purchase.opened(&answer);
    assert_eq!(opened.result, b"kept\n");
    assert_eq!(opened.report.payment.unwrap().transaction, None);
    let transfers = scene.chain.transfers().await;
    assert_eq!(transfers.len(), 1);
    let settled = crate::payments::kit::header(&answer, "payment-response");
    assert_eq!(settled["transaction"], transfers[0].transaction);
}

/// The facilitator's words for a settlement that it did not make, as it says.
fn refusal(reason: &str) -> Reply {
    let failure = serde_json::json!({
        "success": false, "errorReason": reason, "transaction": "", "network": "eip155:84532",
    });
    Reply::Json(200, failure)
}

const WORDS: [&str; 9] = [
    "invalid_exact_evm_nonce_already_used",
    "invalid_exact_evm_transaction_simulation_failed",
    "insufficient_funds",
    "invalid_exact_evm_payload_authorization_valid_before",
    "timeout",
    "rpc_error",
    "already known",
    "replacement transaction underpriced",
    "a_reason_of_tomorrow",
];

#[tokio::test]
async fn a_refusal_of_what_was_settled_is_not_believed_where_the_chain_can_be_asked() {
    let scene = Scene::new().await;
    for (made, word) in WORDS.into_iter().enumerate() {
        let (purchase, payment) = scene.purchase("paid").await;
        scene.faulty.next_settle(Fault::after(refusal(word)));
        let answer = purchase.pay(&payment).await;
        assert_eq!(answer.status, 200, "{word}: {answer:?}");
        assert_eq!(purchase.opened(&answer).result, b"paid\n", "{word}");
        assert_eq!(scene.chain.transfers().await.len(), made + 1, "{word}");
    }
}

#[tokio::test]
async fn a_word_that_is_no_refusal_for_certain_asks_for_no_second_payment() {
    let scene = Scene::without_rpc().await;
    for word in [
        "timeout",
        "rpc_error",
        "invalid_exact_evm_nonce_already_used",
    ] {
        let (purchase, payment) = scene.purchase("perhaps").await;
        scene.faulty.on_settle(Fault::after(refusal(word)));
        let answer = purchase.pay(&payment).await;
        assert_eq!(answer.problem(), "settlement-unknown", "{word}");
        assert!(!answer.headers.contains_key("payment-required"));
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
async fn settled_and_answered_with_a_proxys_error_page() {
    a_lost_answer_is_found_on_the_chain(Reply::Html(502)).await;
}

#[tokio::test]
async fn settled_and_answered_503_with_a_success_body() {
    a_lost_answer_is_found_on_the_chain(Reply::Status(503)).await;
}

#[tokio::test]
async fn settled_and_answered_with_half_of_the_json() {
    a_lost_answer_is_found_on_the_chain(Reply::Truncated).await;
}

#[tokio::test]
async fn settled_and_the_answer_breaks_off() {
    a_lost_answer_is_found_on_the_chain(Reply::CutOff).await;
}

#[tokio::test]
async fn settled_and_the_connection_drops() {
    a_lost_answer_is_found_on_the_chain(Reply::Dropped).await;
}

#[tokio::test]
async fn settled_and_answered_in_no_json() {
    a_lost_answer_is_found_on_the_chain(Reply::NotJson).await;
}

#[tokio::test]
async fn settled_and_said_to_be_pending() {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("kept").await;
    scene.faulty.next_settle(Fault::after(Reply::Pending));
    let mut answer = purchase.pay(&payment).await;
    if answer.status != 200 {
        // The chain may not have shown the transfer at the first look.
        assert_eq!(answer.problem(), "settlement-unknown");
        answer = purchase.pay(&payment).await;
    }
    assert_eq!(purchase.opened(&answer).result, b"kept\n");
    assert_eq!(scene.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn settled_and_answered_with_ten_megabytes() {
    a_lost_answer_is_found_on_the_chain(Reply::Huge(10 << 20)).await;
}

#[tokio::test]
async fn settled_and_answered_for_another_payer() {
    a_lost_answer_is_found_on_the_chain(Reply::Edited(lies::other_payer)).await;
}

#[tokio::test]
async fn settled_and_answered_for_another_network() {
    a_lost_answer_is_found_on_the_chain(Reply::Edited(lies::other_network)).await;
}

#[tokio::test]
async fn settled_and_answered_for_another_amount() {
    a_lost_answer_is_found_on_the_chain(Reply::Edited(lies::other_amount)).await;
}

#[tokio::test]
async fn settled_and_answered_with_an_odd_transaction() {
    a_lost_answer_is_found_on_the_chain(Reply::Edited(lies::odd_transaction)).await;
}

#[tokio::test]
async fn settled_and_answered_without_a_transaction() {
    a_lost_answer_is_found_on_the_chain(Reply::Edited(lies::no_transaction)).await;
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
async fn a_success_that_never_happened_is_not_believed_where_the_chain_can_be_asked() {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("not for free").await;
    scene.faulty.next_settle(Fault::instead(Reply::Json(
        200,
        serde_json::json!({
            "success": true, "transaction": format!("0x{}", "ab".repeat(32)),
            "network": "eip155:84532", "payer": payment.authorization.from.to_string(),
        }),
    )));
    // The chain knows nothing of it: the authorization is submitted for real, once.
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"not for free\n");
    assert_eq!(scene.chain.transfers().await.len(), 1);
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

/// The facilitator's verdict comes like this: the payment is neither accepted nor refused, and good a moment later.
async fn no_verdict(fault: Fault) {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("later").await;
    scene.faulty.next_verify(fault);
    let answer = purchase.pay(&payment).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "payment-unverified")
    );
    assert_eq!(scene.chain.transfers().await.len(), 0);
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"later\n");
    assert_eq!(scene.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn verified_with_an_error_page() {
    no_verdict(Fault::instead(Reply::Html(502))).await;
}

#[tokio::test]
async fn verified_503_with_a_good_body() {
    no_verdict(Fault::after(Reply::Status(503))).await;
}

#[tokio::test]
async fn verified_with_half_of_the_json() {
    no_verdict(Fault::after(Reply::Truncated)).await;
}

#[tokio::test]
async fn verified_and_the_connection_drops() {
    no_verdict(Fault::after(Reply::Dropped)).await;
}

#[tokio::test]
async fn verified_with_ten_megabytes() {
    no_verdict(Fault::after(Reply::Huge(10 << 20))).await;
}

#[tokio::test]
async fn a_verification_that_hangs_charges_nothing() {
    no_verdict(Fault::none().held()).await;
}

#[tokio::test]
async fn valid_for_another_payer_than_asked_is_not_valid() {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("no").await;
    scene
        .faulty
        .on_verify(Fault::after(Reply::Edited(lies::other_payer)));
    let answer = purchase.pay(&payment).await;
    assert!([402, 503].contains(&answer.status), "{answer:?}");
    assert_eq!(scene.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn a_verdict_in_words_is_no_yes() {
    let scene = Scene::new().await;
    let (purchase, payment) = scene.purchase("no").await;
    scene
        .faulty
        .on_verify(Fault::after(Reply::Edited(lies::verdict_in_words)));
    let answer = purchase.pay(&payment).await;
    assert!([402, 503].contains(&answer.status), "{answer:?}");
    assert_eq!(scene.chain.transfers().await.len(), 0);
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
