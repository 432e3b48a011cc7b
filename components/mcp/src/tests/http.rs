//! HTTP, JSON-RPC and the two ways of speaking.

use front::ports::Answer;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::RpcError;

pub(super) fn nobody() -> World {
    World::answering(|_, _| Answer {
        status: 404,
        ..Answer::default()
    })
}

fn incoming(method: &str, headers: &[(&str, &str)], body: Body) -> Outgoing {
    let incoming = Incoming {
        method: method.to_owned(),
        target: "/mcp".to_owned(),
        host: Some("localhost".to_owned()),
        fields: Fields::of(headers),
        body,
    };
    serve(&Desk::of(&nobody()), Ok(&settings()), incoming).unwrap()
}

fn legacy(method: &str, params: &Value) -> Outgoing {
    let body = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
    post(
        &nobody(),
        &[("mcp-protocol-version", "2025-11-25")],
        body.to_string().as_bytes(),
    )
}

#[test]
fn a_client_without_a_handshake_discovers_and_lists() {
    let (status, answer) = ask(&nobody(), "server/discover", json!({}));
    let result = &answer["result"];
    assert_eq!((status, &result["resultType"]), (200, &json!("complete")));
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["capabilities"], json!({"tools": {}}));
    assert!(result["ttlMs"].is_u64() && result["cacheScope"] == "public");
    let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(info["name"], "hypervisor");

    let (status, answer) = ask(&nobody(), "tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(status, 200);
    assert_eq!(
        names,
        [
            "run_python",
            "run_javascript",
            "run_wasm",
            "search_agents",
            "call_agent"
        ]
    );
}

#[test]
fn a_client_with_a_handshake_gets_no_session() {
    let opened = legacy(
        "initialize",
        &json!({"protocolVersion": "2025-11-25", "capabilities": {}}),
    );
    assert_eq!(opened.status, 200);
    assert!(
        !opened
            .headers
            .iter()
            .any(|(name, _)| *name == "mcp-session-id")
    );
    let result = &parsed(&opened)["result"];
    assert_eq!(result["protocolVersion"], "2025-11-25");
    assert!(result["serverInfo"]["version"].is_string() && result.get("resultType").is_none());
    let told = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let told = post(&nobody(), &[], told);
    assert_eq!((told.status, told.body.len()), (202, 0));
    assert_eq!(parsed(&legacy("ping", &json!({})))["result"], json!({}));
    assert_eq!(
        parsed(&legacy("tools/list", &json!({})))["result"]["tools"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}

#[test]
fn a_method_that_there_is_not_is_404_where_statuses_count() {
    let (status, answer) = ask(&nobody(), "resources/list", json!({}));
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)));
    let older = legacy("resources/list", &json!({}));
    assert_eq!(
        (older.status, &parsed(&older)["error"]["code"]),
        (200, &json!(-32601))
    );
}

#[test]
fn a_tool_that_there_is_not_is_an_error_of_the_protocol() {
    for params in [
        json!({"name": "weather"}),
        json!({"name": "run_perl"}),
        json!({"name": ""}),
        json!({"name": "run_python", "arguments": []}),
        json!({"name": "run_python", "_meta": {"x402/payment": 1}}),
        json!({}),
    ] {
        let (status, answer) = ask(&nobody(), "tools/call", params);
        assert_eq!(
            (status, &answer["error"]["code"]),
            (400, &json!(-32602)),
            "{answer}"
        );
    }
}

#[test]
fn what_is_no_post_of_json_is_refused() {
    let json = ("content-type", "application/json");
    for (method, headers, body, status) in [
        ("GET", &[json][..], Body::Whole(Vec::new()), 405),
        ("DELETE", &[], Body::Whole(Vec::new()), 405),
        ("OPTIONS", &[], Body::Whole(Vec::new()), 405),
        ("POST", &[], Body::Whole(b"{}".to_vec()), 415),
        (
            "POST",
            &[("content-type", "text/plain")],
            Body::Whole(b"{}".to_vec()),
            415,
        ),
        (
            "POST",
            &[json, ("accept", "text/html")],
            Body::Whole(b"{}".to_vec()),
            406,
        ),
        ("POST", &[json], Body::TooLong, 413),
        ("POST", &[json], Body::Broken, 400),
        ("POST", &[json], Body::Whole(b"{".to_vec()), 400),
        ("POST", &[json], Body::Whole(b"[{}]".to_vec()), 400),
        (
            "POST",
            &[json, ("origin", "http://evil.example")],
            Body::Whole(b"{}".to_vec()),
            403,
        ),
    ] {
        let outgoing = incoming(method, headers, body);
        assert_eq!(outgoing.status, status, "{method} {headers:?}");
        assert_eq!(parsed(&outgoing)["id"], Value::Null);
        let allows = outgoing.headers.iter().any(|(name, _)| *name == "allow");
        assert_eq!(allows, status == 405);
    }
}

#[test]
fn who_takes_events_alone_gets_one() {
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let events = post(&nobody(), &[("accept", "text/event-stream")], body);
    assert!(
        events
            .headers
            .contains(&("content-type", "text/event-stream".to_owned()))
    );
    let text = String::from_utf8(events.body).unwrap();
    let data = text.strip_prefix("event: message\ndata: ").unwrap();
    let answer: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    for accept in [
        "*/*",
        "application/json, text/event-stream",
        "application/*;q=0.5",
    ] {
        let json = post(&nobody(), &[("accept", accept)], body);
        assert_eq!(parsed(&json)["id"], 1, "{accept}");
    }
}

#[test]
fn a_page_of_the_same_machine_may_ask_and_read() {
    let origin = ("origin", "http://localhost:6274");
    let asked = incoming("OPTIONS", &[origin], Body::Whole(Vec::new()));
    assert_eq!(asked.status, 204);
    let allowed = ("access-control-allow-origin", origin.1.to_owned());
    assert!(asked.headers.contains(&allowed));
    let answered = post(
        &nobody(),
        &[origin],
        br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
    );
    assert!(answered.headers.contains(&allowed));
}

#[test]
fn settings_that_can_not_be_read_are_told() {
    let incoming = Incoming {
        method: "POST".to_owned(),
        target: "/mcp".to_owned(),
        host: None,
        fields: Fields::of(&[]),
        body: Body::Whole(Vec::new()),
    };
    let error = RpcError::Settings("MCP_TOOLS names a tool that there is not".to_owned());
    let outgoing = serve(&Desk::of(&nobody()), Err(error), incoming).unwrap();
    assert_eq!(
        (outgoing.status, &parsed(&outgoing)["error"]["code"]),
        (500, &json!(-32603))
    );
}

proptest! {
    #[test]
    fn any_body_is_answered_with_json_or_nothing(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let outgoing = post(&nobody(), &[], &body);
        prop_assert!(outgoing.body.is_empty() || parsed(&outgoing).is_object());
    }

    #[test]
    fn any_request_is_answered(
        method in "(tools/call|tools/list|initialize|ping|.{0,12})", name in "(run_python|call_agent|a_b|.{0,12})",
        arguments in "(\\{\\}|\\[\\]|null|1|\\{\"code\":1\\}|\\{\"agent\":\"a\"\\}|\\{\"code\":\"\",\"args\":[1]\\})",
    ) {
        let (method, name) = (json!(method), json!(name));
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":{method},"params":{{"name":{name},"arguments":{arguments}}}}}"#
        );
        let outgoing = post(&nobody(), &[], body.as_bytes());
        let answer = parsed(&outgoing);
        prop_assert!(answer.get("result").is_some() != answer.get("error").is_some());
    }
}
