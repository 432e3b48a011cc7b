//! Every way in which a facilitator can lie or fail at a settlement, made and not made, with and without a chain to ask: nobody is
//! charged without a result, nobody is charged twice, and nobody gets a result for nothing whom the chain could tell of.

use hypervisor_tests::Host;
use hypervisor_tests::payments::faulty::{self, Fault, Reply, lies};
use hypervisor_tests::payments::sign::random;
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};
use serde_json::{Value, json};

use crate::payments::kit::{Purchase, config, confirmed};

/// A refusal in these words, under this status.
fn refusal(status: u16, reason: &str) -> Reply {
    Reply::Json(
        status,
        json!({
            "success": false, "errorReason": reason, "transaction": "", "network": "eip155:84532",
        }),
    )
}

/// A success with these members changed.
fn success(changed: &Value) -> Reply {
    let mut answer = json!({
        "success": true, "transaction": const_hex::encode_prefixed(random::<32>()), "network": "eip155:84532",
    });
    for (name, value) in changed.as_object().unwrap() {
        answer[name] = value.clone();
    }
    Reply::Json(200, answer)
}

/// What a facilitator answers, by name.
fn replies() -> Vec<(&'static str, Reply)> {
    vec![
        ("a proxy's error page", Reply::Html(502)),
        ("an error page under 200", Reply::Html(200)),
        ("503 with the true body", Reply::Status(503)),
        ("404 with the true body", Reply::Status(404)),
        ("half of the JSON", Reply::Truncated),
        ("an answer that breaks off", Reply::CutOff),
        ("a connection that drops", Reply::Dropped),
        ("no JSON", Reply::NotJson),
        ("a list", Reply::Json(200, json!([]))),
        ("null", Reply::Json(200, Value::Null)),
        ("an empty object", Reply::Json(200, json!({}))),
        ("a megabyte", Reply::Huge(1 << 20)),
        ("pending, with the transaction", Reply::Pending),
        ("another payer", Reply::Edited(lies::other_payer)),
        ("another network", Reply::Edited(lies::other_network)),
        ("another amount", Reply::Edited(lies::other_amount)),
        ("an odd transaction", Reply::Edited(lies::odd_transaction)),
        ("no transaction", Reply::Edited(lies::no_transaction)),
        ("a verdict in words", Reply::Edited(lies::verdict_in_words)),
        ("a transaction that never was", success(&json!({}))),
        (
            "success with an error",
            success(&json!({"errorReason": "insufficient_funds"})),
        ),
        (
            "success without a network",
            success(&json!({"network": null})),
        ),
        ("a timeout", refusal(200, "timeout")),
        ("an error of its endpoint", refusal(500, "rpc_error")),
        ("too many requests", refusal(429, "rate_limited")),
        (
            "a nonce that is used",
            refusal(200, "invalid_exact_evm_nonce_already_used"),
        ),
        ("already known", refusal(400, "already known")),
        ("a reason of tomorrow", refusal(200, "a_reason_of_tomorrow")),
        ("a refusal without a reason", refusal(200, "")),
        ("no money", refusal(200, "insufficient_funds")),
    ]
}

/// What a payment has come to, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    /// It was not made, and the same authorization buys something else.
    Free,
    InDoubt,
}

struct Scene {
    chain: Chain,
    _real: Facilitator,
    faulty: faulty::Facilitator,
    host: Host,
}

impl Scene {
    async fn new(has_rpc: bool) -> Self {
        let chain = Chain::start();
        let real = Facilitator::start(&chain);
        let faulty = faulty::Facilitator::start(Some(real.url())).await;
        let rpc = if has_rpc {
            confirmed(&chain)
        } else {
            String::new()
        };
        let more = format!("wall = '1500ms'\n{rpc}");
        let host = Host::with(&config(&chain, &faulty.url(), &more));
        Self {
            chain,
            _real: real,
            faulty,
            host,
        }
    }

    /// Whether the money moved: the token moves it once for a nonce.
    async fn is_charged(&self, payment: &Payment) -> bool {
        let signed = &payment.authorization;
        self.chain
            .authorization_state(signed.from, signed.nonce)
            .await
    }

    /// Pays while the facilitator answers so once, and asks again a few times where the host says so.
    async fn paid(&self, purchase: &Purchase, payment: &Payment, fault: Fault) -> End {
        self.faulty.next_settle_of(payment, fault);
        for _ in 0..2 {
            let answer = purchase.pay(payment).await;
            match answer.status {
                200 => {
                    assert_eq!(purchase.opened(&answer).result, b"bought\n");
                    return End::Answered;
                }
                402 => return End::Free,
                _ => assert_eq!(answer.problem(), "settlement-unknown"),
            }
        }
        End::InDoubt
    }
}

/// Goes through all lies; `is_right` says of each whether it may have ended like this: whether the settlement that was lied about
/// was made, and whether the payer is charged in the end.
async fn all_lies(has_rpc: bool, is_right: impl Fn(&str, bool, bool, End) -> bool) {
    let scene = Scene::new(has_rpc).await;
    let first = Purchase::of_echo(&scene.host, "bought").await;
    let offer = first.offer(Version::V2).await;
    let mut wrong = Vec::new();
    for (is_made, fault) in [
        (true, Fault::after as fn(Reply) -> Fault),
        (false, Fault::instead),
    ] {
        for (name, reply) in replies() {
            let purchase = Purchase::of_echo(&scene.host, "bought").await;
            let payment = Payment::for_offer(scene.chain.payer(0), &offer);
            let end = scene.paid(&purchase, &payment, fault(reply)).await;
            let is_charged = scene.is_charged(&payment).await;
            if !is_right(name, is_made, is_charged, end) {
                wrong.push(format!(
                    "{name}, made: {is_made}: charged: {is_charged}, {end:?}"
                ));
            }
            if end == End::Free && !is_charged {
                let other = Purchase::of_echo(&scene.host, "instead").await;
                let answer = other.pay(&payment).await;
                assert_eq!(other.opened(&answer).result, b"instead\n", "{name}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn no_lie_about_a_settlement_is_believed_where_the_chain_can_be_asked() {
    all_lies(true, |name, is_made, is_charged, end| match end {
        End::Answered => is_charged,
        // Nothing was sent, and the chain says so.
        End::Free => !is_charged && !is_made && name == "no money",
        End::InDoubt => false,
    })
    .await;
}

#[tokio::test]
async fn no_lie_about_a_settlement_takes_a_result_from_its_payer_where_there_is_no_chain_to_ask() {
    all_lies(false, |name, is_made, is_charged, end| match (end, name) {
        // All that there is to believe: the operator's loss, and nobody else's.
        (End::Answered, "a transaction that never was") => is_charged == is_made,
        (End::Answered, _) => is_charged,
        // A definite refusal is believed: of a settlement that was made, it is the word of one against nobody's.
        (End::Free, "no money") => is_charged == is_made,
        (End::Free, _) => false,
        (End::InDoubt, _) => true,
    })
    .await;
}
