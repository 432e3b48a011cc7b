//! Sealed calls: commands by their streams, services by Binary HTTP.

use bhttp::Mode;
use hyper::Request;
use hypervisor_client::protocol::{
    AgentRequest, ComponentDigest, ContentFormat, ExecuteResponse, Exit, LimitKind, Operation,
    Rejection,
};
use hypervisor_client::{Error, Execution, Inputs};
use hypervisor_tests::agents::{owner, reference, rejection};
use hypervisor_tests::{Host, RawSession, assert_limit};
use reqwest::Method;
use serde_json::Value;

use crate::agents::binary_http::{message, sent, written};

const CBOR: ContentFormat = ContentFormat::Cbor;

/// Deploys a guest as `agent` on a host with these limits.
async fn host(guest: &str, config: &str, more: &str) -> Host {
    let host = Host::with(config);
    host.deploy(&owner(), guest, "agent", more).await;
    host
}

/// Calls a command that is deployed as `agent`.
async fn command(host: &Host, inputs: Inputs<'_>) -> Execution {
    let session = host.session().await;
    let agent = reference("agent");
    session.call_command(&agent, inputs, None).await.unwrap()
}

/// Calls a service that is deployed as `agent`; gives how it ended.
async fn get(host: &Host, path: &str) -> Execution {
    let session = host.session().await;
    let request = Request::get(path).body(Vec::new()).unwrap();
    let agent = reference("agent");
    let answer = session.call_service(&agent, request, None).await.unwrap();
    answer.execution
}

#[tokio::test]
async fn a_command_gets_arguments_and_standard_input_and_gives_its_output() {
    let host = Host::start();
    let info = host.deploy(&owner(), "echo", "agent", "").await.info;
    let inputs = Inputs::new()
        .arguments(["one", "two words"])
        .stdin(b"\0\xffbytes");
    let execution = command(&host, inputs).await;
    assert_eq!(execution.result, b"one\ntwo words\n\0\xffbytes");
    let report = execution.report;
    assert_eq!(report.exit, Exit::Ok);
    assert_eq!(report.program_digest, info.digest);
    assert!(report.peak_memory_bytes > 0 && report.wall_microseconds > 0);
}

#[tokio::test]
async fn a_call_that_pins_a_component_runs_no_other_that_took_its_place() {
    let (host, owner) = (Host::start(), owner());
    let seen = host.deploy(&owner, "echo", "agent", "").await.info;
    let session = host.session().await;
    let pinned = [
        ComponentDigest::Sha384(seen.sha384.0),
        ComponentDigest::Sha256(seen.digest.0),
    ]
    .map(|digest| reference("agent").pinned(digest));
    for agent in &pinned {
        let inputs = Inputs::new().argument("as it was seen");
        let execution = session.call_command(agent, inputs, None).await.unwrap();
        assert_eq!(execution.result, b"as it was seen\n");
    }
    host.deploy(&owner, "hello", "agent", "").await;
    for agent in &pinned {
        let inputs = Inputs::new().argument("a secret");
        let execution = session.call_command(agent, inputs, None).await.unwrap();
        let (problem, detail) = rejection(&Error::Agent(Box::new(execution.report.exit)));
        assert_eq!(problem, Rejection::WrongDigest, "{detail}");
        assert!(execution.result.is_empty());
    }
    let ran = host.counter("hypervisor_agent_calls_total{exit=\"ok\"}");
    assert_eq!(ran.await, 2, "what was seen, twice");
}

#[tokio::test]
async fn a_pin_that_is_no_digest_names_no_agent() {
    let host = host("echo", "", "").await;
    let raw = RawSession::open(&host).await;
    for pin in ["agent@", "agent@sha1:00", "agent@sha256:00", "other@sha256"] {
        let (request, pending) = raw.about(Operation::Agent, pin, None, None);
        let answer = raw.send_to(Method::POST, "/agents/agent", &request).await;
        let report = raw.open_answer(CBOR, &pending, &answer).report;
        let (problem, _) = rejection(&Error::Agent(Box::new(report.exit)));
        assert_eq!(problem, Rejection::UnknownAgent, "{pin}");
    }
}

