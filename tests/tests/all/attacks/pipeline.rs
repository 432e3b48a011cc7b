//! The order in which a call is looked at, for every way in, and what holds on all of them.

use hyper::Request;
use hypervisor_client::protocol::{AgentInfo, Exit};
use hypervisor_tests::agents::{owner, problem, reference};
use hypervisor_tests::programs::component_file;
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Host, RawSession};

use crate::agents::kit::{Policy, arrived, outgoing, sent};
use crate::agents::swap::{listing, swapped};

/// Holds a slot until dropped: a service that never answers.
async fn holding(host: &Host, agent: &str) -> Wire {
    let before = host.counter("hypervisor_executions").await;
    let mut wire = Wire::open(host.url()).await;
    wire.send(format!(
        "GET /agents/{agent}/sleep-forever HTTP/1.1\r\nhost: h\r\n\r\n"
    ))
    .await;
    hypervisor_tests::eventually("the slot is taken", async || {
        (host.counter("hypervisor_executions").await > before).then_some(())
    })
    .await;
    wire
}

/// Denies calls of one agent, and nothing else.
fn denying(name: &str) -> Policy {
    Policy::python(&format!(
        "def authorize(action):\n    if action.kind == 'invoke-agent' and action.agent.startswith('{name}.'):\n        return Deny('closed')\n    return True\n"
    ))
}

