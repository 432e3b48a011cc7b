//! The front that speaks A2A: the official clients, unchanged, what becomes of tasks, and what is sold.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod clients;
mod payments;
mod tasks;

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::a2a_front;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// The agent that speaks A2A itself.
const EVERYTHING: &str = "a2a-everything";
const TOKEN: &str = "of-one";
const OTHER: &str = "of-another";

/// A host that speaks A2A below `/a2a/`; `more` is what else is configured.
fn speaking(more: &str) -> Host {
    Host::with(&format!(
        "{more}\n[[protocols]]\nname = 'a2a'\npaths = ['/a2a/']\nbackground = '5m'\n{}\n",
        a2a_front()
    ))
}

/// The same with the agent that speaks A2A itself.
async fn with_everything(more: &str) -> Host {
    let host = speaking(more);
    host.deploy(&owner(), EVERYTHING, EVERYTHING, "").await;
    host
}

/// Where an agent is found.
fn url(host: &Host, agent: &str) -> String {
    format!("{}/a2a/{agent}/", host.url())
}

/// A message of this id, which says `text`.
fn message(id: &str, text: &str) -> Value {
    json!({"messageId": id, "role": "ROLE_USER", "parts": [{"text": text}]})
}

/// A request by JSON-RPC.
fn request(host: &Host, agent: &str, method: &str, params: &Value) -> RequestBuilder {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    Client::new()
        .post(url(host, agent))
        .header("content-type", "application/json")
        .header("a2a-version", "1.0")
        .body(body.to_string())
}

/// What a whole answer says.
async fn said(answer: Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// The answer by JSON-RPC to whoever has this token.
async fn asked(host: &Host, agent: &str, token: &str, method: &str, params: Value) -> Value {
    let request = request(host, agent, method, &params).bearer_auth(token);
    said(request.send().await.unwrap()).await
}

/// The task that a message became.
async fn sent(host: &Host, agent: &str, token: &str, message: Value) -> Value {
    let answer = asked(
        host,
        agent,
        token,
        "SendMessage",
        json!({"message": message}),
    )
    .await;
    let task = &answer["result"]["task"];
    assert!(task.is_object(), "{answer}");
    task.clone()
}

/// A task as it stands.
async fn task(host: &Host, agent: &str, token: &str, id: &Value) -> Value {
    let answer = asked(host, agent, token, "GetTask", json!({"id": id})).await;
    assert!(answer["result"].is_object(), "{answer}");
    answer["result"].clone()
}

fn state(task: &Value) -> &str {
    let state = task["status"]["state"].as_str();
    let state = state.unwrap_or_else(|| panic!("no state: {task}"));
    state.trim_start_matches("TASK_STATE_")
}

/// All the text of all artifacts.
fn text(task: &Value) -> String {
    let artifacts = task["artifacts"].as_array().into_iter().flatten();
    let parts = artifacts.flat_map(|it| it["parts"].as_array().unwrap());
    parts.filter_map(|part| part["text"].as_str()).collect()
}

/// The text that comes of a message whose id begins with `ticks`.
fn ticks() -> String {
    (1..=20).map(|at| format!("{at} ")).collect()
}
