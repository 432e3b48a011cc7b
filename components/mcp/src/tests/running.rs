//! Programs, against a host's end of the sealed protocol.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use front::error::WebError;
use front::ports::{Answer, Asked};
use hypervisor_protocol::{
    ContentFormat, CreateKeypairRequest, CreateKeypairResponse, ExecutePythonRequest,
    ExecuteResponse, ExecuteScriptRequest, ExecuteWasmRequest, Exit, HostSession, OpenRequest,
    Operation, PrivateKey, PublicKey, Report, SealedRequest, SessionId,
};
use serde_json::{Value, json};

use super::*;

const CBOR: ContentFormat = ContentFormat::Cbor;

/// A host that runs a program by `run`, at these routes.
fn host(
    routes: &'static [&'static str],
    run: impl Fn(&OpenRequest) -> (Exit, Vec<u8>) + 'static,
) -> World {
    let key = PrivateKey::generate();
    let id = SessionId::new();
    let session = std::cell::RefCell::new(None::<Arc<HostSession>>);
    World::answering(move |asked, _| {
        assert_eq!(asked.authority, "host.internal");
        let body = asked.body.as_deref().unwrap();
        if asked.target == "/encrypt/create_keypair" {
            let request: CreateKeypairRequest = CBOR.decode(body).unwrap();
            let client = PublicKey::from_sec1(&request.pubkey.0).unwrap();
            let opened = Arc::new(HostSession::new(&key, client, id).unwrap());
            *session.borrow_mut() = Some(opened);
            let answer = CreateKeypairResponse {
                session_pubkey: key.public_key().to_bytes().to_vec().into(),
                session_id: id,
                expires_at: 0,
                quote: None,
                evidence: None,
            };
            return ok(CBOR.encode(&answer).unwrap());
        }
        if !routes.contains(&&*asked.target) {
            return problem(404, "not-found");
        }
        let is_paid = asked
            .headers
            .iter()
            .any(|(name, _)| *name == "payment-signature");
        if asked.target.starts_with("/x402") && !is_paid {
            return challenge();
        }
        let session = session.borrow().clone().unwrap();
        let (operation, sealed) = sealed(&asked.target, body);
        let opened = session.open_request(operation, sealed).unwrap();
        let (exit, stdout) = run(&opened);
        let mut report = Report::new(exit, &opened.program, opened.commitment);
        report.stderr = b"note".to_vec().into();
        let claim = session.claim(opened.sequence).unwrap();
        let count = u32::try_from(opened.arguments.len()).unwrap();
        let report = report.encode().unwrap();
        let response = claim.seal_response(operation, count, &opened.commitment, stdout, report);
        let body = CBOR
            .encode(&ExecuteResponse::new(id, response.unwrap()))
            .unwrap();
        let receipt = STANDARD.encode(r#"{"success":true,"transaction":"0x1"}"#);
        let fields: &[(&str, &str)] = if is_paid {
            &[("payment-response", &receipt)]
        } else {
            &[]
        };
        Answer {
            fields: Fields::of(fields),
            ..ok(body)
        }
    })
}

fn sealed(route: &str, body: &[u8]) -> (Operation, SealedRequest) {
    if route.ends_with("python") {
        let body: ExecutePythonRequest = CBOR.decode(body).unwrap();
        (Operation::Python, body.into())
    } else if route.ends_with("javascript") {
        let body: ExecuteScriptRequest = CBOR.decode(body).unwrap();
        (Operation::Javascript, body.into())
    } else {
        let body: ExecuteWasmRequest = CBOR.decode(body).unwrap();
        (Operation::Wasm, body.into())
    }
}

fn ok(body: Vec<u8>) -> Answer {
    Answer {
        status: 200,
        body,
        ..Answer::default()
    }
}

fn problem(status: u16, name: &str) -> Answer {
    let body =
        json!({"type": format!("urn:hypervisor:problem:{name}"), "title": name, "detail": "why"});
    Answer {
        status,
        body: body.to_string().into_bytes(),
        ..Answer::default()
    }
}

fn challenge() -> Answer {
    let challenge = json!({"x402Version": 2, "resource": {"url": "http://host.internal/x"}, "accepts": [{"amount": "1"}]});
    Answer {
        status: 402,
        fields: Fields::of(&[("payment-required", &STANDARD.encode(challenge.to_string()))]),
        ..Answer::default()
    }
}

fn echo(opened: &OpenRequest) -> (Exit, Vec<u8>) {
    let stdin = opened.stdin.clone().unwrap_or_default();
    let all = [opened.program.clone(), stdin, opened.arguments.concat()];
    (Exit::Ok, all.join(&b'|'))
}

#[test]
fn each_kind_of_program_is_run_by_its_free_route() {
    for (tool, argument, program, route) in [
        ("run_python", "code", "c", "/test/policy/unsafe/python"),
        (
            "run_javascript",
            "code",
            "c",
            "/test/policy/unsafe/javascript",
        ),
        ("run_wasm", "component", "Yw==", "/test/execute/wasm"),
    ] {
        let routes = [
            "/test/policy/unsafe/python",
            "/test/policy/unsafe/javascript",
            "/test/execute/wasm",
        ];
        let world = host(Vec::leak(routes.to_vec()), echo);
        let result = call(
            &world,
            tool,
            json!({argument: program, "stdin": "in", "args": ["a", "b"]}),
        );
        assert_eq!(result["content"][0]["text"], "c|in|ab");
        assert_eq!(result["structuredContent"]["stderr"], "note");
        assert_eq!(
            (&result["isError"], &result["resultType"]),
            (&json!(false), &json!("complete"))
        );
        let targets: Vec<String> = world.sent().into_iter().map(|asked| asked.target).collect();
        assert_eq!(targets, ["/encrypt/create_keypair", route]);
    }
}

#[test]
fn a_run_that_failed_is_a_result() {
    let world = host(&["/test/policy/unsafe/python"], |_| {
        (Exit::Code { code: 3 }, b"part".to_vec())
    });
    let result = call(&world, "run_python", json!({"code": "c"}));
    assert_eq!(result["isError"], true);
    assert_eq!(
        result["structuredContent"]["exit"],
        json!({"kind": "code", "code": 3})
    );
    let text = result["content"].to_string();
    assert!(text.contains("exit code 3") && text.contains("part") && text.contains("note"));
}

#[test]
fn where_nothing_is_free_it_is_asked_for_and_paid_by_the_same_sealed_request() {
    let world = host(&["/x402_policy/unsafe/python"], echo);
    let asked = call(&world, "run_python", json!({"code": "c"}));
    assert_eq!(
        (
            &asked["isError"],
            &asked["structuredContent"]["x402Version"]
        ),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        asked["structuredContent"]["resource"]["url"],
        "mcp://tool/run_python"
    );
    let sent = world.sent();
    assert_eq!(sent[1].body, sent[2].body);

    let payment = json!({"x402Version": 2, "payload": {}});
    let params = json!({"name": "run_python", "arguments": {"code": "c"}, "_meta": {"x402/payment": payment}});
    let (_, answer) = ask(&world, "tools/call", params);
    let result = &answer["result"];
    assert_eq!(result["content"][0]["text"], "c||");
    assert_eq!(
        result["_meta"]["x402/payment-response"]["transaction"],
        "0x1"
    );
    let free = &world.sent()[4];
    assert!(free.target.starts_with("/test/") && free.headers.len() == 1);
}

#[test]
fn a_refusal_is_a_result_in_words() {
    let world = World::answering(|_, _| problem(503, "overloaded"));
    let result = call(&world, "run_python", json!({"code": "secret"}));
    assert_eq!(result["isError"], true);
    assert_eq!(
        result["content"][0]["text"],
        "the host refused: overloaded: why"
    );
    let world = World::trying(|_, _| Err(WebError::Timeout));
    let result = call(&world, "run_python", json!({"code": "secret"}));
    assert_eq!(
        result["content"][0]["text"],
        "the host did not answer: no answer came in time"
    );
    let world = World::answering(|_, _| ok(b"nonsense".to_vec()));
    let result = call(&world, "run_python", json!({"code": "secret"}));
    assert!(
        result["content"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("the host's answer can not be read")
    );
}

#[test]
fn an_answer_that_was_altered_is_none() {
    let inner = host(&["/test/policy/unsafe/python"], echo);
    let world = World::answering(move |asked: &Asked, _| {
        let mut answer = front::ports::Ports::send(&inner, asked).unwrap();
        if asked.target != "/encrypt/create_keypair"
            && let Some(last) = answer.body.last_mut()
        {
            *last ^= 1;
        }
        answer
    });
    let result = call(&world, "run_python", json!({"code": "c"}));
    assert_eq!(result["isError"], Value::Bool(true));
    assert_eq!(
        result["content"][0]["text"],
        "the host's answer can not be read: it does not open"
    );
}

#[test]
fn arguments_that_can_not_be_taken_ask_the_host_nothing() {
    let world = host(&[], echo);
    let result = call(&world, "run_wasm", json!({"component": "no base64!"}));
    assert_eq!(result["content"][0]["text"], "`component` has to be base64");
    assert!(world.sent().is_empty());
}
