//! Agents, as tools of their own and by the two tools about them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use front::error::WebError;
use front::ports::{Answer, Asked};
use serde_json::{Value, json};

use super::*;

const OWNER: &str = "0123456789abcdef0123456789abcdef";

fn agents() -> Value {
    let long = format!("{}.{OWNER}", "z".repeat(63));
    json!({"agents": [
        {"name": "a", "address": format!("a.{OWNER}"), "path": "/agents/a/", "description": "A", "world": "command"},
        {"name": "b", "address": "b.operator", "path": "/agents/b/", "description": "B", "world": "service", "price": "0.01 USDC"},
        {"name": "b", "address": format!("b.{OWNER}"), "path": format!("/agents/b.{OWNER}/"), "description": "other", "world": "service",
            "tool": {"description": "T", "path": "/t?x=1", "input_schema": {"type": "object", "required": ["n"]}}},
        {"name": "z", "address": long, "path": format!("/agents/{long}/"), "description": "Z", "world": "service"},
    ]})
}

/// A host with these agents, each of which answers with `answer`.
fn host(answer: impl Fn(&Asked) -> Result<Answer, WebError> + 'static) -> World {
    World::trying(move |asked, _| {
        if asked.authority != "host.internal" {
            return answer(asked);
        }
        let agents = agents();
        let all = agents["agents"].as_array().unwrap();
        let body = match &*asked.target {
            "/agents" => Some(agents.clone()),
            "/search" => {
                let found = json!({"name": "a", "address": "a.operator", "description": "A\u{7}", "score": 1.5, "deployed": true});
                Some(json!({"message": "a", "agents": [found]}))
            }
            target => all
                .iter()
                .find(|agent| {
                    let (path, address) = (
                        agent["path"].as_str().unwrap(),
                        agent["address"].as_str().unwrap(),
                    );
                    path.strip_suffix('/') == Some(target) || target == format!("/agents/{address}")
                })
                .cloned(),
        };
        Ok(Answer {
            status: if body.is_some() { 200 } else { 404 },
            body: body.unwrap_or_default().to_string().into_bytes(),
            ..Answer::default()
        })
    })
}

fn text(body: &str) -> Answer {
    Answer {
        status: 200,
        fields: Fields::of(&[("content-type", "text/plain")]),
        body: body.as_bytes().to_vec(),
        is_cut: false,
    }
}

fn last(world: &World) -> Asked {
    world.sent().pop().unwrap()
}

#[test]
fn each_agent_is_a_tool_after_those_of_the_fronts_own() {
    let world = host(|_| Ok(text("")));
    let (_, answer) = ask(&world, "tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools
        .iter()
        .skip(5)
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "a",
            "b",
            &format!("b_{OWNER}"),
            &format!("{}_{OWNER}", "z".repeat(31))
        ]
    );
    assert_eq!(tools[7]["description"], "T");
    assert_eq!(ask(&world, "tools/list", json!({})).1, answer);
}

#[test]
fn a_list_that_is_too_long_or_none_leaves_the_rest() {
    for answer in [
        Answer {
            status: 200,
            body: b"{\"agents\":[".to_vec(),
            is_cut: true,
            ..Answer::default()
        },
        Answer {
            status: 200,
            body: b"[]".to_vec(),
            ..Answer::default()
        },
        Answer {
            status: 503,
            ..Answer::default()
        },
    ] {
        let world = World::answering(move |_, _| answer.clone());
        let (_, answer) = ask(&world, "tools/list", json!({}));
        assert_eq!(answer["result"]["tools"].as_array().unwrap().len(), 5);
    }
}

