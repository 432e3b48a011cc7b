//! Payments, and who can take, spend or repeat one.

use bhttp::Mode;
use hypervisor_client::protocol::{ContentFormat, Exit, Operation};
use hypervisor_tests::RawSession;
use hypervisor_tests::agents::owner;
use hypervisor_tests::payments::Version;
use hypervisor_tests::payments::sign::Tamper;
use hypervisor_tests::wire::Wire;

use crate::agents::binary_http::{message, written};
use crate::payments::agents::{COSTS, Call};
use crate::payments::kit::{Shop, header};

#[tokio::test]
async fn a_priced_agent_does_not_see_the_payment() {
    let shop = Shop::open();
    shop.sell("http-echo", "").await;
    let call = Call::get(&shop, "http-echo", "/info");
    for version in [Version::V2, Version::V1] {
        let payment = call.payment(&shop, version).await;
        let (name, value) = payment.header();
        let answer = call.pay(&payment).await;
        assert_eq!(answer.status, 200);
        let seen = String::from_utf8_lossy(&answer.body).to_lowercase();
        assert!(seen.contains("x-forwarded-prefix"), "{seen}");
        assert!(!seen.contains(name) && !seen.contains(&value.to_lowercase()));
    }
}

#[tokio::test]
async fn who_read_a_payment_on_the_chain_does_not_get_its_answer() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let call = Call::get(&shop, "http-hello", "/private");
    let payment = call.payment(&shop, Version::V2).await;
    let bought = call.pay(&payment).await;
    assert_eq!(bought.status, 200);
    // Payer, amount, nonce and validity are in the transaction; the header that the payer sent is not.
    let mut copied = payment.clone();
    copied.tamper = Tamper::HighS;
    let stolen = call.pay(&copied).await;
    assert_eq!(
        (stolen.status, stolen.problem().as_str()),
        (409, "payment-reused")
    );
    assert_eq!(call.pay(&payment).await.body, bought.body);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_name_that_passes_to_a_priced_agent_does_not_make_it_free() {
    let shop = Shop::open();
    let owner = owner();
    shop.host.deploy(&owner, "http-hello", "agent", "").await;
    let session = RawSession::open(&shop.host).await;
    let input = written(&message("/"), Mode::KnownLength);
    let (request, pending) = session.about(Operation::Agent, "agent", Some(&input), None);
    let body = ContentFormat::Cbor.encode(&request).unwrap();
    let (last, first) = body.split_last().unwrap();
    let mut wire = Wire::open(shop.host.url()).await;
    wire.send(format!(
        "POST /agents/agent HTTP/1.1\r\nhost: h\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ))
    .await;
    wire.until("100 Continue\r\n\r\n").await;
    wire.send(first).await;
    shop.host.deploy(&owner, "http-echo", "agent", COSTS).await;
    wire.send([*last]).await;
    let answer = wire.answer().await;
    let opened = session.open_answer(ContentFormat::Cbor, &pending, &answer);
    // The agent that was found answers, which is free; the one that costs does not.
    assert_eq!(opened.report.exit, Exit::Ok);
    let text = String::from_utf8_lossy(&opened.result).into_owned();
    assert!(text.contains("hello"), "{text}");
}

#[tokio::test]
async fn a_call_that_fails_after_it_was_paid_first_does_not_run_again_for_the_same_payment() {
    let shop = Shop::with("settle_first = true");
    shop.sell("bad-agent", "").await;
    let call = Call::get(&shop, "bad-agent", "/trap-before");
    let payment = call.payment(&shop, Version::V2).await;
    let first = call.pay(&payment).await;
    assert_eq!(
        (first.status, first.problem().as_str()),
        (502, "agent-failed")
    );
    assert_eq!(header(&first, "payment-response")["success"], true);
    for _ in 0..3 {
        let again = call.pay(&payment).await;
        assert_eq!(
            (again.status, again.problem().as_str()),
            (409, "answer-gone")
        );
        assert_eq!(header(&again, "payment-response")["success"], true);
    }
    let traps = "hypervisor_agent_calls_total{exit=\"trap\"}";
    assert_eq!(shop.host.counter(traps).await, 1);
}
