//! Too much of something: tasks, ids, depth, bytes, parts, events that nobody reads. Each is refused or bounded, and others are served.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use hypervisor_tests::agents::owner;
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Host, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::kit::{
    AGENT, Asker, Pieces, configured, id, order, says, speaking, state, task_in, text, words,
};
use crate::agents::kit::{Destination, outgoing};

/// Who floods, while everybody else is at 127.0.0.1.
const FLOODER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// As much more may the host hold, in bytes, after eight streams of 16 MiB that are not read: half of them, with the rows of their tasks.
const GROWTH: u64 = 64 << 20;

async fn greeting() -> Host {
    let host = speaking("");
    host.deploy(&owner(), "http-hello", AGENT, "").await;
    host
}

/// That somebody else is served as ever.
async fn others_are_served(host: &Host) {
    let other = Asker::bearer(AGENT, "other");
    let unique = format!("{:?}", std::time::Instant::now());
    let task = other.sends(host, &says(&unique, "hi")).await;
    assert_eq!(state(&task), "COMPLETED", "{task}");
    assert_eq!(other.task(host, id(&task)).await, task);
}

#[tokio::test]
async fn six_hundred_tasks_of_a_client_that_nobody_knows_make_room_for_each_other_and_take_none_of_others()
 {
    // A quarter of it is one client's: room for about a quarter of what comes.
    let front = "background = '5m'\nstorage = '2MiB'";
    let host = Host::with(&configured("", front));
    host.deploy(&owner(), "http-hello", AGENT, "").await;
    let nobody = Asker::anonymous(AGENT);
    let before = nobody.sends(&host, &says("before", "hi")).await;
    let flooder = Asker::anonymous(AGENT).from(FLOODER);
    let mut sending = JoinSet::new();
    let mut taken = Vec::new();
    for number in 0..600 {
        if sending.len() >= 8 {
            taken.push(sending.join_next().await.unwrap().unwrap());
        }
        let params = json!({"message": says(&number.to_string(), &"x".repeat(1000))});
        let request = flooder.rpc(&host, "SendMessage", &params);
        sending.spawn(async move {
            let answer = request.send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status, 200, "{text}");
            task_in(&serde_json::from_str(&text).unwrap())
        });
    }
    while let Some(answer) = sending.join_next().await {
        taken.push(answer.unwrap());
    }
    for task in &taken {
        assert_eq!(state(task), "COMPLETED", "{task}");
    }
    // The oldest went, the newest are whole.
    for task in taken.iter().rev().take(10) {
        assert_eq!(&flooder.task(&host, id(task)).await, task);
    }
    for task in taken.iter().take(10) {
        let params = json!({"id": id(task)});
        let gone = flooder.asks(&host, "GetTask", &params).await;
        assert_eq!(gone["error"]["code"], -32001, "{gone}");
    }
    assert_eq!(nobody.task(&host, id(&before)).await, before);
    others_are_served(&host).await;
}

#[tokio::test]
async fn ids_that_are_too_long_are_refused_or_found_nowhere() {
    let host = greeting().await;
    let asker = Asker::bearer(AGENT, "a");
    let long = "i".repeat(1 << 20);
    for member in ["messageId", "contextId", "taskId"] {
        let mut message = says("m", "hi");
        message[member] = json!(long);
        let refused = asker
            .asks(&host, "SendMessage", &json!({"message": message}))
            .await;
        assert_eq!(refused["error"]["code"], -32602, "{member}");
        assert!(refused.to_string().len() < 1000, "{member}");
    }
    for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
        let refused = asker.asks(&host, method, &json!({"id": long})).await;
        let code = refused["error"]["code"].as_i64().unwrap();
        assert!(matches!(code, -32001 | -32602), "{method}: {code}");
        assert!(refused.to_string().len() < 1000, "{method}");
    }
    let path = format!("tasks/{}", "i".repeat(10_000));
    let refused = asker.request(&host, Method::GET, &path).send().await;
    let status = refused.unwrap().status().as_u16();
    assert!(matches!(status, 404 | 414 | 431), "{status}");
    others_are_served(&host).await;
}

#[tokio::test]
async fn json_that_nests_too_deep_or_has_too_many_values_is_refused() {
    let host = greeting().await;
    let asker = Asker::bearer(AGENT, "a");
    for data in [
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        "[".repeat(1 << 20),
        format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100)),
        format!("[{}1]", "1,".repeat(1 << 20)),
    ] {
        let body = format!(
            "{{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"SendMessage\", \"params\": {{\"message\": \
             {{\"messageId\": \"m\", \"role\": \"ROLE_USER\", \"parts\": [{{\"data\": {data}}}]}}}}}}"
        );
        let answer = asker
            .request(&host, Method::POST, "")
            .header("content-type", "application/json")
            .body(body);
        let answer = answer.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], -32700, "{answer}");
    }
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_message_of_ten_thousand_parts_is_refused() {
    let host = greeting().await;
    let asker = Asker::bearer(AGENT, "a");
    let mut message = says("m", "hi");
    message["parts"] = json!(vec![json!({"text": "hi"}); 10_000]);
    let refused = asker
        .asks(&host, "SendMessage", &json!({"message": message}))
        .await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert!(asker.tasks(&host).await.is_empty());
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_body_of_seventeen_mebibytes_is_refused_in_both_bindings() {
    let host = greeting().await;
    let asker = Asker::bearer(AGENT, "a");
    let message = says("m", &"x".repeat(17 << 20));
    let params = json!({"message": message});
    let by_rpc = asker.rpc(&host, "SendMessage", &params);
    let by_http = asker
        .request(&host, Method::POST, "message:send")
        .header("content-type", "application/json")
        .body(params.to_string());
    for request in [by_rpc, by_http] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 413);
        assert!(answer.text().await.unwrap().len() < 1000);
    }
    others_are_served(&host).await;
}

