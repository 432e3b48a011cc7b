//! The front as a whole, against a world of the tests' own.

mod agents;
mod callers;
mod cards;
mod following;
mod fuzz;
pub mod keys;
mod listing;
mod messages;
mod paying;
mod restarts;
pub mod store;
mod transport;
pub mod world;

use std::sync::Arc;

use serde_json::{Value, json};

use world::{Got, Host, ask, settings};

/// Header fields of a request in JSON-RPC.
const RPC: [(&str, &str); 2] = [("content-type", "application/json"), ("a2a-version", "1.0")];

/// A request by JSON-RPC to an agent, with further header fields.
fn rpc(
    host: &Arc<Host>,
    agent: &str,
    headers: &[(&str, &str)],
    method: &str,
    params: Value,
) -> Got {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let all = [&RPC, headers].concat();
    let path = format!("/a2a/{agent}/");
    ask(
        host,
        &settings(&[]),
        ("POST", &path),
        &all,
        body.to_string().as_bytes(),
    )
}

/// A message with this text.
fn message(id: &str, text: &str) -> Value {
    json!({"messageId": id, "role": "ROLE_USER", "parts": [{"text": text}]})
}

/// Sends a message to the agent `a` as nobody known, and gives what it is answered with.
fn send(host: &Arc<Host>, message: Value) -> Value {
    rpc(host, "a", &[], "SendMessage", json!({"message": message})).result()
}

/// The task with this id, as nobody known sees it.
fn task(host: &Arc<Host>, id: &Value) -> Value {
    rpc(host, "a", &[], "GetTask", json!({"id": id})).result()
}

fn state(task: &Value) -> &str {
    let status = task.get("status").unwrap_or_else(|| panic!("{task}"));
    status["state"]
        .as_str()
        .unwrap()
        .trim_start_matches("TASK_STATE_")
}

/// What each event of a stream is: the state, or the text of an artifact.
fn kinds(events: &[Value]) -> Vec<String> {
    let kind = |event: &Value| {
        if let Some(task) = event.get("task") {
            format!("task {}", state(task))
        } else if let Some(update) = event.get("statusUpdate") {
            state(update).to_owned()
        } else if let Some(update) = event.get("artifactUpdate") {
            let text = &update["artifact"]["parts"][0]["text"];
            let more = if update["append"] == true { "+" } else { "" };
            let last = if update["lastChunk"] == true { "." } else { "" };
            format!("{more}{}{last}", text.as_str().unwrap_or("?"))
        } else {
            "message".to_owned()
        }
    };
    events.iter().map(kind).collect()
}

const TOKEN: (&str, &str) = ("authorization", "Bearer of-one");
const OTHER: (&str, &str) = ("authorization", "Bearer of-another");
