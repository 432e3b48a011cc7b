//! One payment, one execution, one settlement: whatever happens.

use std::collections::HashSet;

use hypervisor_tests::payments::faulty::{self, Fault, Reply};
use hypervisor_tests::payments::{Chain, Facilitator, Version};
use hypervisor_tests::{Answer, Host};
use tokio::task::JoinSet;

use hypervisor_tests::agents::manifest;
use hypervisor_tests::programs::guest;

use crate::payments::agents::Call;
use crate::payments::kit::{Purchase, Shop, config, confirmed, header};

#[tokio::test]
async fn the_same_payment_and_request_at_once_run_once_settle_once_and_get_one_answer() {
    let shop = Shop::open();
    let purchase = std::sync::Arc::new(Purchase::of_echo(&shop.host, "once").await);
    let payment = shop.payment(&purchase).await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (purchase, payment) = (purchase.clone(), payment.clone());
        requests.spawn(async move { purchase.pay(&payment).await });
    }
    let answers = requests.join_all().await;
    let bodies: HashSet<&[u8]> = answers
        .iter()
        .map(|answer| answer.body.as_slice())
        .collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(bodies.len(), 1);
    assert_eq!(purchase.opened(&answers[0]).result, b"once\n");
    assert_eq!(shop.chain.transfers().await.len(), 1);
    assert_eq!(shop.facilitator.calls().await.settle, 1);
}

#[tokio::test]
async fn one_payment_with_fifty_requests_at_once_pays_for_one() {
    let shop = Shop::open();
    let mut requests = JoinSet::new();
    let first = Purchase::of_echo(&shop.host, "x").await;
    let payment = shop.payment(&first).await;
    for n in 0..50 {
        let purchase = Purchase::of_echo(&shop.host, &n.to_string()).await;
        let payment = payment.clone();
        requests.spawn(async move { purchase.pay(&payment).await });
    }
    let answers = requests.join_all().await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!(served.len(), 1);
    assert!(
        refused
            .iter()
            .all(|a| (a.status, a.problem().as_str()) == (409, "payment-reused"))
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_retry_gets_the_same_answer_without_asking_the_facilitator() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "again").await;
    let payment = shop.payment(&purchase).await;
    let first = purchase.pay(&payment).await;
    let calls = shop.facilitator.calls().await;
    let second = purchase.pay(&payment).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(
        header(&second, "payment-response"),
        header(&first, "payment-response")
    );
    let calls_after = shop.facilitator.calls().await;
    assert_eq!(
        (calls_after.verify, calls_after.settle),
        (calls.verify, calls.settle)
    );
}

#[tokio::test]
async fn a_settled_payment_with_another_request_is_refused() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "one").await;
    let payment = shop.payment(&purchase).await;
    purchase.opened(&purchase.pay(&payment).await);
    let other = Purchase::of_echo(&shop.host, "two").await;
    let answer = other.pay(&payment).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "payment-reused")
    );
}

