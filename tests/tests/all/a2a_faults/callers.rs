//! Tasks of somebody else's: whoever asks for one, in whichever way, is answered as for one that never was.

use std::io::Cursor;

use bhttp::{Message, Mode};
use hypervisor_client::protocol::{ContentFormat, Exit, Operation, OwnerKey};
use hypervisor_tests::agents::owner;
use hypervisor_tests::{Host, RawSession};
use reqwest::Method;
use serde_json::{Value, json};

use super::kit::{Asker, EVERYTHING, NOT_FOUND, id, says, speaking, state, task_in};
use crate::agents::binary_http::written;

/// An id that no task has.
const NEVER: &str = "00112233445566778899aabbccddeeff";

/// Methods about a task, by JSON-RPC.
const METHODS: [&str; 4] = ["GetTask", "CancelTask", "SubscribeToTask", "SendMessage"];
/// The same, by HTTP.
const PATHS: [(&str, &str); 4] = [
    ("GET", "tasks/ID"),
    ("POST", "tasks/ID:cancel"),
    ("POST", "tasks/ID:subscribe"),
    ("POST", "message:send"),
];

async fn asking() -> Host {
    let host = speaking("");
    host.deploy(&owner(), "a2a-everything", EVERYTHING, "")
        .await;
    host
}

/// A message that has a task wait for an answer.
fn question() -> Value {
    says("tck-input-required", "hi")
}

fn params(method: &str, task: &str) -> Value {
    match method {
        "SendMessage" => {
            let mut message = says("continues", "hi");
            message["taskId"] = json!(task);
            json!({"message": message})
        }
        _ => json!({"id": task}),
    }
}

