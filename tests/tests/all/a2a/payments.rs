//! What costs money: asked for by a message or by HTTP, paid by the official clients of x402, and sold once.

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::payments::official::{self, Client};
use hypervisor_tests::payments::sign::decode_header;
use hypervisor_tests::payments::{Chain, Facilitator};
use serde_json::{Value, json};

use super::{TOKEN, asked, clients, message, request, said, speaking, state, task, text, url};
use crate::payments::kit::config as sells;

/// The extension that has payments in messages.
const EXTENSION: &str = "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2";
const AGENT: &str = "greeter";

struct Shop {
    chain: Chain,
    _facilitator: Facilitator,
    host: Host,
}

impl Shop {
    /// An agent that costs two cents.
    async fn open() -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let host = speaking(&sells(&chain, facilitator.url(), ""));
        host.deploy(&owner(), "http-hello", AGENT, "price = '0.02 USDC'")
            .await;
        Self {
            chain,
            _facilitator: facilitator,
            host,
        }
    }

    /// The task that a message becomes for a client that pays by messages.
    async fn sends(&self, message: &Value) -> Value {
        let params = json!({"message": message});
        let request = request(&self.host, AGENT, "SendMessage", &params);
        let request = request
            .bearer_auth(TOKEN)
            .header("a2a-extensions", EXTENSION);
        let answer = said(request.send().await.unwrap()).await;
        let task = &answer["result"]["task"];
        assert!(task.is_object(), "{answer}");
        task.clone()
    }

    /// A task that waits for its payment.
    async fn unpaid(&self, id: &str) -> Value {
        let task = self.sends(&message(id, "hi")).await;
        assert_eq!(state(&task), "INPUT_REQUIRED", "{task}");
        task
    }

    /// A message with the official client's payment for a task.
    async fn payment(&self, id: &str, task: &Value) -> Value {
        let required = &metadata(task)["x402.payment.required"];
        let payload = official::payload(self.chain.payer(0), required).await;
        paying(id, task, &payload)
    }

    async fn sales(&self) -> usize {
        self.chain.transfers().await.len()
    }
}

fn paying(id: &str, task: &Value, payload: &Value) -> Value {
    let mut message = message(id, "paid");
    message["taskId"] = task["id"].clone();
    message["metadata"] = json!({
        "x402.payment.status": "payment-submitted", "x402.payment.payload": payload,
    });
    message
}

/// What the last message of a task says of payments.
fn metadata(task: &Value) -> &Value {
    &task["status"]["message"]["metadata"]
}

#[tokio::test]
async fn a_message_without_payment_is_answered_402() {
    let shop = Shop::open().await;
    let params = json!({"message": message("m", "hi")});
    let request = request(&shop.host, AGENT, "SendMessage", &params);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 402);
    let required = decode_header(answer.headers()["payment-required"].to_str().unwrap());
    assert_eq!(required["accepts"][0]["amount"], "20000", "{required}");
}

#[tokio::test]
async fn an_official_client_of_x402_pays_by_http() {
    let shop = Shop::open().await;
    let params = json!({"message": message("m", "hi")});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
    let body = body.to_string();
    let request = official::Request {
        url: &url(&shop.host, AGENT),
        method: "POST",
        headers: &[("content-type", "application/json"), ("a2a-version", "1.0")],
        body: Some(body.as_bytes()),
    };
    let paid = official::pay(Client::Current, shop.chain.payer(0), &request);
    let paid = paid.await.unwrap();
    assert_eq!(paid.status, 200, "{paid:?}");
    let answer: Value = serde_json::from_slice(&paid.body).unwrap();
    assert_eq!(text(&answer["result"]["task"]), "hello from POST /\n");
    let settled = decode_header(paid.headers["payment-response"].to_str().unwrap());
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(shop.sales().await, 1);
}

