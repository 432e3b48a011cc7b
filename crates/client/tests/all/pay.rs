//! Paying for an execution, against a host that checks signatures and seals answers.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::time::Duration;

use crate::support::{
    Challenge, Host, KEY, PAYER, Reply, TRANSACTION, header, offer, offer_with, receipt,
};
use hypervisor_client::payment::{Network, Payer, Payment, PaymentPolicy, Wallet};
use hypervisor_client::protocol::{Exit, ProblemType};
use hypervisor_client::{Client, Error, OfferRefusal, PaidExecution, Program};
use serde_json::json;

fn policy() -> PaymentPolicy {
    PaymentPolicy::new("0.01".parse().unwrap())
}

fn payer(policy: PaymentPolicy) -> Payer {
    Payer::new(Wallet::from_hex(KEY).unwrap(), policy)
}

async fn run_as(host: &Host, payer: &Payer) -> Result<PaidExecution, Error> {
    let session = Client::new(&host.url).unwrap().open_session().await?;
    let program = Program::new(b"\0asm").argument("one").stdin(b"in");
    session.run_wasm_paid(program, payer).await
}

async fn run(host: &Host) -> Result<PaidExecution, Error> {
    run_as(host, &payer(policy())).await
}

/// The only refusal of a run in which nothing may have been sent.
async fn refusal(host: &Host, policy: PaymentPolicy) -> OfferRefusal {
    match run_as(host, &payer(policy)).await {
        Err(Error::NoAcceptableOffer(mut refusals)) if refusals.len() == 1 => {
            assert_eq!(host.payments(), Vec::<String>::new(), "nothing was signed");
            refusals.remove(0)
        }
        other => panic!("{other:?}"),
    }
}