#[tokio::test]
async fn an_answer_survives_a_restart() {
    let mut shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "kept").await;
    let payment = shop.payment(&purchase).await;
    let first = purchase.pay(&payment).await;
    shop.host.terminate();
    shop.host.wait();
    shop.host.kill_and_restart();
    let purchase = purchase.moved(&shop.host);
    let second = purchase.pay(&payment).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn an_answer_that_there_is_no_room_to_hold_is_given_once_and_then_its_receipt() {
    let shop = Shop::with("held_each = '100 B'");
    let purchase = Purchase::of_echo(&shop.host, "large").await;
    let payment = shop.payment(&purchase).await;
    let first = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&first).result, b"large\n");
    let second = purchase.pay(&payment).await;
    assert_eq!(
        (second.status, second.problem().as_str()),
        (409, "answer-gone")
    );
    assert_eq!(
        header(&second, "payment-response"),
        header(&first, "payment-response")
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

/// A host whose facilitator can be told to misbehave.
async fn held_up() -> (Chain, Facilitator, faulty::Facilitator, Host) {
    held_up_with("").await
}

pub(crate) async fn held_up_with(more: &str) -> (Chain, Facilitator, faulty::Facilitator, Host) {
    let chain = Chain::start();
    let real = Facilitator::start(&chain);
    let faulty = faulty::Facilitator::start(Some(real.url())).await;
    let more = format!("{}\n{more}", confirmed(&chain));
    let host = Host::with(&config(&chain, &faulty.url(), &more));
    (chain, real, faulty, host)
}

/// Kills the host when the money has moved and it does not know yet, and starts it again.
async fn killed_after_the_settlement(
    chain: &Chain,
    faulty: &faulty::Facilitator,
    host: &mut Host,
    asked: impl Future<Output = reqwest::Result<Answer>>,
) {
    faulty.on_settle(Fault::none().held());
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => panic!("answered before it was settled: {answer:?}"),
        () = faulty.held(1) => {}
    }
    assert_eq!(chain.transfers().await.len(), 1);
    host.kill_and_restart();
    let answer = asked.await;
    assert!(answer.is_err(), "{answer:?}");
    faulty.release();
    faulty.on_settle(Fault::none());
}