#[tokio::test]
async fn an_agent_is_paid_once_by_a_message_and_the_task_ends_with_answer_and_receipt() {
    let shop = Shop::open().await;
    let unpaid = shop.unpaid("m").await;
    assert_eq!(metadata(&unpaid)["x402.payment.status"], "payment-required");
    let payment = shop.payment("p", &unpaid).await;
    let paid = shop.sends(&payment).await;
    assert_eq!(paid["id"], unpaid["id"], "{paid}");
    assert_eq!(state(&paid), "COMPLETED", "{paid}");
    assert_eq!(text(&paid), "hello from POST /\n", "{paid}");
    let said = metadata(&paid);
    assert_eq!(said["x402.payment.status"], "payment-completed", "{paid}");
    let receipts = said["x402.payment.receipts"].as_array().unwrap();
    let transfer = shop.chain.transfers().await.pop().unwrap();
    assert_eq!(receipts.len(), 1, "{paid}");
    assert_eq!(receipts[0]["success"], true, "{paid}");
    assert_eq!(receipts[0]["transaction"], transfer.transaction, "{paid}");
    assert_eq!(transfer.value, 20_000);
    assert_eq!(shop.sales().await, 1);
}

#[tokio::test]
async fn every_official_client_of_a2a_pays_by_a_message() {
    let shop = Shop::open().await;
    for client in clients::all() {
        let sees = async |call: Value| {
            let calls = json!([call]);
            let seen = client.sees_with(&shop.host, AGENT, &[EXTENSION], &calls);
            let seen = seen.await;
            let task = &seen[0]["events"][0]["task"];
            assert!(task.is_object(), "{client:?}: {seen}");
            task.clone()
        };
        let unpaid = sees(client.send("m", "hi", false)).await;
        assert_eq!(state(&unpaid), "INPUT_REQUIRED", "{client:?}: {unpaid}");
        let mut call = client.send("p", "paid", false);
        let payment = shop.payment("p", &unpaid).await;
        for name in ["taskId", "metadata"] {
            call["send"]["message"][name] = payment[name].clone();
        }
        let paid = sees(call).await;
        assert_eq!(state(&paid), "COMPLETED", "{client:?}: {paid}");
        let receipt = &metadata(&paid)["x402.payment.receipts"][0];
        assert_eq!(receipt["success"], true, "{client:?}: {paid}");
    }
    assert_eq!(shop.sales().await, clients::all().count());
}

#[tokio::test]
async fn the_same_payment_again_has_the_same_answer_and_is_not_charged() {
    let shop = Shop::open().await;
    let unpaid = shop.unpaid("m").await;
    let payment = shop.payment("p", &unpaid).await;
    let paid = shop.sends(&payment).await;
    assert_eq!(state(&paid), "COMPLETED", "{paid}");
    assert_eq!(shop.sends(&payment).await, paid);
    assert_eq!(shop.sales().await, 1);
}

#[tokio::test]
async fn who_reads_a_task_of_an_agent_with_a_price_pays_nothing() {
    let shop = Shop::open().await;
    let unpaid = shop.unpaid("m").await;
    assert_eq!(
        state(&task(&shop.host, AGENT, TOKEN, &unpaid["id"]).await),
        "INPUT_REQUIRED"
    );
    let listed = asked(&shop.host, AGENT, TOKEN, "ListTasks", json!({})).await;
    assert_eq!(listed["result"]["totalSize"], 1, "{listed}");
    assert_eq!(shop.sales().await, 0);
}

#[tokio::test]
async fn a_payment_for_one_task_does_not_pay_for_what_another_asks() {
    let shop = Shop::open().await;
    let first = shop.unpaid("m").await;
    let payment = shop.payment("p", &first).await;
    assert_eq!(state(&shop.sends(&payment).await), "COMPLETED");
    let other = shop.sends(&message("another", "something else")).await;
    let payload = &payment["metadata"]["x402.payment.payload"];
    let refused = shop.sends(&paying("again", &other, payload)).await;
    assert_eq!(state(&refused), "INPUT_REQUIRED", "{refused}");
    let said = metadata(&refused);
    assert_eq!(said["x402.payment.status"], "payment-failed", "{refused}");
    assert_eq!(said["x402.payment.error"], "DUPLICATE_NONCE", "{refused}");
    assert_eq!(text(&refused), "", "{refused}");
    assert_eq!(shop.sales().await, 1);
}

#[tokio::test]
async fn who_does_not_pay_ends_the_task() {
    let shop = Shop::open().await;
    let unpaid = shop.unpaid("m").await;
    let mut refusal = message("no", "no");
    refusal["taskId"] = unpaid["id"].clone();
    refusal["metadata"] = json!({"x402.payment.status": "payment-rejected"});
    assert_eq!(state(&shop.sends(&refusal).await), "CANCELED");
    assert_eq!(shop.sales().await, 0);
}