#[tokio::test]
async fn a_call_that_finds_no_slot_does_not_reach_the_policy_by_any_way_in() {
    let policy = denying("closed");
    let host = Host::with(&format!(
        "[limits]\nexecutions = 1\nqueue = 0\n{}",
        policy.section()
    ));
    let owner = owner();
    host.deploy(&owner, "bad-agent", "open", "").await;
    host.deploy(&owner, "http-hello", "closed", "").await;

    let session = RawSession::open(&host).await;
    let held = holding(&host, "open").await;
    let (status, refused) = problem(host.get("closed", "/").await).await;
    assert_eq!(
        (status, refused.kind.as_str()),
        (503, "urn:hypervisor:problem:overloaded")
    );
    let sealed = crate::agents::binary_http::sent(&session, "closed", "closed", b"").await;
    assert_eq!(
        (sealed.0.status, sealed.0.problem().as_str()),
        (503, "overloaded")
    );
    let registry = reqwest::Client::new()
        .post(format!("{}/agent/deploy", host.url()))
        .body(r#"{"agent": "nobody"}"#)
        .send();
    assert_eq!(problem(registry.await.unwrap()).await.0, 503);

    drop(held);
    hypervisor_tests::eventually("the slot is free and the policy is asked", async || {
        (host.get("closed", "/").await.status() == 403).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_calls_is_answered_and_not_denied_by_a_policy_that_ran_out_of_time() {
    let policy = Policy::python("def authorize(action):\n    return True\n");
    let host = Host::with(&format!(
        "[limits]\nexecutions = 2\nqueue = 4\n{}",
        policy.section()
    ));
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let calls = (0..60).map(|_| {
        let url = host.agent("hello", "/");
        tokio::spawn(async move { reqwest::get(url).await.unwrap().status().as_u16() })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        let status = call.await.unwrap();
        assert!([200, 503].contains(&status), "{status}");
    }
}

/// Starts a POST to an agent and waits until the host receives its body: the call has entered.
async fn entered(host: &Host, path: &str, length: usize, media_type: &str) -> Wire {
    let mut wire = Wire::open(host.url()).await;
    wire.send(format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n"
    ))
    .await;
    wire.until("100 Continue\r\n\r\n").await;
    wire
}

#[tokio::test]
async fn a_call_is_judged_by_the_policy_that_it_entered_under() {
    let policy = Policy::rust(&listing(&["echo"]));
    let host = Host::with(&policy.section());
    host.deploy(&owner(), "echo", "echo", "").await;
    let mut wire = entered(&host, "/agents/echo/", 4, "text/plain").await;
    policy.write(&listing(&["hello"]));
    let engine = std::fs::read(component_file("policy-rust")).unwrap();
    swapped(&host, "policy", engine).await;
    assert_eq!(host.get("echo", "/").await.status(), 403);
    wire.send("body").await;
    let answer = wire.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("body"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_agent_that_was_found_is_the_agent_that_runs() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-hello", "agent", "").await;
    let session = RawSession::open(&host).await;
    let input = crate::agents::binary_http::written(
        &crate::agents::binary_http::message("/found"),
        bhttp::Mode::KnownLength,
    );
    let (request, pending) = session.about(
        hypervisor_client::protocol::Operation::Agent,
        "agent",
        Some(&input),
        None,
    );
    let format = hypervisor_client::protocol::ContentFormat::Cbor;
    let body = format.encode(&request).unwrap();
    let (last, first) = body.split_last().unwrap();
    let mut wire = entered(&host, "/agents/agent", body.len(), format.media_type()).await;
    wire.send(first).await;
    host.deploy(&owner, "bad-agent", "agent", "").await;
    wire.send([*last]).await;
    let opened = session.open_answer(format, &pending, &wire.answer().await);
    assert_eq!(opened.report.exit, Exit::Ok);
    assert!(String::from_utf8_lossy(&opened.result).contains("/found"));
}

/// Whether a plain call of `http-hello` is denied, by whichever name it comes.
async fn is_denied(host: &Host, name: &str) -> bool {
    host.get(name, "/secret").await.status() == 403
}

#[tokio::test]
async fn a_rule_on_a_path_holds_whatever_name_or_way_a_call_takes() {
    let rules = "def authorize(action):\n    if action.kind == 'invoke-agent' and action.resource.startswith('/agents/closed/secret'):\n        return Deny('closed')\n    if action.kind == 'invoke-agent' and action.resource == '/agents/sealed':\n        return Deny('closed')\n    return True\n";
    let policy = Policy::python(rules);
    let host = Host::with(&policy.section());
    let owner = owner();
    let closed: AgentInfo = host.deploy(&owner, "http-hello", "closed", "").await.info;
    let lists = outgoing(&["http://*.agent.internal"]);
    host.deploy(&owner, "chain", "chain", &lists).await;

    assert!(is_denied(&host, "closed").await);
    assert!(is_denied(&host, &closed.address).await);
    let inside = format!("http://{}.agent.internal/secret", closed.address);
    assert_eq!(
        crate::agents::kit::error(sent(&host, &inside).await).await,
        "http-request-denied"
    );
    let open = format!("http://{}.agent.internal/open", closed.address);
    arrived(sent(&host, &open).await).await;

    // The path of a sealed call is sealed: the rule is on the agent alone, by whichever name.
    let sealed: AgentInfo = host.deploy(&owner, "http-hello", "sealed", "").await.info;
    for name in ["sealed", sealed.address.as_str()] {
        let session = host.session().await;
        let request = Request::get("/").body(Vec::new()).unwrap();
        let answer = session.call_service(&reference(name), request, None).await;
        assert!(matches!(
            answer.unwrap().execution.report.exit,
            Exit::Denied { .. }
        ));
    }
}

#[tokio::test]
async fn the_policy_sees_of_a_sealed_call_what_is_outside_the_seal() {
    let rules = "def authorize(action):\n    if action.kind != 'invoke-agent':\n        return True\n    return Deny(f'{action.method} {action.resource} {action.sizes.program}')\n";
    let policy = Policy::python(rules);
    let host = Host::with(&policy.section());
    host.deploy(&owner(), "http-hello", "agent", "").await;
    let session = host.session().await;
    let request = Request::patch("/hidden/path").body(Vec::new()).unwrap();
    let answer = session
        .call_service(&reference("agent"), request, None)
        .await;
    match answer.unwrap().execution.report.exit {
        Exit::Denied { reason } => assert_eq!(reason, "POST /agents/agent 0"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rule_on_a_name_holds_for_every_owners_agent_of_that_name() {
    let rules = "def authorize(action):\n    if action.agent_name == 'closed':\n        return Deny(f'closed to {action.agent_owner}')\n    return True\n";
    let policy = Policy::python(rules);
    let host = Host::with(&policy.section());
    let owner = owner();
    let component = hypervisor_tests::programs::guest("http-hello");
    for (name, is_denied) in [("closed", true), ("open", false)] {
        let manifest = hypervisor_tests::agents::manifest(name, "");
        let deployed = host.try_deploy(&owner, &component, &manifest).await;
        match deployed {
            Ok(_) => assert!(!is_denied, "{name} was deployed"),
            Err(error) => {
                assert!(is_denied, "{error}");
                assert!(
                    error.to_string().contains(&owner.id().to_string()),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_sealed_request_that_could_be_read_in_two_ways_is_rejected() {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "agent", "").await;
    for fields in [
        &[("content-length", "4"), ("content-length", "5")][..],
        &[("content-length", "5")],
        &[("Content-Length", "4")],
        &[("X-Upper", "case")],
    ] {
        let mut request = crate::agents::binary_http::message("/");
        for (name, value) in fields {
            request.put_header(*name, *value);
        }
        request.write_content(b"body");
        let input = crate::agents::binary_http::written(&request, bhttp::Mode::KnownLength);
        let session = RawSession::open(&host).await;
        let sent = crate::agents::binary_http::sent(&session, "agent", "agent", &input);
        let (answer, pending) = sent.await;
        let format = hypervisor_client::protocol::ContentFormat::Cbor;
        let opened = session.open_answer(format, &pending, &answer);
        assert!(
            matches!(opened.report.exit, Exit::Rejected { .. }),
            "{fields:?}: {:?}",
            opened.report.exit
        );
    }
}
