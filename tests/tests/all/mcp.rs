//! The front that speaks MCP: the official client, unchanged, in both eras of the protocol, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::process::Stdio;

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::payments::{Chain, Facilitator, Payment};
use hypervisor_tests::programs::{guest, javascript_plugin, mcp_front, python_plugin};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::payments::kit::config as sells;

const MODERN: &str = "2026-07-28";

/// A host that speaks MCP at `/mcp`; `more` is what else is configured.
fn speaking(more: &str) -> Host {
    speaking_with(more, "")
}

/// The same; `front` are more keys of what speaks it.
pub(crate) fn speaking_with(more: &str, front: &str) -> Host {
    Host::with(&format!(
        "{more}\n[runtime.javascript]\n{}\n[runtime.python]\n{}\n[[protocols]]\nname = 'mcp'\npaths = ['/mcp', '/mcp/']\n{front}\n{}\n",
        javascript_plugin(),
        python_plugin(),
        mcp_front()
    ))
}

fn mcp(host: &Host) -> String {
    format!("{}/mcp", host.url())
}

/// What the official client gets of these calls.
async fn official(host: &Host, era: &str, calls: Value) -> Value {
    official_at(&mcp(host), era, calls).await
}

/// The same, from a server at this address.
pub(crate) async fn official_at(url: &str, era: &str, calls: Value) -> Value {
    client_at(["node_modules/.bin/node", "client.mjs"], url, era, calls).await
}

/// What one of the official clients gets.
async fn client_at([program, script]: [&str; 2], url: &str, era: &str, calls: Value) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/mcp");
    let program = std::path::Path::new(folder).join(program);
    let mut client = tokio::process::Command::new(program)
        .arg(script)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let answers = json!({ "name": "Ada" });
    let input = json!({ "url": url, "era": era, "calls": calls, "answers": answers }).to_string();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = client.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_official_clients_in_python_run_code_and_call_agents() {
    let host = speaking("");
    host.deploy(&owner(), "http-hello", "greeter", "").await;
    let second = ".venv/bin/python";
    for (python, era, version) in [
        (second, "modern", MODERN),
        (second, "legacy", "2025-11-25"),
        (".venv-1/bin/python", "legacy", "2025-11-25"),
    ] {
        let calls = json!([
            call("run_python", json!({ "code": "print(6 * 7)" })),
            call("greeter", json!({ "input": "hi" })),
            call("run_python", json!({ "code": "raise SystemExit(3)" })),
        ]);
        let said = client_at([python, "client.py"], &mcp(&host), era, calls).await;
        assert_eq!(said["version"], version, "{python} {era}");
        let tools = said["tools"].as_array().unwrap();
        assert!(tools.iter().any(|tool| tool["name"] == "run_python"));
        let results = &said["results"];
        assert_eq!(results[0]["content"][0]["text"], "42\n", "{said}");
        assert_eq!(results[0]["structuredContent"]["exit"]["kind"], "ok");
        let greeting = results[1]["content"][0]["text"].as_str().unwrap();
        assert!(greeting.starts_with("hello"), "{greeting}");
        assert_eq!(results[2]["isError"], true);
    }
}

