//! The chain, the signer, the official facilitator, and the table of good and bad payments.

use std::time::Duration;

use hypervisor_tests::payments::chain::Transfer;
use hypervisor_tests::payments::facilitator::Calls;
use hypervisor_tests::payments::oracle::{PRICE, ROWS};
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};
use serde_json::Value;

#[tokio::test]
async fn a_settled_payment_moves_exactly_the_price() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    for (index, version) in [Version::V1, Version::V2].into_iter().enumerate() {
        let payer = chain.payer(index);
        let offer = chain.offer(version, 1234);
        let payment = Payment::for_offer(payer, &offer);
        let before = [
            chain.balance_of(payer.address()).await,
            chain.balance_of(chain.pay_to()).await,
        ];

        let settled = facilitator.settle(&payment.question(&offer)).await;

        assert_eq!(settled["success"], true, "{settled}");
        let after = [
            chain.balance_of(payer.address()).await,
            chain.balance_of(chain.pay_to()).await,
        ];
        assert_eq!(after, [before[0] - 1234, before[1] + 1234]);
        let last = chain.transfers().await.pop().unwrap();
        assert_eq!(
            last,
            Transfer {
                from: payer.address(),
                to: chain.pay_to(),
                value: 1234,
                transaction: settled["transaction"].as_str().unwrap().to_owned(),
            }
        );
    }
    assert_eq!(chain.transfers().await.len(), 2);
}

#[tokio::test]
async fn verifying_moves_nothing_and_settling_spends_the_nonce() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let offer = chain.offer(Version::V2, PRICE);
    let payment = Payment::for_offer(chain.payer(0), &offer);
    let spent =
        || chain.authorization_state(payment.authorization.from, payment.authorization.nonce);

    let verified = facilitator.verify(&payment.question(&offer)).await;
    assert_eq!(verified["isValid"], true, "{verified}");
    assert!(!spent().await);
    assert_eq!(chain.transfers().await, []);

    facilitator.settle(&payment.question(&offer)).await;
    assert!(spent().await);
    assert_eq!(
        facilitator.calls().await,
        Calls {
            verify: 1,
            settle: 1
        }
    );
}

#[tokio::test]
async fn the_oracle_holds_for_version_2() {
    the_oracle_holds(Version::V2).await;
}

#[tokio::test]
async fn the_oracle_holds_for_version_1() {
    the_oracle_holds(Version::V1).await;
}

/// Presents each row to the official facilitator: its reasons are the table's, and money moves for the good rows only.
async fn the_oracle_holds(version: Version) {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let mut wrong = Vec::new();
    for row in ROWS {
        let offer = row.offer(&chain, chain.offer(version, PRICE));
        let expected = match version {
            Version::V1 => row.v1,
            Version::V2 => row.v2,
        };
        let payment = row.stage(&chain, &facilitator, &offer).await;
        let question = payment.question(&offer);
        let moved = chain.transfers().await.len();

        let verified = facilitator.verify(&question).await;
        let settled = facilitator.settle(&question).await;

        let moved = chain.transfers().await.len() - moved;
        if !(said(&verified, "isValid", "invalidReason", expected.verify)
            && said(&settled, "success", "errorReason", expected.settle)
            && moved == usize::from(expected.settle.is_none()))
        {
            wrong.push(format!("{}: {verified} {settled} {moved}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{version:?}\n{}", wrong.join("\n"));
}

/// The answer is yes where no reason is expected, and otherwise no with that reason, or with a text that contains it.
fn said(answer: &Value, verdict: &str, reason: &str, expected: Option<&str>) -> bool {
    let Some(expected) = expected else {
        return answer[verdict] == true;
    };
    let reason = answer[reason].as_str().unwrap_or_default();
    answer[verdict] == false
        && (reason == expected || reason.contains(' ') && reason.contains(expected))
}

#[tokio::test]
async fn a_payment_that_is_sent_and_not_mined_is_pending_and_can_be_asked_about_again() {
    let chain = Chain::start();
    let facilitator = Facilitator::impatient(&chain, Duration::from_millis(200));
    let offer = chain.offer(Version::V2, PRICE);
    let question = Payment::for_offer(chain.payer(0), &offer).question(&offer);
    chain.set_automine(false).await;

    let pending = facilitator.settle(&question).await;
    assert_eq!(pending["success"], false, "{pending}");
    assert_eq!(pending["errorReason"], "settlement_pending");
    assert_eq!(chain.transfers().await, []);

    chain.mine().await;
    let mut settled = facilitator.settle(&question).await;
    while settled["errorReason"] == "settlement_pending" {
        settled = facilitator.settle(&question).await;
    }
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(settled["transaction"], pending["transaction"]);
    assert_eq!(chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn payments_made_at_once_are_all_settled() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let offer = chain.offer(Version::V2, PRICE);
    let settle = |_| {
        let question = Payment::for_offer(chain.payer(0), &offer).question(&offer);
        let facilitator = &facilitator;
        async move { facilitator.settle(&question).await["success"] == true }
    };
    let [a, b, c, d] = [0, 1, 2, 3].map(settle);
    assert_eq!(tokio::join!(a, b, c, d), (true, true, true, true));
    assert_eq!(chain.transfers().await.len(), 4);
}

#[tokio::test]
async fn the_clock_of_the_chain_can_be_moved() {
    let chain = Chain::start();
    let before = chain.time().await;
    chain.advance(3600).await;
    assert!(chain.time().await >= before + 3600);
}

#[tokio::test]
async fn a_chain_ends_with_its_handle() {
    let chain = Chain::start();
    let url = chain.rpc_url().to_owned();
    assert!(reqwest::get(&url).await.is_ok());
    drop(chain);
    assert!(reqwest::get(&url).await.unwrap_err().is_connect());
}
