use serde_json::json;

use super::*;

fn info(name: &str, owner: &str, is_bare: bool) -> AgentInfo {
    let address = format!("{name}.{owner}");
    let path = match is_bare {
        true => format!("/agents/{name}/"),
        false => format!("/agents/{address}/"),
    };
    serde_json::from_value(json!({
        "name": name, "address": address, "path": path, "description": "", "version": "1.0.0", "world": "service",
        "private": false, "digest": "00".repeat(32), "sha384": "00".repeat(48), "reuse": 1, "persistent": true, "deployed_at": 0,
    }))
    .unwrap()
}

fn message(value: Value) -> Message {
    serde_json::from_value(value).unwrap()
}

#[test]
fn tools_have_names_that_ai_programs_take() {
    let owner = "0123456789abcdef0123456789abcdef";
    assert_eq!(tool_name(&info("weather", owner, true)), "agent_weather");
    assert_eq!(
        tool_name(&info("weather", owner, false)),
        "agent_weather_01234567"
    );
    assert_eq!(
        tool_name(&info("weather", "operator", true)),
        "agent_weather"
    );
    let long = "a".repeat(63);
    let (one, other) = (
        tool_name(&info(&long, owner, true)),
        tool_name(&info(&long, "operator", false)),
    );
    for name in [&one, &other] {
        assert_eq!(name.len(), LONGEST);
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        );
    }
    assert_ne!(one, other);
}

#[test]
fn a_request_has_the_method_and_type_that_its_input_asks_for() {
    for (given, method, uri, media_type, body) in [
        (json!({}), "GET", "/", None, ""),
        (json!({"path": "/a?b=c d"}), "GET", "/a?b=c%20d", None, ""),
        (
            json!({"input": "hi"}),
            "POST",
            "/",
            Some("text/plain; charset=utf-8"),
            "hi",
        ),
        (
            json!({"input": {"a": 1}, "method": "put"}),
            "PUT",
            "/",
            Some("application/json"),
            "{\"a\":1}",
        ),
        (
            json!({"input": " [1]"}),
            "POST",
            "/",
            Some("application/json"),
            " [1]",
        ),
        (
            json!({"input": "{not json", "content_type": "text/x"}),
            "POST",
            "/",
            Some("text/x"),
            "{not json",
        ),
    ] {
        let request = request(message(given)).unwrap();
        assert_eq!(request.method().as_str(), method);
        assert_eq!(request.uri().to_string(), uri);
        let field = request.headers().get(CONTENT_TYPE);
        assert_eq!(field.map(|it| it.to_str().unwrap()), media_type);
        assert_eq!(request.body(), body.as_bytes());
    }
}

#[test]
fn what_an_agent_does_not_take_is_refused() {
    assert!(request(message(json!({"args": ["x"]}))).is_err());
    assert!(request(message(json!({"path": "no slash"}))).is_err());
    assert!(request(message(json!({"method": "a b"}))).is_err());
    assert!(request(message(json!({"content_type": "a\nb"}))).is_err());
    assert!(given(message(json!({"path": "/"}))).is_err());
    let given = given(message(json!({"input": "in", "args": ["-x"]}))).unwrap();
    assert_eq!((given.stdin.as_deref(), given.args.len()), (Some("in"), 1));
}
