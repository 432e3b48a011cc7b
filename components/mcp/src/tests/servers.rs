//! Agents that are servers themselves, in both eras.

use front::ports::{Answer, Asked};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A host with an agent `a`, whose `/mcp` answers so, and others that are no servers.
fn host(answer: impl Fn(&Asked, &Value) -> Answer + 'static) -> World {
    World::answering(move |asked, _| {
        if asked.authority == "a.operator.agent.internal" {
            assert_eq!((&*asked.method, &*asked.target), ("POST", "/mcp"));
            let body = serde_json::from_slice(asked.body.as_deref().unwrap()).unwrap();
            return answer(asked, &body);
        }
        let more = match &*asked.target {
            "/agents/a" => json!({"name": "a", "version": "3.1"}),
            "/agents/dear" => json!({"name": "dear", "price": "0.01 USDC"}),
            "/agents/cmd" => json!({"name": "cmd", "world": "command"}),
            _ => {
                return Answer {
                    status: 404,
                    ..Answer::default()
                };
            }
        };
        let mut agent = json!({"world": "service", "description": "D"});
        agent
            .as_object_mut()
            .unwrap()
            .append(&mut more.as_object().unwrap().clone());
        let name = agent["name"].as_str().unwrap().to_owned();
        agent["address"] = format!("{name}.operator").into();
        agent["path"] = format!("/agents/{name}/").into();
        in_json(200, &agent)
    })
}

fn in_json(status: u16, value: &Value) -> Answer {
    Answer {
        status,
        fields: Fields::of(&[("content-type", "application/json")]),
        body: value.to_string().into_bytes(),
        is_cut: false,
    }
}

fn result(result: &Value) -> Answer {
    in_json(200, &json!({"jsonrpc": "2.0", "id": 1, "result": result}))
}

fn events(messages: &[Value]) -> Answer {
    let events = messages.iter().map(|it| format!("data: {it}\n\n"));
    Answer {
        status: 200,
        fields: Fields::of(&[("content-type", "text/event-stream")]),
        body: events.collect::<String>().into_bytes(),
        is_cut: false,
    }
}

/// A request to an agent, and what was sent whole.
fn send(desk: &Desk<'_>, agent: &str, headers: &[(&str, &str)], body: &Value) -> Option<Outgoing> {
    let mut all = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    all.extend(headers);
    let incoming = Incoming {
        method: "POST".to_owned(),
        target: format!("/mcp/{agent}"),
        host: Some("127.0.0.1:8080".to_owned()),
        fields: Fields::of(&all),
        body: Body::Whole(body.to_string().into_bytes()),
    };
    serve(desk, Ok(&settings()), incoming)
}

fn modern(desk: &Desk<'_>, agent: &str, method: &str, mut params: Value) -> Option<Outgoing> {
    let name = params["name"].as_str().unwrap_or_default().to_owned();
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    if meta["io.modelcontextprotocol/clientCapabilities"].is_null() {
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
        ("mcp-name", &name),
    ];
    let body = json!({"jsonrpc": "2.0", "id": "i", "method": method, "params": params});
    send(desk, agent, &headers, &body)
}

fn whole(desk: &Desk<'_>, agent: &str, method: &str, params: Value) -> (u16, Value) {
    let outgoing = modern(desk, agent, method, params).unwrap();
    (outgoing.status, parsed(&outgoing))
}

fn error_code(world: &World, agent: &str, method: &str) -> (u16, i64) {
    let (status, answer) = whole(&Desk::of(world), agent, method, json!({"name": "t"}));
    (status, answer["error"]["code"].as_i64().unwrap())
}

/// What a client is answered with where the agent answers so.
pub(super) fn answered(kind: &'static str, body: &[u8], method: &str) -> Value {
    let body = body.to_vec();
    let world = host(move |_, _| Answer {
        status: 200,
        fields: Fields::of(&[("content-type", kind)]),
        body: body.clone(),
        is_cut: false,
    });
    whole(&Desk::of(&world), "a", method, json!({"name": "t"})).1
}

