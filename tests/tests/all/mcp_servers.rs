//! Agents that are servers of MCP themselves, behind the front: the official client, unchanged, in both eras.
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

pub(crate) const EVERYTHING: &str = "mcp-everything";
const MODERN: &str = "2026-07-28";

/// A host with the front and servers of these names, all of which have everything; `front` are more keys of the front.
pub(crate) async fn serving(names: &[&str], front: &str) -> Host {
    let host = speaking_with("", front);
    for name in names {
        host.deploy(&owner(), EVERYTHING, name, "").await;
    }
    host
}

pub(crate) fn url(host: &Host, agent: &str) -> String {
    format!("{}/mcp/{agent}", host.url())
}

/// What a client of today's protocol is answered that can fill in forms: status and body.
pub(crate) async fn asked(host: &Host, agent: &str, tool: &str, more: Value) -> (u16, Value) {
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
    let host = serving(&[EVERYTHING], "").await;
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
        let contents = results[1]["content"].as_array().unwrap().iter();
        let kinds: Vec<_> = contents.map(|it| it["type"].as_str()).collect();
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
async fn what_is_hidden_or_no_server_is_not_served() {
    let host = serving(&[], "").await;
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
