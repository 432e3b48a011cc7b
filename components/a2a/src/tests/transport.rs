//! HTTP, JSON-RPC and the versions of the protocol.

use super::world::{Request, text};
use super::*;
use crate::serve::serve;
use front::fields::Fields;
use front::http::{Body, Incoming};

fn post(host: &Arc<Host>, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
    ask(host, &settings(&[]), ("POST", path), headers, body)
}

fn call(method: &str, params: Value) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": "x", "method": method, "params": params})
        .to_string()
        .into_bytes()
}

#[test]
fn an_answer_has_the_id_of_its_request_with_and_without_the_slash() {
    let host = Host::answering(|_, _| text("hello"));
    for path in ["/a2a/a/", "/a2a/a", "/a2a/a.operator/"] {
        let got = post(
            &host,
            path,
            &RPC,
            &call("SendMessage", json!({"message": message("m", "hi")})),
        );
        assert_eq!(
            (got.status, got.json()["id"].clone()),
            (200, json!("x")),
            "{path}"
        );
        assert_eq!(got.header("content-type"), Some("application/json"));
    }
}

#[test]
fn what_is_no_request_is_told_by_the_codes_of_json_rpc() {
    let host = Host::new();
    for (body, code) in [
        (&b"{"[..], -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (br#"{"jsonrpc":"2.0","method":"GetTask"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":{},"method":"GetTask"}"#, -32600),
        (br#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"message/send"}"#,
            -32601,
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":[]}"#,
            -32602,
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{}}"#,
            -32602,
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"GetTask"}"#,
            -32700,
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"GetExtendedAgentCard"}"#,
            -32004,
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"CreateTaskPushNotificationConfig"}"#,
            -32003,
        ),
    ] {
        let got = post(&host, "/a2a/a/", &RPC, body);
        let text = String::from_utf8_lossy(body);
        assert_eq!((got.status, got.code()), (200, code), "{text}");
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(post(&host, "/a2a/a/", &RPC, deep.as_bytes()).code(), -32700);
}

#[test]
fn only_json_is_taken() {
    let host = Host::new();
    let got = post(
        &host,
        "/a2a/a/",
        &[("content-type", "text/plain"), RPC[1]],
        b"hi",
    );
    assert_eq!((got.status, got.code()), (415, -32005));
    let got = post(
        &host,
        "/a2a/a/message:send",
        &[("content-type", "text/plain"), RPC[1]],
        b"hi",
    );
    assert_eq!(got.status, 415);
}

#[test]
fn who_speaks_another_version_is_told() {
    let host = Host::answering(|_, _| text("hello"));
    let body = call("SendMessage", json!({"message": message("m", "hi")}));
    for version in [None, Some("0.3"), Some("1.1"), Some("")] {
        let mut headers = vec![RPC[0]];
        headers.extend(version.map(|version| ("a2a-version", version)));
        assert_eq!(
            post(&host, "/a2a/a/", &headers, &body).code(),
            -32009,
            "{version:?}"
        );
        let rest = json!({"message": message("m", "hi")}).to_string();
        let got = post(&host, "/a2a/a/message:send", &headers, rest.as_bytes());
        assert_eq!(
            (
                got.status,
                got.json()["error"]["details"][0]["reason"].clone()
            ),
            (400, json!("VERSION_NOT_SUPPORTED"))
        );
    }
    assert!(host.calls().is_empty());
    let got = post(&host, "/a2a/a/?A2A-Version=1.0", &[RPC[0]], &body);
    assert_eq!(state(&got.result()["task"]), "COMPLETED");
}