#[test]
fn an_agent_answers_what_it_is_asked_in_its_own_words() {
    let content = json!([{"type": "audio", "data": "/w==", "mimeType": "audio/wav"}]);
    // Nothing was paid, whatever the agent says.
    let said = json!({"content": content, "structuredContent": {"n": 1},
        "_meta": {"own": 1, "x402/payment-response": {"success": true}}});
    let world = host(move |asked, body| {
        let header = |name: &str| {
            asked
                .headers
                .iter()
                .find(|(own, _)| *own == name)
                .map(|it| &*it.1)
        };
        assert_eq!(header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(header("mcp-method"), body["method"].as_str());
        assert_eq!(header("mcp-name"), Some("t"));
        assert_eq!(body["params"]["arguments"], json!({"n": 1}));
        // A payment is the host's.
        assert_eq!(body["params"]["_meta"]["x402/payment"], Value::Null);
        result(&said)
    });
    let payment = json!({"x402Version": 2});
    let params = json!({"name": "t", "arguments": {"n": 1}, "_meta": {"x402/payment": payment}});
    let (status, answer) = whole(&Desk::of(&world), "a", "tools/call", params);
    let result = &answer["result"];
    assert_eq!((status, &answer["id"]), (200, &json!("i")));
    assert_eq!(result["content"][0]["type"], "audio");
    assert_eq!(result["structuredContent"], json!({"n": 1}));
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["_meta"]["own"], 1);
    assert!(result["_meta"].get("x402/payment-response").is_none());
    let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(
        (&info["name"], &info["version"]),
        (&json!("a"), &json!("3.1"))
    );
}

#[test]
fn what_an_agent_can_do_is_told_without_what_the_front_can_not() {
    let said = json!({
        "supportedVersions": ["9"], "instructions": "i".repeat(10_000), "more": 1,
        "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}, "prompts": 1, "tasks": {}},
    });
    let world = host(move |_, body| {
        assert_eq!(body["method"], "server/discover");
        result(&said)
    });
    let (_, answer) = whole(&Desk::of(&world), "a", "server/discover", json!({}));
    let result = &answer["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(
        result["capabilities"],
        json!({"tools": {}, "resources": {}})
    );
    assert_eq!(result["instructions"].as_str().unwrap().len(), 8 * 1024);
    assert_eq!(
        (&result["ttlMs"], &result["cacheScope"]),
        (&json!(0), &json!("private"))
    );
    assert!(result.get("more").is_none());
    assert_eq!(
        error_code(&world, "a", "subscriptions/listen"),
        (404, -32601)
    );
    assert_eq!(error_code(&world, "a", "initialize"), (404, -32601));
}

#[test]
fn who_is_no_server_is_told_apart() {
    let world = host(|_, _| Answer {
        status: 404,
        ..Answer::default()
    });
    for agent in ["a", "none", "cmd", "../agents", "a/b"] {
        assert_eq!(
            error_code(&world, agent, "tools/list"),
            (404, -32600),
            "{agent}"
        );
    }
    assert_eq!(error_code(&world, "dear", "tools/list"), (400, -32600));
    // Whatever it is that answers everything with a page.
    let world = host(|_, _| Answer {
        status: 200,
        body: b"hello".to_vec(),
        ..Answer::default()
    });
    assert_eq!(error_code(&world, "a", "tools/list"), (404, -32600));
}

#[test]
fn an_agents_error_is_passed_on_and_one_about_the_front_is_not() {
    for (said, code, status) in [
        (-32602, -32602, 400),
        (-32601, -32601, 404),
        (7, 7, 200),
        (-32020, -32603, 200),
    ] {
        let world = host(move |_, _| {
            let error = json!({"code": said, "message": "m\n", "data": {"uri": "u"}});
            in_json(400, &json!({"jsonrpc": "2.0", "id": 1, "error": error}))
        });
        let (seen, answer) = whole(
            &Desk::of(&world),
            "a",
            "resources/read",
            json!({"uri": null}),
        );
        assert_eq!((seen, &answer["error"]["code"]), (status, &json!(code)));
        if said == code {
            assert_eq!(answer["error"]["message"], "m ");
            assert_eq!(answer["error"]["data"]["uri"], "u");
        }
    }
}

#[test]
fn what_is_no_answer_is_an_error_and_never_a_result() {
    let stream = |message: Value| events(&[message]);
    for answer in [
        result(&json!([])),
        in_json(200, &json!([])),
        in_json(200, &json!({"result": {}, "error": {}})),
        in_json(500, &json!("x")),
        stream(json!({"jsonrpc": "2.0", "id": 3, "method": "sampling/createMessage"})),
        stream(json!({"jsonrpc": "2.0", "method": "notifications/x"})),
        stream(json!(1)),
        result(&json!({"resultType": "task"})),
        result(&json!({"resultType": "input_required"})),
        result(&json!({"resultType": "input_required", "inputRequests": {"a": {"method": "x"}}})),
    ] {
        let world = host(move |_, _| answer.clone());
        assert_eq!(error_code(&world, "a", "tools/call"), (200, -32603));
    }
    // A list asks nobody for anything.
    let world = host(|_, _| result(&json!({"resultType": "input_required", "requestState": "s"})));
    assert_eq!(error_code(&world, "a", "tools/list"), (200, -32603));
}

fn progress(value: u32) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": value}})
}