#[tokio::test]
async fn a_commands_exit_code_comes_in_its_report() {
    let host = host("exit-code", "", "").await;
    for (argument, exit) in [("0", Exit::Ok), ("42", Exit::Code { code: 42 })] {
        let execution = command(&host, Inputs::new().argument(argument)).await;
        assert_eq!(execution.report.exit, exit);
    }
}

#[tokio::test]
async fn a_command_that_traps_says_so_in_its_report() {
    let host = host("trap", "", "").await;
    let execution = command(&host, Inputs::new().argument("what went wrong")).await;
    let Exit::Trap { reason } = execution.report.exit else {
        panic!("{:?}", execution.report.exit);
    };
    assert!(reason.contains("unreachable"), "{reason}");
    let said = String::from_utf8(execution.report.stderr.0).unwrap();
    assert!(said.contains("what went wrong"), "{said}");
    assert_eq!(execution.result, b"about to panic\n");
}

#[tokio::test]
async fn an_argument_that_a_command_cannot_get_is_refused() {
    let host = host("echo", "", "").await;
    for argument in [b"\xff".to_vec(), b"a\0b".to_vec()] {
        let execution = command(&host, Inputs::new().argument(argument)).await;
        let (problem, _) = rejection(&Error::Agent(Box::new(execution.report.exit)));
        assert_eq!(problem, Rejection::InvalidArgument);
        assert!(execution.result.is_empty());
    }
}

#[tokio::test]
async fn a_service_sees_the_request_that_was_sealed() {
    let host = Host::start();
    let info = host.deploy(&owner(), "http-echo", "agent", "").await.info;
    let session = host.session().await;
    let request = Request::put("/info?city=Oslo&a=%20")
        .header("x-one", "1")
        .header("x-two", "a")
        .header("x-two", "b")
        .header("host", "elsewhere.example")
        .body(b"body".to_vec())
        .unwrap();
    let agent = reference("agent");
    let answer = session.call_service(&agent, request, None).await.unwrap();
    assert_eq!(answer.execution.report.program_digest, info.digest);
    let response = answer.into_response().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    let seen: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(seen["method"], "PUT");
    assert_eq!(seen["path_with_query"], "/info?city=Oslo&a=%20");
    assert_eq!(seen["scheme"], "http");
    assert_eq!(
        seen["authority"],
        format!("{}.agent.internal", info.address)
    );
    let values = |name: &str| -> Vec<&str> {
        let headers = seen["headers"].as_array().unwrap().iter();
        headers
            .filter(|pair| pair[0] == name)
            .map(|pair| pair[1].as_str().unwrap())
            .collect()
    };
    assert_eq!(values("x-one"), ["1"]);
    assert_eq!(values("x-two"), ["a", "b"]);
}

#[tokio::test]
async fn bodies_go_both_ways() {
    let host = host("http-echo", "", "").await;
    let session = host.session().await;
    let agent = reference("agent");
    for length in [0, 1, 5 << 20] {
        let request = Request::post("/").body(vec![7; length]).unwrap();
        let answer = session.call_service(&agent, request, None).await.unwrap();
        assert!(*answer.into_response().unwrap().body() == vec![7; length]);
    }
}

#[tokio::test]
async fn an_agents_own_errors_are_responses() {
    let host = host("bad-agent", "", "").await;
    let session = host.session().await;
    let request = Request::get("/nothing-here").body(Vec::new()).unwrap();
    let agent = reference("agent");
    let answer = session.call_service(&agent, request, None).await.unwrap();
    assert_eq!(answer.execution.report.exit, Exit::Ok);
    assert_eq!(answer.into_response().unwrap().status(), 404);
}