/// What somebody is told in both bindings about a task, with its id written as `ID`.
async fn told(host: &Host, asker: &Asker, task: &str) -> Vec<(u16, String)> {
    let mut all = Vec::new();
    let mut requests = Vec::new();
    for method in METHODS {
        requests.push(asker.rpc(host, method, &params(method, task)));
    }
    for (verb, path) in PATHS {
        let verb: Method = verb.parse().unwrap();
        let mut request = asker.request(host, verb, &path.replace("ID", task));
        if path == "message:send" {
            let body = params("SendMessage", task).to_string();
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        requests.push(request);
    }
    for request in requests {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        all.push((status, answer.text().await.unwrap().replace(task, "ID")));
    }
    all
}

/// A request by JSON-RPC that is sealed, as an owner or as nobody.
async fn sealed(host: &Host, owner: Option<&OwnerKey>, method: &str, params: &Value) -> Value {
    let raw = RawSession::open(host).await;
    let path = format!("/a2a/{EVERYTHING}/");
    let mut message = Message::request(
        b"POST".into(),
        b"http".into(),
        b"127.0.0.1".into(),
        path.into_bytes(),
    );
    message.put_header("content-type", "application/json");
    message.put_header("a2a-version", "1.0");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    message.write_content(body.to_string());
    let input = written(&message, Mode::KnownLength);
    let proof = owner.map(|owner| raw.prove(owner));
    let (request, pending) = raw.about(Operation::Agent, "a2a.protocol", Some(&input), proof);
    let answer = raw
        .send_to(reqwest::Method::POST, "/agents/a2a.protocol", &request)
        .await;
    let opened = raw.open_answer(ContentFormat::Cbor, &pending, &answer);
    assert_eq!(opened.report.exit, Exit::Ok);
    let response = Message::read_bhttp(&mut Cursor::new(&opened.result)).unwrap();
    serde_json::from_slice(response.content()).unwrap()
}

/// Everybody but one who has the token `a`.
fn strangers(owner: &OwnerKey) -> Vec<Asker> {
    let forged = format!("owner={}", owner.id());
    vec![
        Asker::bearer(EVERYTHING, "b"),
        Asker::anonymous(EVERYTHING),
        Asker::anonymous(EVERYTHING).with("hypervisor-caller", &forged),
        Asker::bearer(EVERYTHING, "b").with("hypervisor-caller", &forged),
        Asker::anonymous(EVERYTHING).with("authorization", "Basic a"),
    ]
}

#[tokio::test]
async fn the_task_of_one_with_a_token_is_to_everybody_else_as_one_that_never_was() {
    let host = asking().await;
    let someone = owner();
    let mine = Asker::bearer(EVERYTHING, "a");
    let task = mine.sends(&host, &question()).await;
    for stranger in strangers(&someone) {
        let found = told(&host, &stranger, id(&task)).await;
        assert_eq!(found, told(&host, &stranger, NEVER).await, "{stranger:?}");
        for (_, text) in &found {
            assert!(text.contains("TASK_NOT_FOUND"), "{stranger:?}: {text}");
        }
    }
    for owner in [None, Some(&someone)] {
        for method in METHODS {
            let found = sealed(&host, owner, method, &params(method, id(&task))).await;
            let never = sealed(&host, owner, method, &params(method, NEVER)).await;
            assert_eq!(
                (&found, &found["error"]["code"]),
                (&never, &json!(NOT_FOUND))
            );
        }
    }
    assert_eq!(
        mine.task(&host, id(&task)).await,
        task,
        "nothing happened to it"
    );
}

#[tokio::test]
async fn the_task_of_an_owner_is_to_everybody_else_as_one_that_never_was() {
    let host = asking().await;
    let (mine, other) = (owner(), owner());
    let asked = json!({"message": question()});
    let task = task_in(&sealed(&host, Some(&mine), "SendMessage", &asked).await);
    for stranger in strangers(&mine) {
        let found = told(&host, &stranger, id(&task)).await;
        assert_eq!(found, told(&host, &stranger, NEVER).await, "{stranger:?}");
    }
    for owner in [None, Some(&other)] {
        for method in METHODS {
            let found = sealed(&host, owner, method, &params(method, id(&task))).await;
            let never = sealed(&host, owner, method, &params(method, NEVER)).await;
            assert_eq!(
                (&found, &found["error"]["code"]),
                (&never, &json!(NOT_FOUND))
            );
        }
    }
    let params = json!({"id": id(&task)});
    let found = sealed(&host, Some(&mine), "GetTask", &params).await;
    assert_eq!(found["result"], task, "nothing happened to it");
}

#[tokio::test]
async fn the_tasks_of_one_are_in_no_list_of_anybody_else() {
    let host = asking().await;
    let (mine, other) = (owner(), owner());
    let token = Asker::bearer(EVERYTHING, "a");
    let task = token.sends(&host, &question()).await;
    let asked = json!({"message": question()});
    let sealed_task = task_in(&sealed(&host, Some(&mine), "SendMessage", &asked).await);
    for task in [&task, &sealed_task] {
        let of_context = json!({"contextId": task["contextId"]});
        for params in [&json!({}), &of_context] {
            for stranger in strangers(&mine) {
                let listed = stranger.asks(&host, "ListTasks", params).await;
                assert_eq!(listed["result"]["totalSize"], 0, "{stranger:?}: {listed}");
            }
            for owner in [None, Some(&other)] {
                let listed = sealed(&host, owner, "ListTasks", params).await;
                assert_eq!(listed["result"]["totalSize"], 0, "{listed}");
            }
        }
    }
    let listed = sealed(&host, Some(&mine), "ListTasks", &json!({})).await;
    assert_eq!(listed["result"]["tasks"][0]["id"], sealed_task["id"]);
    assert_eq!(listed["result"]["totalSize"], 1);
    assert_eq!(token.tasks(&host).await.len(), 1);
}

#[tokio::test]
async fn a_context_of_somebody_elses_is_another_context_of_the_same_name() {
    let host = asking().await;
    let (mine, other) = (
        Asker::bearer(EVERYTHING, "a"),
        Asker::bearer(EVERYTHING, "b"),
    );
    let task = mine.sends(&host, &says("1", "hi")).await;
    let mut message = says("2", "hi");
    message["contextId"] = task["contextId"].clone();
    let theirs = other.sends(&host, &message).await;
    assert_eq!(state(&theirs), "COMPLETED");
    let params = json!({"contextId": task["contextId"]});
    for (asker, own) in [(&mine, &task), (&other, &theirs)] {
        let listed = asker.asks(&host, "ListTasks", &params).await;
        assert_eq!(listed["result"]["totalSize"], 1, "{listed}");
        assert_eq!(listed["result"]["tasks"][0]["id"], own["id"]);
    }
}

#[tokio::test]
async fn the_task_of_one_agent_is_not_found_at_another() {
    let host = asking().await;
    host.deploy(&owner(), "a2a-everything", "other", "").await;
    let task = Asker::bearer(EVERYTHING, "a")
        .sends(&host, &question())
        .await;
    let there = Asker::bearer("other", "a");
    let found = told(&host, &there, id(&task)).await;
    assert_eq!(found, told(&host, &there, NEVER).await);
    assert!(there.tasks(&host).await.is_empty());
}
