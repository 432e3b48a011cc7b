//! Agents that are servers of MCP themselves, behind the front: the official client, unchanged, in both eras, and what is of no use to others.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use reqwest::Client;
use serde_json::{Value, json};

use crate::mcp::{official_at, speaking_with};

const EVERYTHING: &str = "mcp-everything";
const MODERN: &str = "2026-07-28";

/// A host with the front and servers of these names, all of which have everything.
async fn serving(names: &[&str]) -> Host {
    let host = speaking_with("", "");
    for name in names {
        host.deploy(&owner(), EVERYTHING, name, "").await;
    }
    host
}

fn url(host: &Host, agent: &str) -> String {
    format!("{}/mcp/{agent}", host.url())
}

/// What a client of today's protocol is answered that can fill in forms: status and body.
async fn asked(host: &Host, agent: &str, tool: &str, more: Value) -> (u16, Value) {
    let mut params = json!({ "name": tool, "arguments": {} });
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let request = Client::new()
        .post(url(host, agent))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "tools/call")
        .header("mcp-name", tool);
    let answer = request.body(body.to_string()).send().await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        serde_json::from_str(&answer.text().await.unwrap()).unwrap(),
    )
}

#[tokio::test]
async fn the_official_client_gets_what_an_agent_says_and_is_asked_on_the_way() {
    let host = serving(&[EVERYTHING]).await;
    for era in ["modern", "legacy"] {
        let calls = json!([
            { "name": "test_input_required_result_elicitation" },
            { "name": "test_multiple_content_types" },
            { "name": "test_structured" },
            { "name": "test_error_handling" },
            { "name": "none" },
        ]);
        let said = official_at(&url(&host, EVERYTHING), era, calls).await;
        let results = &said["results"];
        assert_eq!(
            results[0]["content"][0]["text"], "Hello, Ada!",
            "{era}: {said}"
        );
        let kinds: Vec<_> = results[1]["content"].as_array().unwrap().iter().collect();
        let kinds: Vec<_> = kinds.iter().map(|it| it["type"].as_str()).collect();
        assert_eq!(kinds, [Some("text"), Some("image"), Some("resource")]);
        assert_eq!(results[2]["structuredContent"], json!({ "number": 7 }));
        assert_eq!(results[3]["isError"], true);
        assert_eq!(results[4]["error"]["code"], -32602);
        let tools = said["tools"].as_array().unwrap();
        assert!(tools.iter().any(|tool| tool["name"] == "test_structured"));
        assert!(!tools.iter().any(|tool| tool["name"] == "run_python"));
    }
}

#[tokio::test]
async fn what_an_agent_had_a_client_carry_is_of_no_use_elsewhere() {
    let host = serving(&["one", "two"]).await;
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
async fn what_is_hidden_sold_or_no_server_is_not_served() {
    let host = serving(&[]).await;
    host.deploy(&owner(), EVERYTHING, "hidden", "private = true")
        .await;
    host.deploy(&owner(), "http-hello", "greeter", "").await;
    host.deploy(&owner(), "echo", "command", "").await;
    for agent in ["hidden", "command", "none", "greeter"] {
        let (_, refused) = asked(&host, agent, "test_simple_text", json!({})).await;
        assert!(refused["error"]["code"].is_i64(), "{agent}: {refused}");
        assert!(refused.get("result").is_none(), "{agent}: {refused}");
    }
}

#[tokio::test]
async fn an_answer_to_what_nobody_asked_changes_nothing() {
    let host = serving(&[EVERYTHING]).await;
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