#[tokio::test]
async fn a_host_killed_between_settlement_and_answer_has_the_answer_after_it() {
    let (chain, _real, faulty, mut host) = held_up().await;
    let purchase = Purchase::of_echo(&host, "paid").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    let (name, value) = payment.header();
    let headers = [(name, value.as_str())];
    let asked = purchase.try_send(&headers);
    killed_after_the_settlement(&chain, &faulty, &mut host, asked).await;

    let purchase = purchase.moved(&host);
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"paid\n");
    let transfer = &chain.transfers().await[0];
    assert_eq!(
        header(&answer, "payment-response")["transaction"],
        transfer.transaction
    );
    assert_eq!(chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_request_paid_first_whose_session_ended_with_the_host_is_answered_with_its_receipt() {
    let (chain, _real, faulty, mut host) = held_up_with("settle_first = true").await;
    let purchase = Purchase::of_echo(&host, "paid").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    let (name, value) = payment.header();
    let headers = [(name, value.as_str())];
    let asked = purchase.try_send(&headers);
    killed_after_the_settlement(&chain, &faulty, &mut host, asked).await;

    let purchase = purchase.moved(&host);
    for _ in 0..2 {
        // Nobody waits for the turn on a payment that it holds itself.
        let answer = purchase.pay(&payment).await;
        assert_eq!(answer.problem(), "unknown-session");
        assert_eq!(
            header(&answer, "payment-response")["transaction"],
            chain.transfers().await[0].transaction
        );
    }
    // What was paid for is owed: another request of the route has it, once.
    let other = Purchase::of_echo(&host, "owed").await;
    let answer = other.pay(&payment).await;
    assert_eq!(other.opened(&answer).result, b"owed\n");
    let third = Purchase::of_echo(&host, "once").await;
    assert_eq!(third.pay(&payment).await.problem(), "payment-reused");
    assert_eq!(chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn the_same_request_with_a_new_payment_gets_its_answer_and_is_not_charged_again() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "mine").await;
    let (payment, another) = (shop.payment(&purchase).await, shop.payment(&purchase).await);
    let first = purchase.pay(&payment).await;
    let again = purchase.pay(&another).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(
        header(&again, "payment-response"),
        header(&first, "payment-response")
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_sealed_request_that_was_paid_for_gets_its_answer_without_a_payment() {
    let mut shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "mine").await;
    let first = purchase.pay(&shop.payment(&purchase).await).await;
    let again = purchase.send(&[]).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(
        header(&again, "payment-response"),
        header(&first, "payment-response")
    );
    // And from a host that was killed meanwhile.
    shop.host.kill_and_restart();
    let purchase = purchase.moved(&shop.host);
    let again = purchase.send(&[]).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    // Others are asked to pay.
    let other = Purchase::of_echo(&shop.host, "mine").await;
    assert_eq!(other.send(&[]).await.status, 402);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_paid_call_of_an_agent_whose_host_was_killed_before_the_answer_is_answered() {
    let (chain, real, faulty, host) = held_up().await;
    let mut shop = Shop {
        chain,
        facilitator: real,
        host,
    };
    let component = guest("http-hello");
    let manifest = manifest("hello", "price = '0.02 USDC'");
    shop.host.register("hello", &component, &manifest);
    shop.host.client().deploy_registered("hello").await.unwrap();
    let call = Call::get(&shop, "hello", "/x");
    let payment = call.payment(&shop, Version::V2).await;
    faulty.on_settle(Fault::none().held());
    {
        let asked = call.pay(&payment);
        tokio::select! {
            answer = asked => panic!("answered before it was settled: {answer:?}"),
            () = faulty.held(1) => {}
        }
    }
    shop.host.kill_and_restart();
    faulty.release();
    faulty.on_settle(Fault::none());
    // The answer was in the clear and ended with the host, which has no key of its platform's; the call is made again.
    shop.host.client().deploy_registered("hello").await.unwrap();
    let answer = Call::get(&shop, "hello", "/x").pay(&payment).await;
    assert_eq!(
        (answer.status, &*answer.body),
        (200, &b"hello from GET /x\n"[..])
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_host_killed_while_the_program_runs_leaves_the_payment_free() {
    let mut shop = Shop::open();
    let purchase = Purchase::of(
        &shop.host,
        &hypervisor_tests::programs::guest("sleepy"),
        &[b"60000"],
    )
    .await;
    let payment = shop.payment(&purchase).await;
    let (name, value) = payment.header();
    {
        let headers = [(name, value.as_str())];
        let request = purchase.try_send(&headers);
        tokio::pin!(request);
        let verified = async {
            while shop.facilitator.calls().await.verify == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = &mut request => panic!("{answer:?}"),
            () = verified => {}
        }
    }
    shop.host.kill_and_restart();
    let other = Purchase::of_echo(&shop.host, "free again").await;
    assert_eq!(
        other.opened(&other.pay(&payment).await).result,
        b"free again\n"
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_settled_finds_its_answer_later() {
    let (chain, _real, faulty, host) = held_up().await;
    let purchase = Purchase::of_echo(&host, "later").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    faulty.on_settle(Fault::none().held());
    {
        let (name, value) = payment.header();
        let headers = [(name, value.as_str())];
        let request = purchase.try_send(&headers);
        tokio::select! {
            answer = request => panic!("answered before it was settled: {answer:?}"),
            () = faulty.held(1) => {}
        }
        // Dropped here: the connection closes.
    }
    faulty.release();
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"later\n");
    assert_eq!(chain.transfers().await.len(), 1);
    assert_eq!(faulty.settle_calls(), 1);
}

#[tokio::test]
async fn a_settlement_that_was_refused_for_certain_leaves_nothing_behind() {
    let (chain, _real, faulty, host) = held_up().await;
    let purchase = Purchase::of_echo(&host, "hello").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    faulty.next_settle(Fault::instead(Reply::Json(
        200,
        serde_json::json!({
            "success": false, "errorReason": "insufficient_funds", "transaction": "",
            "network": "eip155:84532", "payer": payment.authorization.from.to_string(),
        }),
    )));
    let answer = purchase.pay(&payment).await;
    assert_eq!(answer.status, 402);
    let failure = header(&answer, "payment-response");
    assert_eq!(
        (&failure["success"], &failure["errorReason"]),
        (&false.into(), &"insufficient_funds".into())
    );
    let other = Purchase::of_echo(&host, "now").await;
    assert_eq!(other.opened(&other.pay(&payment).await).result, b"now\n");
    assert_eq!(chain.transfers().await.len(), 1);
}