#[test]
fn what_comes_ahead_of_a_result_is_streamed_to_who_wants_it() {
    let world = host(|_, _| {
        let done = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}});
        events(&[progress(1), progress(2), done, progress(3)])
    });
    let desk = Desk::of(&world);
    let params = json!({"name": "t", "_meta": {"progressToken": "mine"}});
    assert!(modern(&desk, "a", "tools/call", params).is_none());
    let sent = desk.sent.borrow().clone();
    let (head, body) = sent.split_once("\n\n").unwrap();
    assert!(head.starts_with("200\ncontent-type: text/event-stream\n"));
    let data: Vec<Value> = body
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let values: Vec<_> = data.iter().map(|it| &it["params"]["progress"]).collect();
    assert_eq!(values, [&json!(1), &json!(2), &Value::Null]);
    assert_eq!(data[0]["params"]["progressToken"], "mine");
    assert_eq!(
        (&data[2]["id"], &data[2]["result"]["resultType"]),
        (&json!("i"), &json!("complete"))
    );
    assert!(body.ends_with("[whole]"));
    // Without a token nothing comes ahead, and the answer is whole.
    let desk = Desk::of(&world);
    assert_eq!(whole(&desk, "a", "tools/call", json!({"name": "t"})).0, 200);
    assert!(desk.sent.borrow().is_empty());
}

/// Asks for a name, then greets.
fn greeter() -> World {
    host(|_, body| {
        let params = &body["params"];
        let name = &params["inputResponses"]["who"]["content"]["name"];
        if let Some(name) = name.as_str() {
            assert_eq!(params["requestState"], "step 1");
            return result(
                &json!({"content": [{"type": "text", "text": format!("Hello, {name}!")}]}),
            );
        }
        let request = json!({"method": "elicitation/create", "params": {"message": "Who?"}});
        result(
            &json!({"resultType": "input_required", "inputRequests": {"who": request}, "requestState": "step 1"}),
        )
    })
}

fn able(more: Value) -> Value {
    let mut params = json!({"name": "t", "_meta": {
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}});
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    params
}

#[test]
fn an_agent_asks_and_goes_on_with_what_it_is_given() {
    let world = greeter();
    let desk = Desk::of(&world);
    let (_, asked) = whole(&desk, "a", "tools/call", able(json!({})));
    let asked = &asked["result"];
    assert_eq!(asked["resultType"], "input_required");
    assert_eq!(asked["inputRequests"]["who"]["params"]["message"], "Who?");
    let state = asked["requestState"].as_str().unwrap();
    let answers = json!({"who": {"action": "accept", "content": {"name": "Ada"}}, "other": {}});
    let more = json!({"requestState": state, "inputResponses": answers});
    let (_, done) = whole(&desk, "a", "tools/call", able(more.clone()));
    assert_eq!(
        done["result"]["content"][0]["text"], "Hello, Ada!",
        "{done}"
    );
    // Another tool, or another state, goes on with nothing.
    let mut other = able(more.clone());
    other["name"] = json!("u");
    let mut changed = able(more);
    changed["requestState"] = format!("{state}-TAMPERED").into();
    for params in [other, changed] {
        let (status, refused) = whole(&desk, "a", "tools/call", params);
        assert_eq!((status, &refused["error"]["code"]), (400, &json!(-32602)));
    }
}

#[test]
fn nobody_is_asked_for_what_it_can_not_give() {
    let world = greeter();
    let (status, refused) = whole(&Desk::of(&world), "a", "tools/call", json!({"name": "t"}));
    assert_eq!((status, &refused["error"]["code"]), (400, &json!(-32021)));
    let required = &refused["error"]["data"]["requiredCapabilities"];
    assert_eq!(required, &json!({"elicitation": {"form": {}}}));
    for wrong in [
        json!({"inputResponses": 1}),
        json!({"inputResponses": {"who": 1}}),
        json!({"requestState": 1}),
        json!({"inputResponses": null}),
    ] {
        let (status, refused) = whole(&Desk::of(&world), "a", "tools/call", able(wrong));
        assert_eq!((status, &refused["error"]["code"]), (400, &json!(-32602)));
    }
}

fn legacy(desk: &Desk<'_>, session: &str, method: &str, params: &Value) -> Option<Outgoing> {
    let mut headers = vec![("mcp-protocol-version", "2025-11-25")];
    if !session.is_empty() {
        headers.push(("mcp-session-id", session));
    }
    let body = json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params});
    send(desk, "a", &headers, &body)
}

fn opened(desk: &Desk<'_>, capabilities: &Value) -> String {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities});
    let opened = legacy(desk, "", "initialize", &params).unwrap();
    let id = opened
        .headers
        .iter()
        .find(|(name, _)| *name == "mcp-session-id");
    assert_eq!(parsed(&opened)["result"]["protocolVersion"], "2025-11-25");
    id.unwrap().1.clone()
}