#[tokio::test]
async fn a_request_sealed_for_another_agent_than_the_paths_is_refused_and_neither_runs() {
    let host = Host::start();
    let owner = owner();
    let info = host.deploy(&owner, "bad-agent", "agent", "").await.info;
    host.deploy(&owner, "bad-agent", "other", "").await;
    let input = written(&message("/log?bytes=5"), Mode::KnownLength);
    let session = RawSession::open(&host).await;
    for (sealed, path) in [
        ("other", "agent"),
        ("agent", "other"),
        ("agent", "nobody"),
        ("nobody", "agent"),
        ("agent ", "agent"),
        ("", "agent"),
        // It is the same agent, and not what the client said.
        ("agent", &info.address),
    ] {
        let (answer, pending) = sent(&session, sealed, path, &input).await;
        let opened = session.open_answer(CBOR, &pending, &answer);
        let (problem, _) = rejection(&Error::Agent(Box::new(opened.report.exit)));
        assert_eq!(problem, Rejection::UnknownAgent, "{sealed} at {path}");
    }
    for name in ["agent", "other"] {
        assert!(host.logs(&owner, name).await.lines.is_empty());
    }
}

#[tokio::test]
async fn a_request_runs_once_however_often_it_is_sent() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "bad-agent", "agent", "").await;
    let session = RawSession::open(&host).await;
    let input = written(&message("/log?bytes=5"), Mode::KnownLength);
    let (request, pending) = session.about(Operation::Agent, "agent", Some(&input), None);
    let first = session
        .send_to(Method::POST, "/agents/agent", &request)
        .await;
    session.open_answer(CBOR, &pending, &first);
    for _ in 0..3 {
        let again = session
            .send_to(Method::POST, "/agents/agent", &request)
            .await;
        assert_eq!(
            (again.status, again.problem().as_str()),
            (409, "replayed-sequence")
        );
    }
    assert_eq!(host.logs(&owner, "agent").await.lines.len(), 1);
}

#[tokio::test]
async fn what_was_sealed_for_another_operation_does_not_authenticate() {
    let host = host("echo", "", "").await;
    let session = RawSession::open(&host).await;
    for operation in [
        Operation::Wasm,
        Operation::Deploy,
        Operation::Remove,
        Operation::Logs,
    ] {
        let (request, _) = session.about(operation, "agent", None, None);
        let answer = session
            .send_to(Method::POST, "/agents/agent", &request)
            .await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "authentication-failed"),
            "{operation}"
        );
    }
    let (request, _) = session.about(Operation::Agent, "agent", None, None);
    let answer = session
        .send_to(Method::DELETE, "/agents/agent", &request)
        .await;
    assert_eq!(answer.problem(), "authentication-failed");
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let host = host("echo", "", "").await;
    let session = RawSession::open(&host).await;
    let (request, pending) = session.about(Operation::Agent, "agent", Some(b"body"), None);
    let url = format!("{}/agents/agent", host.url());
    let body = ContentFormat::Json.encode(&request).unwrap();
    let http = reqwest::Client::new();
    let answer = hypervisor_tests::raw::post(&http, &url, "application/json", body).await;
    let opened = session.open_answer(ContentFormat::Json, &pending, &answer);
    assert_eq!(opened.result, b"body");
}

#[tokio::test]
async fn success_and_failure_look_the_same_from_outside() {
    let host = host("bad-agent", "", "").await;
    let session = RawSession::open(&host).await;
    for path in ["/env", "/trap-before", "/never", "not a path"] {
        let input = written(&message(path), Mode::KnownLength);
        let (answer, pending) = sent(&session, "agent", "agent", &input).await;
        assert_eq!(answer.status, 200);
        let response: ExecuteResponse = CBOR.decode(&answer.body).unwrap();
        assert!(!response.encrypted_report.0.is_empty());
        session.open_answer(CBOR, &pending, &answer);
    }
}