#[test]
fn both_bindings_say_the_same() {
    let host = Host::answering(|_, _| text("hello"));
    let body = json!({"message": message("m", "hi")}).to_string();
    let headers = [RPC[0], RPC[1], ("accept", "application/a2a+json")];
    let got = post(&host, "/a2a/a/message:send", &headers, body.as_bytes());
    assert_eq!(got.header("content-type"), Some("application/a2a+json"));
    let task = got.json()["task"].clone();
    let get = |path: &str| ask(&host, &settings(&[]), ("GET", path), &[RPC[1]], b"");
    let id = task["id"].as_str().unwrap();
    assert_eq!(
        get(&format!("/a2a/a/tasks/{id}")).json(),
        super::task(&host, &task["id"])
    );
    let context = task["contextId"].as_str().unwrap();
    let listed = get(&format!(
        "/a2a/a/tasks?contextId={context}&pageSize=1&includeArtifacts=true"
    ));
    assert_eq!(listed.json()["tasks"][0], task);
    let missing = get("/a2a/a/tasks/none");
    let error = json!({"error": {"code": 404, "status": "NOT_FOUND", "message": "Task not found", "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "TASK_NOT_FOUND", "domain": "a2a-protocol.org", "metadata": {}}]}});
    assert_eq!((missing.status, missing.json()), (404, error));
    let canceled = post(&host, &format!("/a2a/a/tasks/{id}:cancel"), &[RPC[1]], b"");
    assert_eq!(
        canceled.json()["error"]["details"][0]["reason"],
        "TASK_NOT_CANCELABLE"
    );
    let streamed = post(&host, "/a2a/a/message:stream", &headers, body.as_bytes());
    assert_eq!(
        kinds(&streamed.events()),
        ["task SUBMITTED", "hello.", "COMPLETED"]
    );
    assert!(
        !String::from_utf8(streamed.body)
            .unwrap()
            .contains("jsonrpc")
    );
}

#[test]
fn clients_that_want_plain_json_get_it() {
    let host = Host::answering(|_, _| text("hello"));
    let body = json!({"message": message("m", "hi")}).to_string();
    let got = post(&host, "/a2a/a/message:send", &RPC, body.as_bytes());
    assert_eq!(got.header("content-type"), Some("application/json"));
    let sent = [("content-type", "application/a2a+json"), RPC[1]];
    let got = post(&host, "/a2a/a/message:send", &sent, body.as_bytes());
    assert_eq!(got.header("content-type"), Some("application/a2a+json"));
}

#[test]
fn what_is_not_there_is_told() {
    let host = Host::new();
    for path in [
        "/a2a/none/",
        "/a2a/a/other",
        "/a2a/A%2F..%2Fa/",
        "/other",
        "/a2a/a/v1/message:send",
        "/a2a/%ff/",
    ] {
        let got = post(&host, path, &RPC, &call("GetTask", json!({"id": "x"})));
        assert!(matches!(got.status, 400 | 404), "{path}: {}", got.status);
    }
    let got = ask(&host, &settings(&[]), ("GET", "/a2a/a/"), &[], b"");
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    let long = format!("/a2a/a/tasks/{}", "a".repeat(10_000));
    assert_eq!(
        ask(&host, &settings(&[]), ("GET", &long), &[RPC[1]], b"").status,
        414
    );
}

#[test]
fn a_body_that_is_too_long_or_breaks_off_is_refused() {
    let host = Host::new();
    let settings = settings(&[]);
    for (body, status) in [(Body::TooLong, 413), (Body::Broken, 400)] {
        let request = Request::new(&host, &settings);
        let incoming = Incoming {
            method: "POST".to_owned(),
            target: "/a2a/a/".to_owned(),
            host: Some("localhost".to_owned()),
            fields: Fields::of(&RPC),
            body,
        };
        serve(&request, Ok(&settings), incoming);
        assert_eq!(request.got().status, status);
    }
}

fn from(settings: &crate::settings::Settings, host: &str, headers: &[(&str, &str)]) -> Got {
    let there = Host::new();
    let request = Request::new(&there, settings);
    let incoming = Incoming {
        method: "GET".to_owned(),
        target: "/a2a/a/.well-known/agent-card.json".to_owned(),
        host: Some(host.to_owned()),
        fields: Fields::of(headers),
        body: Body::Whole(Vec::new()),
    };
    serve(&request, Ok(settings), incoming);
    request.got()
}

#[test]
fn a_machine_without_a_name_answers_under_none() {
    let settings = settings(&[]);
    let got = from(&settings, "192.0.2.1:8080", &[]);
    assert_eq!(
        got.json()["supportedInterfaces"][0]["url"],
        "http://192.0.2.1:8080/a2a/a/"
    );
    assert_eq!(from(&settings, "evil.example", &[]).status, 403);
    assert_eq!(
        from(
            &settings,
            "localhost",
            &[("origin", "https://evil.example")]
        )
        .status,
        403
    );
    // What came sealed was sent by no page.
    assert_eq!(
        from(
            &settings,
            "a.example",
            &[("hypervisor-caller", "anonymous")]
        )
        .status,
        200
    );
}

#[test]
fn pages_of_origins_that_are_listed_may_call() {
    let settings = settings(&[
        ("PUBLIC_URL", "https://host.example"),
        ("A2A_ORIGINS", "https://app.example"),
    ]);
    let got = from(
        &settings,
        "host.example",
        &[("origin", "https://app.example")],
    );
    assert_eq!(
        got.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert_eq!(
        from(
            &settings,
            "host.example",
            &[("origin", "https://other.example")]
        )
        .status,
        403
    );
    let there = Host::new();
    let got = ask(
        &there,
        &settings,
        ("OPTIONS", "/a2a/a/"),
        &[("origin", "https://app.example")],
        b"",
    );
    assert_eq!(
        (got.status, got.header("access-control-allow-methods")),
        (204, Some("GET, POST"))
    );
}

#[test]
fn extensions_that_are_activated_are_named_in_the_answer() {
    let host = Host::answering(|_, _| text("hello"));
    let uri = crate::pay::URIS[0];
    let headers = [RPC[0], RPC[1], ("a2a-extensions", uri)];
    let got = post(
        &host,
        "/a2a/a/",
        &headers,
        &call("SendMessage", json!({"message": message("m", "hi")})),
    );
    assert_eq!(got.header("a2a-extensions"), Some(uri));
}

#[test]
fn settings_that_can_not_be_read_are_told() {
    let host = Host::new();
    let request = Request::new(&host, &settings(&[]));
    let incoming = Incoming {
        method: "GET".to_owned(),
        target: "/a2a/".to_owned(),
        host: None,
        fields: Fields::of(&[]),
        body: Body::Whole(Vec::new()),
    };
    let error = crate::error::A2aError::Settings("A2A_TIMEOUT is no number".to_owned());
    serve(&request, Err(error), incoming);
    assert_eq!(request.got().status, 500);
}