#[test]
fn a_client_with_a_handshake_is_asked_on_the_way() {
    let world = greeter();
    let desk = Desk::of(&world);
    let session = opened(&desk, &json!({"elicitation": {}}));
    // The client reads its stream and answers by a message of its own.
    *desk.meanwhile.borrow_mut() = Some(Box::new(|desk| {
        let sent = desk.sent.borrow().clone();
        let asked = sent
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap();
        let asked: Value = serde_json::from_str(asked).unwrap();
        assert_eq!(asked["method"], "elicitation/create");
        let given = json!({"action": "accept", "content": {"name": "Ada"}});
        for (id, given) in [
            (json!("0"), json!({})),
            (asked["id"].clone(), given),
            (asked["id"].clone(), json!({})),
        ] {
            let body = json!({"jsonrpc": "2.0", "id": id, "result": given});
            assert_eq!(send(desk, "a", &[], &body).unwrap().status, 202);
        }
    }));
    let forged = json!({"name": "t", "requestState": "step 1",
        "inputResponses": {"who": {"content": {"name": "Eve"}}}});
    assert!(legacy(&desk, &session, "tools/call", &forged).is_none());
    let sent = desk.sent.borrow().clone();
    assert!(
        sent.contains("Hello, Ada!") && sent.ends_with("[whole]"),
        "{sent}"
    );
    assert!(!sent.contains("resultType"));
}

#[test]
fn a_client_with_a_handshake_that_can_not_or_does_not_answer_gets_an_error() {
    let world = greeter();
    let desk = Desk::of(&world);
    let call = json!({"name": "t"});
    for session in [
        "".to_owned(),
        opened(&desk, &json!({})),
        "x-1".to_owned(),
        format!("e-{}", "g".repeat(32)),
    ] {
        let refused = legacy(&desk, &session, "tools/call", &call).unwrap();
        assert_eq!(
            (refused.status, &parsed(&refused)["error"]["code"]),
            (200, &json!(-32021))
        );
    }
    let session = opened(&desk, &json!({"elicitation": {}}));
    assert!(legacy(&desk, &session, "tools/call", &call).is_none());
    assert!(desk.sent.borrow().contains("-32603"));
}

#[test]
fn messages_reach_a_client_with_a_handshake_from_the_level_on_that_it_sets() {
    let world = host(|_, body| {
        let level = &body["params"]["_meta"]["io.modelcontextprotocol/logLevel"];
        if body["method"] != "tools/call" {
            return result(&json!({"capabilities": {"logging": {}}}));
        }
        let said = json!({"level": "notice", "data": format!("asked from {level} on")});
        events(&[
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": said}),
            json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}}),
        ])
    });
    let desk = Desk::of(&world);
    let session = opened(&desk, &json!({}));
    let call = json!({"name": "t"});
    let set = |level: &str| {
        let params = json!({"level": level});
        parsed(&legacy(&desk, &session, "logging/setLevel", &params).unwrap())
    };
    assert_eq!(set("warning")["result"], json!({}));
    assert!(legacy(&desk, &session, "tools/call", &call).is_some());
    assert_eq!(set("debug")["result"], json!({}));
    assert!(legacy(&desk, &session, "tools/call", &call).is_none());
    assert!(desk.sent.borrow().contains("asked from \\\"debug\\\" on"));
    assert_eq!(set("loud")["error"]["code"], -32602);
}

proptest! {
    #[test]
    fn any_answer_of_an_agent_is_a_result_or_an_error(
        status in 100_u16..600, is_stream: bool,
        body in prop_oneof!["[\\[\\]{}\",:a-z0-9 \n]{0,60}", "\\{\"(result|error|method)\":[\\[\\]{}\",:a-z0-9]{0,40}\\}"],
    ) {
        let kind = if is_stream { "text/event-stream" } else { "application/json" };
        let body = if is_stream { format!("data: {body}\n\n") } else { body };
        let world = host(move |_, _| Answer {
            status,
            fields: Fields::of(&[("content-type", kind)]),
            body: body.clone().into_bytes(),
            is_cut: false,
        });
        for method in ["tools/list", "tools/call", "server/discover"] {
            let (_, answer) = whole(&Desk::of(&world), "a", method, json!({"name": "t"}));
            prop_assert!(answer["result"].is_object() != answer["error"].is_object());
        }
    }

    #[test]
    fn any_session_is_one_or_none(id in "[eusrx]{0,5}-?[0-9a-g]{0,33}") {
        let world = greeter();
        let call = json!({"name": "t"});
        let answer = legacy(&Desk::of(&world), &id, "tools/call", &call);
        if let Some(answer) = answer {
            prop_assert!(parsed(&answer)["error"]["code"].is_i64());
        }
    }
}