fn call(name: &str, arguments: Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

/// A request as a client of today's protocol sends it.
async fn asked(host: &Host, method: &str, mut params: Value, more: &[(&str, &str)]) -> Response {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut request = Client::new()
        .post(mcp(host))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    request.body(body.to_string()).send().await.unwrap()
}

async fn result(host: &Host, name: &str, arguments: Value, meta: Value) -> Value {
    let params = json!({ "name": name, "arguments": arguments, "_meta": meta });
    let answer = asked(host, "tools/call", params, &[]).await;
    let text = answer.text().await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["result"].clone()
}

#[tokio::test]
async fn the_official_client_runs_code_and_calls_agents_in_both_eras() {
    let host = speaking("");
    host.deploy(&owner(), "http-hello", "greeter", "").await;
    host.deploy(&owner(), "http-hello", "hidden", "private = true")
        .await;
    for era in ["modern", "legacy"] {
        let calls = json!([
            call(
                "run_python",
                json!({ "code": "import sys; print(sum(range(10)), sys.stdin.read())", "stdin": "in" })
            ),
            call(
                "run_javascript",
                json!({ "code": "const n: number = 6 * 7; console.log(n)" })
            ),
            call("search_agents", json!({ "query": "greeter" })),
            call("call_agent", json!({ "agent": "greeter" })),
            call("greeter", json!({ "input": "hi" })),
            call(
                "run_python",
                json!({ "code": "print('before'); raise SystemExit(3)" })
            ),
        ]);
        let said = official(&host, era, calls).await;
        let names: Vec<&str> = said["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        for name in [
            "run_python",
            "run_javascript",
            "run_wasm",
            "search_agents",
            "call_agent",
            "greeter",
        ] {
            assert!(names.contains(&name), "{era}: {names:?}");
        }
        assert!(!names.contains(&"hidden"), "{era}: {names:?}");
        let results = &said["results"];
        assert_eq!(
            results[0]["structuredContent"]["stdout"], "45 in\n",
            "{era}: {results}"
        );
        assert_eq!(
            results[1]["structuredContent"]["stdout"], "42\n",
            "{era}: {results}"
        );
        assert!(
            results[2].to_string().contains("greeter"),
            "{era}: {results}"
        );
        for index in [3, 4] {
            let result = &results[index];
            assert!(
                result["isError"] != json!(true) && !result["content"][0].is_null(),
                "{era}: {result}"
            );
        }
        assert_eq!(results[5]["isError"], true);
        assert_eq!(results[5]["structuredContent"]["exit"]["code"], 3);
        assert_eq!(results[5]["structuredContent"]["stdout"], "before\n");
    }
}

#[tokio::test]
async fn a_component_is_run_and_a_limit_is_named() {
    let host = speaking("[limits]\ncpu = '1s'\n");
    let hello = base64(&guest("hello"));
    let ran = result(&host, "run_wasm", json!({ "component": hello }), json!({})).await;
    assert_eq!(ran["structuredContent"]["exit"]["kind"], "ok", "{ran}");
    let looped = result(
        &host,
        "run_javascript",
        json!({ "code": "for (;;);" }),
        json!({}),
    )
    .await;
    assert_eq!(looped["isError"], true);
    assert_eq!(
        looped["structuredContent"]["exit"]["which"], "cpu",
        "{looped}"
    );
    // What leaves the sandbox is what leaves it anywhere.
    let outside = json!({ "code": "console.log(await fetch('http://127.0.0.1:1/').catch((e) => e.message))" });
    let outside = result(&host, "run_javascript", outside, json!({})).await;
    assert!(outside.to_string().contains("may not reach"), "{outside}");
}

#[tokio::test]
async fn what_has_a_price_is_bought_with_the_payment_in_the_call() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let host = speaking(&format!(
        "{}\n[routes]\nfree = false\n",
        sells(&chain, facilitator.url(), "")
    ));
    let code = json!({ "code": "print('sold')" });
    let unpaid = result(&host, "run_python", code.clone(), json!({})).await;
    assert_eq!(unpaid["isError"], true);
    let offer = &unpaid["structuredContent"]["accepts"][0];
    assert_eq!(offer["amount"], "10000", "{unpaid}");
    let text = unpaid["content"][0]["text"].as_str().unwrap();
    let same: Value = serde_json::from_str(text).unwrap();
    assert_eq!(same, unpaid["structuredContent"]);
    let payment = Payment::for_offer(chain.payer(0), offer).payload();
    let paid = result(
        &host,
        "run_python",
        code.clone(),
        json!({ "x402/payment": payment }),
    )
    .await;
    assert_eq!(paid["structuredContent"]["stdout"], "sold\n", "{paid}");
    let settled = &paid["_meta"]["x402/payment-response"];
    assert_eq!(settled["success"], true, "{paid}");
    assert_eq!(chain.transfers().await.len(), 1);
    // The same payment buys nothing more.
    let again = result(
        &host,
        "run_python",
        code,
        json!({ "x402/payment": payment }),
    )
    .await;
    assert_eq!(again["isError"], true, "{again}");
    assert_eq!(chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn requests_that_are_none_of_the_protocols_are_refused_with_its_errors() {
    let host = speaking("");
    let list = asked(&host, "tools/list", json!({}), &[]).await;
    assert_eq!(list.status(), 200);
    for (method, more, status, code) in [
        (
            "tools/list",
            ("mcp-protocol-version", "1999-01-01"),
            400,
            -32020,
        ),
        ("tools/none", ("x-a", "b"), 404, -32601),
    ] {
        let answer = asked(&host, method, json!({}), &[more]).await;
        let seen = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(
            (seen, &body["error"]["code"]),
            (status, &json!(code)),
            "{body}"
        );
    }
    let client = Client::new();
    for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
        let answer = client.request(method, mcp(&host)).send().await.unwrap();
        assert_eq!(answer.status(), 405);
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"jsonrpc\":\"2.0\"}",
        &"[".repeat(100_000),
    ] {
        let request = client
            .post(mcp(&host))
            .header("content-type", "application/json");
        let answer = request.body(body.to_owned()).send().await.unwrap();
        assert!(
            answer.status().is_client_error(),
            "{body:.20}: {}",
            answer.status()
        );
    }
    assert_eq!(
        asked(&host, "tools/list", json!({}), &[]).await.status(),
        200
    );
}

#[tokio::test]
async fn a_page_of_another_origin_runs_nothing() {
    let host = speaking("");
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
    ] {
        let refused = asked(&host, "tools/list", json!({}), &[("origin", origin)]).await;
        assert_eq!(refused.status(), 403, "{origin}");
    }
    // DNS rebinding: the page's own name leads to this machine.
    let rebound = asked(&host, "tools/list", json!({}), &[("host", "evil.example")]).await;
    assert_eq!(rebound.status(), 403);
}

#[tokio::test]
async fn a_call_says_nothing_in_the_hosts_log() {
    let host = speaking("");
    let code = "print('xyzzymarker'); raise ValueError('xyzzymarker')";
    result(
        &host,
        "run_python",
        json!({ "code": code, "stdin": "xyzzymarker" }),
        json!({}),
    )
    .await;
    assert!(!host.log().contains("xyzzymarker"));
}

fn base64(bytes: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    BASE64_STANDARD.encode(bytes)
}