#[tokio::test]
async fn a_service_that_traps_says_so_in_the_sealed_report() {
    let host = host("bad-agent", "", "").await;
    for (path, word) in [
        ("/trap-before", "unreachable"),
        ("/trap-after-headers", "unreachable"),
        ("/never", "without a response"),
    ] {
        match get(&host, path).await.report.exit {
            Exit::Trap { reason } => assert!(reason.contains(word), "{path}: {reason}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(get(&host, "/env").await.report.exit, Exit::Ok);
}

#[tokio::test]
async fn limits_are_named_in_the_sealed_report() {
    for (limit, path, which, allowed) in [
        ("cpu = '200ms'", "/spin", LimitKind::Cpu, 200_000),
        ("wall = '1s'", "/sleep-forever", LimitKind::Wall, 1_000_000),
        ("memory = '32 MiB'", "/oom", LimitKind::Memory, 32 << 20),
        (
            "output = '64 KiB'",
            "/write-forever",
            LimitKind::Output,
            64 << 10,
        ),
    ] {
        let host = host("bad-agent", &format!("[limits]\n{limit}"), "").await;
        let execution = get(&host, path).await;
        assert_limit(&execution.report, which, allowed);
        assert!(execution.result.is_empty());
    }
}

#[tokio::test]
async fn a_limit_that_is_reached_within_the_response_is_named_too() {
    let config = "[limits]\ncpu = '20ms'\noutput = '1 GiB'";
    let host = host("bad-agent", config, "").await;
    let execution = get(&host, "/write-forever").await;
    assert_limit(&execution.report, LimitKind::Cpu, 20_000);
}

#[tokio::test]
async fn an_agents_own_limits_hold() {
    let more = "[limits]\ncpu = '200ms'\nmemory = '16 MiB'\noutput = '4 KiB'";
    let host = host("bad-agent", "", more).await;
    for (path, which, allowed) in [
        ("/spin", LimitKind::Cpu, 200_000),
        ("/oom", LimitKind::Memory, 16 << 20),
        ("/write-forever", LimitKind::Output, 4 << 10),
    ] {
        assert_limit(&get(&host, path).await.report, which, allowed);
    }
}

#[tokio::test]
async fn a_commands_output_keeps_its_first_part() {
    let host = host("flood", "", "[limits]\noutput = '4 KiB'").await;
    let execution = command(&host, Inputs::new()).await;
    assert_limit(&execution.report, LimitKind::Output, 4 << 10);
    assert!(execution.report.stdout_truncated);
    assert_eq!(execution.result.len(), 4 << 10);
}

#[tokio::test]
async fn how_a_sealed_call_ended_is_in_the_owners_log() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "trap", "agent", "").await;
    command(&host, Inputs::new().argument("what went wrong")).await;
    host.deploy(&owner, "bad-agent", "service", "").await;
    let session = host.session().await;
    let request = Request::get("/trap-before").body(Vec::new()).unwrap();
    let service = reference("service");
    session.call_service(&service, request, None).await.unwrap();
    for (name, word) in [("agent", "what went wrong"), ("service", "asked to panic")] {
        let lines = host.logs(&owner, name).await.lines;
        for word in [word, "host trap: "] {
            assert!(
                lines.iter().any(|line| line.contains(word)),
                "no {word} in {lines:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_without_the_agent_is_malformed() {
    let host = host("echo", "", "").await;
    let session = RawSession::open(&host).await;
    let (request, _) = session.about(Operation::Agent, "agent", None, None);
    let mut request: Value = serde_json::to_value::<AgentRequest>(request).unwrap();
    request.as_object_mut().unwrap().remove("encrypted_agent");
    let (http, url) = (
        reqwest::Client::new(),
        format!("{}/agents/agent", host.url()),
    );
    let body = serde_json::to_vec(&request).unwrap();
    let answer = hypervisor_tests::raw::post(&http, &url, "application/json", body).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "malformed-request")
    );
}
