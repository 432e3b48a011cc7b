//! Agents that are servers of MCP, and clients that carry, answer and ask for what is not theirs.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::mcp::official_at;
use crate::mcp_servers::{EVERYTHING, asked, serving, url};

/// Who attacks, while the test's other requests come from 127.0.0.1.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// More questions than have room.
const MANY: usize = 2_000;

/// A message of a client with a handshake.
fn legacy(client: &Client, url: &str, body: &Value) -> RequestBuilder {
    client
        .post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .body(body.to_string())
}

#[tokio::test]
async fn what_an_agent_had_a_client_carry_is_of_no_use_elsewhere() {
    let host = serving(&["one", "two"], "").await;
    let (tool, other) = (
        "test_input_required_result_request_state",
        "test_input_required_result_tampered_state",
    );
    let (_, first) = asked(&host, "one", tool, json!({})).await;
    let state = first["result"]["requestState"].as_str().unwrap();
    let given = json!({ "confirm": { "action": "accept", "content": { "ok": true } } });
    let with = |state: &str| json!({ "requestState": state, "inputResponses": given });
    let (_, done) = asked(&host, "one", tool, with(state)).await;
    assert!(done.to_string().contains("state-ok"), "{done}");
    let changed = format!("{}A", &state[..state.len() - 1]);
    for (agent, tool, state) in [
        ("two", tool, state),
        ("one", other, state),
        ("one", tool, &changed),
        ("one", tool, "to be confirmed"),
    ] {
        let (status, refused) = asked(&host, agent, tool, with(state)).await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (400, &json!(-32602)),
            "{agent} {tool}: {refused}"
        );
    }
}

#[tokio::test]
async fn an_answer_to_what_nobody_asked_changes_nothing() {
    let host = serving(&[EVERYTHING], "").await;
    for id in [json!("0".repeat(32)), json!("../x"), json!(7), json!(null)] {
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": { "action": "accept" } });
        let request = Client::new()
            .post(url(&host, EVERYTHING))
            .header("content-type", "application/json")
            .body(body.to_string());
        assert_eq!(request.send().await.unwrap().status(), 202, "{id}");
    }
    let call = json!([{ "name": "test_input_required_result_elicitation" }]);
    let said = official_at(&url(&host, EVERYTHING), "legacy", call).await;
    assert!(said.to_string().contains("Hello, Ada!"), "{said}");
}

#[tokio::test]
async fn who_has_questions_asked_and_leaves_takes_room_from_nobody_else() {
    let host = serving(&[EVERYTHING], "storage = '64KiB'").await;
    let url = url(&host, EVERYTHING);
    let attacker = Client::builder().local_address(ATTACKER).build().unwrap();
    let opens = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} } } });
    let opened = legacy(&attacker, &url, &opens).send().await.unwrap();
    let session = opened.headers()["mcp-session-id"].clone();
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "test_input_required_result_elicitation" } });
    let mut refused = None;
    for _ in 0..MANY {
        let request = legacy(&attacker, &url, &call).header("mcp-session-id", &session);
        let mut answer = request.send().await.unwrap();
        let first = answer.chunk().await.unwrap().unwrap();
        if answer.headers()["content-type"] == "application/json" {
            refused = Some(String::from_utf8(first.to_vec()).unwrap());
            break;
        }
    }
    let refused = refused.expect("its part of the room is full some day");
    assert!(refused.contains("-32603"), "{refused}");
    let call = json!([{ "name": "test_input_required_result_elicitation" }]);
    let said = official_at(&url, "legacy", call).await;
    assert!(said.to_string().contains("Hello, Ada!"), "{said}");
}
