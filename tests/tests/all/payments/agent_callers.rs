//! Who buys from agents that have a price: sealed clients, `hv`, and other agents.

use std::process::Command;

use axum::http::Request;
use hypervisor_client::agents::Reference;
use hypervisor_client::payment::{Payer, PaymentPolicy, Wallet};
use hypervisor_client::protocol::OwnerKey;
use hypervisor_client::{Error, Inputs};
use hypervisor_tests::Answer;
use hypervisor_tests::agents::{owner, reference};
use hypervisor_tests::host::binary;
use hypervisor_tests::payments::Version;
use reqwest::Url;

use crate::payments::agents::COSTS;
use crate::payments::kit::{PRICE, Shop, asked};

/// A client that pays as the first payer, up to a cap.
fn payer(shop: &Shop, most: &str) -> Payer {
    let wallet = Wallet::from_hex(&shop.chain.payer(0).private_key()).unwrap();
    Payer::new(wallet, PaymentPolicy::new(most.parse().unwrap()))
}

fn get(path: &str) -> Request<Vec<u8>> {
    Request::get(path).body(Vec::new()).unwrap()
}

#[tokio::test]
async fn sealed_calls_are_paid_by_the_client_library() {
    let shop = Shop::open();
    shop.sell("bad-agent", "").await;
    shop.sell("echo", "").await;
    let session = shop.host.session().await;
    let (bad, echo): (Reference, Reference) = (reference("bad-agent"), reference("echo"));
    let demanded = session.call_service(&bad, get("/counter"), None).await;
    assert!(
        matches!(demanded, Err(Error::PaymentDemanded(_))),
        "{demanded:?}"
    );

    let payer = payer(&shop, "0.02");
    let paid = session
        .call_service_paid(&bad, get("/counter"), None, &payer)
        .await;
    let paid = paid.unwrap();
    let transaction = paid.receipt().unwrap().transaction.clone();
    let response = paid.answer.into_response().unwrap();
    assert_eq!(response.body(), b"{\"served\":1}\n");
    let inputs = Inputs::new().argument("sold");
    let ran = session
        .call_command_paid(&echo, inputs, None, &payer)
        .await
        .unwrap();
    assert_eq!(ran.execution.result, b"sold\n");
    let transfers = shop.chain.transfers().await;
    assert_eq!(transfers.len(), 2);
    assert_eq!(transaction, transfers[0].transaction);

    // Status 404, and a trap.
    for path in ["/no-such-path", "/trap-before"] {
        let free = session
            .call_service_paid(&bad, get(path), None, &payer)
            .await;
        assert!(free.unwrap().receipt().is_none(), "{path}");
    }
    assert_eq!(shop.chain.transfers().await.len(), 2);
}

#[tokio::test]
async fn hv_pays_for_a_call_up_to_its_cap() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, shop.chain.payer(0).private_key()).unwrap();
    let call = |most: &str| {
        Command::new(binary("hv"))
            .args([
                "call",
                "--server",
                shop.host.url(),
                "--max-price",
                most,
                "--pay",
            ])
            .arg(&key)
            .args(["http-hello", "/by/hv"])
            .output()
            .unwrap()
    };
    let refused = call("0.019");
    assert!(!refused.status.success());
    assert_eq!(shop.chain.transfers().await.len(), 0);
    let done = call("0.02");
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "hello from GET /by/hv\n",
        "{done:?}"
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

/// Deploys `chain`, which may call every agent, and has it call one.
async fn called_by(shop: &Shop, owner: &OwnerKey, callee: &str) -> Answer {
    let calls = "outgoing = ['http://*.agent.internal']";
    shop.host.deploy(owner, "chain", "chain", calls).await;
    let url = format!("http://{callee}.agent.internal/x");
    let url = Url::parse_with_params(&shop.host.agent("chain", "/"), [("url", url)]).unwrap();
    let response = reqwest::get(url).await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

#[tokio::test]
async fn an_agent_that_calls_a_sold_one_is_asked_to_pay() {
    let shop = Shop::open();
    let sold = shop.sell("http-hello", "").await;
    for callee in ["http-hello", &sold.info.address] {
        let answer = called_by(&shop, &owner(), callee).await;
        assert_eq!(answer.status, 402, "{answer:?}");
        let asked = asked(&answer, Version::V1);
        assert_eq!(
            asked["accepts"][0]["maxAmountRequired"],
            (2 * PRICE).to_string()
        );
    }
}

#[tokio::test]
async fn an_owners_agents_do_not_pay_each_other() {
    let shop = Shop::open();
    let owner = owner();
    shop.host.deploy(&owner, "http-hello", "hello", COSTS).await;
    let answer = called_by(&shop, &owner, "hello").await;
    assert_eq!(
        (answer.status, &*answer.body),
        (200, &b"hello from GET /x\n"[..])
    );
    assert_eq!(shop.facilitator.calls().await.verify, 0);
}