fn uncertain(result: Result<PaidExecution, Error>) -> (String, Error) {
    match result {
        Err(error @ Error::PaymentUncertain { .. }) => {
            let text = error.to_string();
            assert!(text.contains("may have been made"), "{text}");
            assert!(text.contains(PAYER) && text.contains("nonce 0x"), "{text}");
            match error {
                Error::PaymentUncertain { source, .. } => (text, *source),
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_is_paid_for_and_its_answer_verified() {
    let host = Host::paid([Reply::Settle]).await;
    let paid = run(&host).await.unwrap();
    assert_eq!(paid.execution.result, b"ran");
    assert_eq!(paid.execution.report.exit, Exit::Ok);
    let receipt = paid.receipt().unwrap();
    assert_eq!(receipt.transaction, TRANSACTION);
    assert_eq!(receipt.authorization.from.to_string(), PAYER);
    assert_eq!(receipt.authorization.price(), "0.01 USDC");
    assert_eq!(
        receipt.authorization.asset.network.to_string(),
        "base-sepolia"
    );
}

#[tokio::test]
async fn a_script_is_paid_for_on_its_own_route() {
    let host = Host::paid([Reply::Settle]).await;
    let session = Client::new(&host.url)
        .unwrap()
        .open_session()
        .await
        .unwrap();
    let script = Program::new(b"print('ran')");
    let paid = session
        .run_python_paid(script, &payer(policy()))
        .await
        .unwrap();
    assert!(paid.receipt().is_some());
    assert_eq!(host.seen()[1].path, "/x402_policy/unsafe/python");
}

#[tokio::test]
async fn the_paid_request_is_the_one_that_was_asked_to_pay() {
    let host = Host::paid([Reply::Settle]).await;
    run(&host).await.unwrap();
    let seen = host.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].payment, None);
    assert_eq!(seen[0].body, seen[1].body);
}

#[tokio::test]
async fn each_run_is_paid_for_with_a_nonce_of_its_own() {
    let host = Host::paid([Reply::Settle, Reply::Settle]).await;
    let nonces = [run(&host).await.unwrap(), run(&host).await.unwrap()]
        .map(|paid| paid.receipt().unwrap().authorization.nonce);
    assert_ne!(nonces[0], nonces[1]);
}

#[tokio::test]
async fn nothing_is_signed_when_the_host_does_not_ask() {
    let host = Host::start(Challenge::None, []).await;
    let paid = run(&host).await.unwrap();
    assert_eq!(paid.payment, Payment::NotAsked);
    assert_eq!(paid.execution.result, b"ran");
    assert_eq!(host.payments(), Vec::<String>::new());
}

#[tokio::test]
async fn a_price_above_the_cap_is_refused() {
    let offers = vec![offer_with(json!({"amount": "10001"}))];
    let host = Host::start(Challenge::Offers(offers), []).await;
    let refusal = refusal(&host, policy()).await.to_string();
    assert_eq!(
        refusal,
        "its price is 0.010001 USDC on base-sepolia, above the maximum of 0.01 USDC"
    );
}

#[tokio::test]
async fn an_unknown_asset_is_refused() {
    let worthless = "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238";
    let offers = vec![offer_with(json!({"asset": worthless, "amount": "1"}))];
    let host = Host::start(Challenge::Offers(offers), []).await;
    let refusal = refusal(&host, policy()).await;
    assert!(matches!(refusal, OfferRefusal::Asset { .. }), "{refusal}");
}

#[tokio::test]
async fn a_network_that_is_not_allowed_is_refused() {
    let host = Host::paid([]).await;
    let base = "base".parse::<Network>().unwrap();
    let refusal = refusal(&host, policy().network(base)).await;
    assert!(matches!(refusal, OfferRefusal::Network { .. }), "{refusal}");
}

#[tokio::test]
async fn the_first_acceptable_offer_is_taken() {
    let offers = vec![
        offer_with(json!({"network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "asset": "x"})),
        offer_with(json!({"amount": "20000"})),
        offer_with(json!({"amount": "9000"})),
        offer_with(json!({"amount": "1"})),
    ];
    let host = Host::start(Challenge::Offers(offers), [Reply::Settle]).await;
    let paid = run(&host).await.unwrap();
    assert_eq!(paid.receipt().unwrap().authorization.price(), "0.009 USDC");
}

#[tokio::test]
async fn every_offer_that_is_refused_is_explained() {
    let offers = vec![offer_with(json!({"amount": "20000"})), json!({"scheme": 1})];
    let host = Host::start(Challenge::Offers(offers), []).await;
    let error = run(&host).await.unwrap_err().to_string();
    for part in [
        "none of the host's 2 offers",
        "offer 1: its price",
        "offer 2: it is malformed",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_challenge_that_is_malformed_or_missing_or_double_is_refused() {
    let good = header(&crate::support::payment_required(&[offer()], ""));
    for (headers, reason) in [
        (vec![], "no header PAYMENT-REQUIRED"),
        (vec![good.clone(), good], "several headers"),
        (vec!["%".to_owned()], "not base64"),
        (
            vec![header(&json!({"x402Version": 1, "accepts": [offer()]}))],
            "version 1",
        ),
        (vec![header(&json!([]))], "not a JSON object"),
        (vec!["A".repeat(40_000)], "more than"),
    ] {
        let host = Host::start(Challenge::Headers(headers), []).await;
        let error = run(&host).await.unwrap_err();
        assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(reason) && text.contains("nothing was paid"),
            "{text}"
        );
        assert_eq!(host.payments(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_execution_that_failed_is_not_charged() {
    let host = Host::paid([Reply::Trap]).await;
    let paid = run(&host).await.unwrap();
    assert!(matches!(paid.execution.report.exit, Exit::Trap { .. }));
    assert!(
        matches!(paid.payment, Payment::NotCharged(_)),
        "{:?}",
        paid.payment
    );
}

#[tokio::test]
async fn a_settlement_in_doubt_is_asked_about_with_the_same_payment() {
    let doubt = Reply::Problem(ProblemType::SettlementUnknown);
    let host = Host::paid([doubt.clone(), doubt, Reply::Settle]).await;
    let paid = run(&host).await.unwrap();
    assert!(paid.receipt().is_some());
    let payments = host.payments();
    assert_eq!(payments.len(), 3);
    assert!(payments.iter().all(|payment| *payment == payments[0]));
    assert!(
        host.seen()
            .iter()
            .all(|seen| seen.body == host.seen()[0].body)
    );
}

#[tokio::test]
async fn a_settlement_that_stays_in_doubt_names_the_payment() {
    let host = Host::paid([Reply::Problem(ProblemType::SettlementUnknown)]).await;
    let payer = payer(policy()).patience(Duration::ZERO);
    let (text, source) = uncertain(run_as(&host, &payer).await);
    assert!(text.contains("The settlement is in doubt"), "{text}");
    assert!(matches!(source, Error::Refused(_)));
    assert_eq!(host.payments().len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_with_the_same_payment() {
    let host = Host::paid([Reply::Break, Reply::BadGateway, Reply::Settle]).await;
    let paid = run(&host).await.unwrap();
    assert!(paid.receipt().is_some());
    let payments = host.payments();
    assert_eq!(payments.len(), 3);
    assert!(payments.iter().all(|payment| *payment == payments[0]));
    assert_eq!(host.runs(), 1);
}

#[tokio::test]
async fn a_connection_that_keeps_breaking_is_given_up() {
    let host = Host::paid(vec![Reply::Break; 20]).await;
    let (_, source) = uncertain(run(&host).await);
    assert!(matches!(source, Error::Transport { .. }), "{source:?}");
    let payments = host.payments();
    assert!(payments.len() < 20, "{}", payments.len());
    assert!(payments.iter().all(|payment| *payment == payments[0]));
}

#[tokio::test]
async fn a_payment_that_could_not_be_verified_is_sent_again() {
    let host = Host::paid([
        Reply::Problem(ProblemType::PaymentUnverified),
        Reply::Settle,
    ])
    .await;
    assert!(run(&host).await.unwrap().receipt().is_some());
    assert_eq!(host.payments()[0], host.payments()[1]);
    let host = Host::paid([Reply::Problem(ProblemType::PaymentUnverified)]).await;
    let payer = payer(policy()).patience(Duration::ZERO);
    let error = run_as(&host, &payer).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused(_)),
        "not used, not charged: {error:?}"
    );
}

#[tokio::test]
async fn a_refused_payment_gives_the_reason_and_is_not_repeated() {
    let host = Host::paid([Reply::Refuse("insufficient_funds\u{1b}[2J")]).await;
    let error = run(&host).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the host refused the payment: insufficient_funds\u{fffd}[2J"
    );
    assert_eq!(host.payments().len(), 1);
}

#[tokio::test]
async fn a_payment_is_not_sent_again_once_it_can_no_longer_be_made() {
    let offer = offer_with(json!({"maxTimeoutSeconds": 2}));
    let again = vec![Reply::Problem(ProblemType::PaymentUnverified); 20];
    let host = Host::start(Challenge::Offers(vec![offer]), again).await;
    let error = run(&host).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(host.payments().len() < 20, "{}", host.payments().len());
}

#[tokio::test]
async fn a_settlement_that_failed_gives_its_reason() {
    let failed = json!({
        "success": false, "errorReason": "insufficient_funds", "transaction": "", "network": "eip155:84532"
    });
    let host = Host::paid([Reply::Failed(failed)]).await;
    let error = run(&host).await.unwrap_err();
    assert!(
        matches!(&error, Error::PaymentRefused { reason } if reason == "insufficient_funds")
            && error
                .to_string()
                .contains("holds too little of the token (insufficient_funds)"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_failed_settlement_that_was_broadcast_may_still_be_made() {
    let pending = json!({
        "success": false, "errorReason": "settlement_pending", "transaction": TRANSACTION, "network": "eip155:84532"
    });
    let host = Host::paid([Reply::Failed(pending)]).await;
    let (text, _) = uncertain(run(&host).await);
    assert!(text.contains("settlement_pending"), "{text}");
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_is_no_proof_that_nothing_was_paid() {
    let host = Host::paid([Reply::Break, Reply::Refuse("nonce already used")]).await;
    let (text, source) = uncertain(run(&host).await);
    assert!(text.contains("nonce already used"), "{text}");
    assert!(matches!(source, Error::PaymentRefused { .. }));
}

#[tokio::test]
async fn a_request_that_was_turned_away_was_not_paid_for() {
    for kind in [ProblemType::Overloaded, ProblemType::UnknownSession] {
        let host = Host::paid([Reply::Problem(kind)]).await;
        let error = run(&host).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_conflict_or_a_failure_of_the_host_leaves_the_payment_in_doubt() {
    for reply in [
        Reply::Problem(ProblemType::PaymentReused),
        Reply::Problem(ProblemType::ReplayedSequence),
        Reply::Problem(ProblemType::Internal),
        Reply::Teapot,
    ] {
        let host = Host::paid([reply]).await;
        uncertain(run(&host).await);
        assert_eq!(host.payments().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_gone_comes_with_its_receipt() {
    let host = Host::paid([Reply::Problem(ProblemType::AnswerGone)]).await;
    match run(&host).await {
        Err(Error::PaidWithoutAnswer { receipt, .. }) => {
            assert_eq!(receipt.transaction, TRANSACTION);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_altered_answer_is_a_failed_verification_of_something_paid() {
    let host = Host::paid([Reply::Alter]).await;
    let error = run(&host).await.unwrap_err();
    assert!(error.is_verification_failure());
    uncertain(Err(error));
}

#[tokio::test]
async fn a_receipt_for_something_else_keeps_the_answer_and_is_no_receipt() {
    let mut other = receipt();
    other["payer"] = json!("0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
    for receipts in [
        vec![header(&other)],
        vec!["%".to_owned()],
        vec![header(&receipt()), header(&receipt())],
    ] {
        let host = Host::paid([Reply::Receipts(receipts)]).await;
        let paid = run(&host).await.unwrap();
        assert_eq!(paid.execution.result, b"ran");
        assert!(
            matches!(paid.payment, Payment::Unclear { .. }),
            "{:?}",
            paid.payment
        );
    }
}