/// A server of `mebibytes` of text, which come when `gate` has a permit.
async fn flood(mebibytes: usize, gate: Arc<Semaphore>) -> Destination {
    let routes = Router::new().route(
        "/",
        any(async move || {
            let _open = gate.acquire().await.unwrap();
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                let piece = Bytes::from("0123456789abcde\n".repeat(1 << 12));
                for _ in 0..mebibytes * 16 {
                    if sender.send(piece.clone()).await.is_err() {
                        return;
                    }
                }
            });
            Response::builder()
                .header("content-type", "text/plain")
                .body(Body::new(Pieces(receiver)))
                .unwrap()
        }),
    );
    Destination::with(routes).await
}

/// Deploys an agent that passes on what is at an origin.
async fn deploy_for(host: &Host, origin: &str) {
    let manifest = format!(
        "{}\n[tool]\npath = '/?url={origin}/'\ninput_schema = '{{\"type\": \"object\"}}'\n",
        outgoing(&[origin])
    );
    host.deploy(&owner(), "chain", AGENT, &manifest).await;
}

#[tokio::test]
async fn a_client_whose_part_of_the_rows_is_full_is_told_so_and_still_has_its_tasks() {
    const RUNS: usize = 6;
    // A quarter of it is one client's: less than is kept of one task.
    let front = "background = '5m'\nstorage = '2MiB'";
    let host = Host::with(&configured("", front));
    let gate = Arc::new(Semaphore::new(0));
    let there = flood(4, Arc::clone(&gate)).await;
    deploy_for(&host, there.origin()).await;
    let asker = Asker::bearer(AGENT, "a");
    let mut begun = Vec::new();
    for number in 0..RUNS {
        begun.push(asker.begins(&host, &order(&number.to_string())).await);
    }
    // All are under way before the first fills what there is.
    gate.add_permits(1);
    for task in &begun {
        let failed = eventually("it is over", async || {
            let task = asker.task(&host, id(task)).await;
            (state(&task) == "FAILED").then_some(task)
        })
        .await;
        assert!(words(&failed).contains("no room"), "{}", words(&failed));
    }
    assert_eq!(asker.tasks(&host).await.len(), RUNS);
    // What was left out made room for others, and one that was over before it for one that has none.
    let again = asker.sends(&host, &order("again")).await;
    assert_eq!(state(&again), "FAILED", "{}", words(&again));
    assert_eq!(asker.tasks(&host).await.len(), RUNS);
}

/// Streams of [`AGENT`] that nobody reads, until their tasks are over; the connections.
async fn unread(host: &Host, asker: &Asker, names: &[String]) -> Vec<Wire> {
    let mut deaf = Vec::new();
    for name in names {
        let mut wire = Wire::narrow(IpAddr::V4(Ipv4Addr::LOCALHOST), host.url()).await;
        let params = json!({"message": order(name)});
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": params});
        let body = body.to_string();
        let request = format!(
            "POST /a2a/{AGENT}/ HTTP/1.1\r\nhost: 127.0.0.1\r\na2a-version: 1.0\r\nauthorization: Bearer a\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.send(request).await;
        deaf.push(wire);
    }
    for name in names {
        let task = asker.sends(host, &order(name)).await;
        assert_eq!(state(&task), "COMPLETED", "{}", words(&task));
        assert_eq!(task["artifacts"][0]["metadata"]["truncated"], true);
        assert!(text(&task).len() <= 1 << 20);
    }
    deaf
}

#[tokio::test]
async fn streams_that_are_never_read_hold_up_no_run_and_not_much_memory() {
    const READERS: usize = 8;
    let front = "background = '5m'\nstorage = '256MiB'";
    let host = Host::with(&configured("", front));
    let there = flood(16, Arc::new(Semaphore::new(1))).await;
    deploy_for(&host, there.origin()).await;
    let asker = Asker::bearer(AGENT, "a");
    let wave = |wave: usize| -> Vec<String> {
        let names = (0..READERS).map(|number| format!("{wave} {number}"));
        names.collect()
    };
    // The first wave has everything loaded that is loaded once.
    let first = unread(&host, &asker, &wave(1)).await;
    let before = host.resident();
    let second = unread(&host, &asker, &wave(2)).await;
    let at_once = host.resident().saturating_sub(before);
    let grown = host.grown(before, GROWTH).await;
    println!(
        "{at_once} and then {grown} bytes for {READERS} streams of 16 MiB that nobody reads, after {before}"
    );
    drop((first, second));
}

#[tokio::test]
async fn a_body_that_does_not_come_to_an_end_holds_up_nobody() {
    let host = Host::with(&configured(
        "[limits]\nexecutions = 8\npeer_executions = 3\n",
        "background = '5m'\nenvironment = { A2A_TIMEOUT = '5' }",
    ));
    host.deploy(&owner(), "http-hello", AGENT, "").await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut wire = Wire::from(FLOODER, host.url()).await;
        let head = format!(
            "POST /a2a/{AGENT}/ HTTP/1.1\r\nhost: 127.0.0.1\r\na2a-version: 1.0\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n{{\"jsonrpc\""
        );
        wire.send(head).await;
        slow.push(wire);
    }
    others_are_served(&host).await;
    for mut wire in slow {
        let answer = wire.rest().await;
        assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    others_are_served(&host).await;
}