#[test]
fn an_agents_tool_sends_its_input_or_its_arguments() {
    let world = host(|_| Ok(text("done")));
    let result = call(&world, "a", json!({"input": "in"}));
    assert_eq!(result["content"][0]["text"], "done");
    let asked = last(&world);
    assert_eq!((&*asked.method, &*asked.target), ("POST", "/"));
    assert_eq!(asked.authority, format!("a.{OWNER}.agent.internal"));
    assert_eq!(asked.body.as_deref(), Some(&b"in"[..]));

    call(&world, &format!("b_{OWNER}"), json!({"n": [1]}));
    let asked = last(&world);
    assert_eq!(
        (&*asked.target, asked.body.as_deref()),
        ("/t?x=1", Some(&br#"{"n":[1]}"#[..]))
    );
    assert_eq!(
        asked.headers,
        [("content-type", "application/json".to_owned())]
    );

    call(&world, &format!("{}_{OWNER}", "z".repeat(31)), json!({}));
    assert_eq!(
        last(&world).authority,
        format!("{}.{OWNER}.agent.internal", "z".repeat(63))
    );
}

#[test]
fn an_agent_is_found_and_called_by_its_name() {
    let world = host(|_| Ok(text("done")));
    let found = call(&world, "search_agents", json!({"query": "q"}));
    assert_eq!(found["content"][0]["text"], "a.operator: A \n");
    assert_eq!(found["structuredContent"]["agents"][0]["deployed"], true);

    let arguments = json!({"agent": "a", "path": "/?arg=x", "method": "put", "input": {"b": 1}});
    call(&world, "call_agent", arguments);
    let asked = last(&world);
    assert_eq!((&*asked.method, &*asked.target), ("PUT", "/?arg=x"));
    assert_eq!(
        asked.headers,
        [("content-type", "application/json".to_owned())]
    );
    call(&world, "call_agent", json!({"agent": "a"}));
    let asked = last(&world);
    assert_eq!((&*asked.method, asked.body), ("GET", None));
}

#[test]
fn what_can_not_be_asked_is_told_and_not_sent() {
    let world = host(|_| Ok(text("done")));
    for (arguments, words) in [
        (json!({}), "`agent` is missing"),
        (json!({"agent": "none"}), "there is no agent `none`"),
        (json!({"agent": "a.b.c/../x"}), "there is no agent"),
        (json!({"agent": "a", "path": "x"}), "`path`"),
        (json!({"agent": "a", "path": "//evil.example/"}), "`path`"),
        (json!({"agent": "a", "path": "/a b"}), "`path`"),
        (json!({"agent": "a", "path": "/\r\nx: y"}), "`path`"),
        (json!({"agent": "a", "method": "CONNECT"}), "`method`"),
        (
            json!({"agent": "a", "content_type": "a\r\nb: c"}),
            "`content_type`",
        ),
        (json!({"agent": "a", "input": 1}), "`input`"),
        (json!({"agent": "a", "headers": {}}), "`headers`"),
    ] {
        let result = call(&world, "call_agent", arguments);
        assert_eq!(result["isError"], true);
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(words), "{text}");
    }
    assert!(
        world
            .sent()
            .iter()
            .all(|asked| asked.authority == "host.internal")
    );
}

#[test]
fn an_agent_that_does_not_answer_is_a_result() {
    for (error, words) in [
        (
            WebError::Denied,
            "the agent did not answer: the host's policy does not allow it",
        ),
        (
            WebError::NotFound,
            "there is no agent `a`: use search_agents",
        ),
    ] {
        let world = host(move |_| Err(error));
        let result = call(&world, "a", json!({}));
        assert_eq!(
            (&result["isError"], &result["content"][0]["text"]),
            (&json!(true), &json!(words))
        );
    }
}

#[test]
fn a_payment_goes_to_what_the_host_sells_and_to_nobody_else() {
    let challenge = json!({"x402Version": 2, "resource": {}, "accepts": []}).to_string();
    let challenge = STANDARD.encode(challenge);
    let world = host(move |asked| {
        let is_paid = asked
            .headers
            .iter()
            .any(|(name, _)| *name == "payment-signature");
        Ok(match is_paid {
            true => text("sold"),
            false => Answer {
                status: 402,
                fields: Fields::of(&[("payment-required", &challenge)]),
                ..Answer::default()
            },
        })
    });
    let asked = call(&world, "b", json!({}));
    assert_eq!(
        asked["structuredContent"]["resource"]["url"],
        "mcp://tool/b"
    );
    let paid = |name: &str| {
        let meta = json!({"x402/payment": {"x402Version": 2}});
        let params = json!({"name": name, "arguments": {}, "_meta": meta});
        ask(&world, "tools/call", params).1["result"].clone()
    };
    assert_eq!(paid("b")["content"][0]["text"], "sold");
    // This one has no price: what it says of money is its own, and it gets none.
    let result = paid("a");
    assert_eq!(result["content"][0]["text"], "HTTP status 402");
    assert!(result.get("structuredContent").is_none());
    assert!(
        !last(&world)
            .headers
            .iter()
            .any(|(name, _)| *name == "payment-signature")
    );
}
