//! Agents that call agents, without a socket.

use std::time::Instant;

use hypervisor_client::protocol::OwnerKey;
use hypervisor_tests::agents::{owner, problem};
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Host, PATIENCE, eventually};
use reqwest::{Client, Url};
use serde_json::Value;

use crate::agents::kit::{Policy, arrived, counted, error, fails, outgoing, sent, through};

/// The URL of an agent as other agents write it.
fn inside(reference: &str, path: &str) -> String {
    format!("http://{reference}.agent.internal{path}")
}

/// Deploys the guest `chain` under a name, with this in its manifest beside the list of agents that it may call.
async fn link(host: &Host, owner: &OwnerKey, name: &str, calls: &[&str], more: &str) {
    let origins: Vec<_> = calls.iter().map(|callee| inside(callee, "")).collect();
    let origins: Vec<_> = origins.iter().map(String::as_str).collect();
    let manifest = format!("{}\n{more}", outgoing(&origins));
    host.deploy(owner, "chain", name, &manifest).await;
}

/// The URL by which the first of these agents has the next call the one after it, and so on, to the last URL.
fn by_way_of(links: &[&str], last: &str) -> String {
    links.iter().rev().fold(last.to_owned(), |url, link| {
        through(&inside(link, "/"), &url).to_string()
    })
}

#[tokio::test]
async fn an_agent_calls_another_by_its_name_and_by_its_address() {
    let host = Host::start();
    let owner = owner();
    let hello = host.deploy(&owner, "http-hello", "hello", "").await;
    let address = hello.info.address;
    link(&host, &owner, "chain", &["hello", &address], "").await;
    for reference in ["hello", &address] {
        let answer = sent(&host, &inside(reference, "/a/b?c=%2F")).await;
        assert_eq!(arrived(answer).await, "hello from GET /a/b?c=%2F\n");
    }
    assert_eq!(counted(&host, "internal").await, 2);
    assert_eq!(counted(&host, "sent").await, 0);
}

#[tokio::test]
async fn a_chain_has_several_links_and_streams_through_them_all() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-echo", "echo", "").await;
    link(&host, &owner, "chain", &["second"], "").await;
    link(&host, &owner, "second", &["echo"], "").await;
    let url = by_way_of(&["second"], &inside("echo", "/"));
    let url = through(&host.agent("chain", "/"), &url);
    let request = Client::new().post(url.clone());
    let body = vec![b'x'; 8 << 20];
    let answer = request.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap() == body);

    // The answer's first bytes are here before the request has ended.
    let target = url.as_str().strip_prefix(host.url()).unwrap();
    let mut wire = Wire::open(host.url()).await;
    wire.send(format!(
        "POST {target} HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nfirst"
    ))
    .await;
    wire.until("first").await;
    wire.send("other").await;
    wire.until("other").await;
}

#[tokio::test]
async fn the_called_agent_sees_its_own_authority_and_the_callers_fields_only() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-echo", "echo", "").await;
    link(&host, &owner, "chain", &["echo"], "").await;
    let text = arrived(sent(&host, &inside("echo", "/info")).await).await;
    let seen: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(seen["authority"], "echo.agent.internal");
    assert_eq!(seen["scheme"], "http");
    assert_eq!(seen["path_with_query"], "/info");
    let fields = seen["headers"].as_array().unwrap();
    assert!(fields.iter().all(|field| field[0] == "host"), "{fields:?}");
}

#[tokio::test]
async fn only_agents_on_the_callers_list_are_called() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-hello", "hello", "").await;
    link(&host, &owner, "chain", &["other"], "").await;
    let error = error(sent(&host, &inside("hello", "/")).await).await;
    assert_eq!(error, "http-request-denied");
    assert_eq!(counted(&host, "not_listed").await, 1);
}

#[tokio::test]
async fn a_pattern_lists_all_agents() {
    let host = Host::start();
    let owner = owner();
    let hello = host.deploy(&owner, "http-hello", "hello", "").await;
    link(&host, &owner, "chain", &["*"], "").await;
    for reference in ["hello", &hello.info.address] {
        arrived(sent(&host, &inside(reference, "/")).await).await;
    }
}

#[tokio::test]
async fn what_the_operator_allows_outside_does_not_matter_inside() {
    let host = Host::with("[agents]\noutgoing = []");
    let owner = owner();
    host.deploy(&owner, "http-hello", "hello", "").await;
    link(&host, &owner, "chain", &["hello"], "").await;
    arrived(sent(&host, &inside("hello", "/")).await).await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_not_found() {
    let host = Host::start();
    let owner = owner();
    link(&host, &owner, "chain", &["*"], "").await;
    for url in [
        inside("nobody", "/"),
        inside("nobody.operator", "/"),
        inside("nobody.00112233445566778899aabbccddeeff", "/"),
        inside("no_name", "/"),
        inside("a.b.c", "/"),
    ] {
        assert_eq!(
            error(sent(&host, &url).await).await,
            "destination-not-found",
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_circle_is_broken_where_it_closes() {
    let host = Host::start();
    let owner = owner();
    for name in ["chain", "second"] {
        link(&host, &owner, name, &["chain", "second"], "").await;
    }
    let itself = sent(&host, &inside("chain", "/")).await;
    assert_eq!(error(itself).await, "loop-detected");
    let circle = by_way_of(&["second", "chain"], &inside("second", "/"));
    assert_eq!(error(sent(&host, &circle).await).await, "loop-detected");
    assert_eq!(counted(&host, "chain").await, 2);
}

#[tokio::test]
async fn a_circle_through_an_address_is_one_too() {
    let host = Host::start();
    let owner = owner();
    link(&host, &owner, "chain", &["*"], "").await;
    let address = host.client().agents().await.unwrap().agents[0]
        .address
        .clone();
    let itself = sent(&host, &inside(&address, "/")).await;
    assert_eq!(error(itself).await, "loop-detected");
}

#[tokio::test]
async fn a_chain_is_as_long_as_the_operator_allows() {
    let host = Host::with("[agents]\ndepth = 2");
    let owner = owner();
    for name in ["chain", "second", "third"] {
        link(&host, &owner, name, &["*"], "").await;
    }
    host.deploy(&owner, "http-hello", "hello", "").await;
    let hello = inside("hello", "/");
    let two = sent(&host, &by_way_of(&["second"], &hello)).await;
    assert_eq!(arrived(two).await, "hello from GET /\n");
    let three = sent(&host, &by_way_of(&["second", "third"], &hello)).await;
    assert_eq!(error(three).await, "loop-detected");
}

#[tokio::test]
async fn a_private_agent_is_there_for_its_owners_agents_and_for_no_others() {
    let host = Host::start();
    let (one, other) = (owner(), owner());
    let hidden = host
        .deploy(&one, "http-hello", "hidden", "private = true")
        .await;
    link(&host, &one, "chain", &["*"], "").await;
    link(&host, &other, "stranger", &["*"], "").await;
    for reference in ["hidden", &hidden.info.address] {
        let url = inside(reference, "/");
        arrived(sent(&host, &url).await).await;
        let stranger = through(&host.agent("stranger", "/"), &url);
        let stranger = reqwest::get(stranger).await.unwrap();
        assert_eq!(error(stranger).await, "destination-not-found");
    }
}

#[tokio::test]
async fn a_bare_name_means_the_callers_own_agent_first() {
    let host = Host::start();
    let (one, other) = (owner(), owner());
    host.deploy(&one, "http-hello", "service", "").await;
    host.deploy(&other, "http-echo", "service", "").await;
    link(&host, &other, "chain", &["service"], "").await;
    let text = arrived(sent(&host, &inside("service", "/info")).await).await;
    assert!(text.contains("path_with_query"), "{text}");
}

#[tokio::test]
async fn no_link_has_more_time_than_the_one_before_it() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    link(&host, &owner, "chain", &["second"], "[limits]\nwall = '1s'").await;
    link(&host, &owner, "second", &["bad"], "").await;
    for path in ["/sleep-forever", "/spin"] {
        let began = Instant::now();
        let answer = sent(&host, &by_way_of(&["second"], &inside("bad", path))).await;
        let status = answer.status();
        assert!([504, 502].contains(&status.as_u16()), "{status}");
        answer.text().await.unwrap();
        // The callee alone would have had a minute.
        assert!(began.elapsed() < PATIENCE, "{path}");
    }
    eventually("the callee is stopped as well", async || {
        let calls = "hypervisor_agent_calls_total{exit=\"limit\"}";
        (host.counter(calls).await >= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_callee_that_fails_fails_for_its_caller() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "bad-agent", "bad", "").await;
    link(&host, &owner, "chain", &["bad"], "").await;
    for path in ["/never", "/trap-before"] {
        let (status, problem) = problem(sent(&host, &inside("bad", path)).await).await;
        assert_eq!(status, 502);
        assert!(problem.kind.ends_with(":agent-failed"), "{problem:?}");
    }
    // What breaks off there breaks off here.
    for path in ["/wrong-length?declared=100", "/trap-after-headers"] {
        let url = through(&host.agent("chain", "/"), &inside("bad", path));
        fails(Client::new().get(url)).await;
    }
}

#[tokio::test]
async fn the_policy_is_asked_about_the_inner_call_too() {
    let policy = Policy::python(
        "def authorize(action):\n    return action.kind != 'invoke-agent' or not action.agent.startswith('hello.')\n",
    );
    let host = Host::with(&policy.section());
    let owner = owner();
    host.deploy(&owner, "http-hello", "hello", "").await;
    host.deploy(&owner, "http-hello", "allowed", "").await;
    link(&host, &owner, "chain", &["*"], "").await;
    arrived(sent(&host, &inside("allowed", "/")).await).await;
    let refused = sent(&host, &inside("hello", "/")).await;
    assert_eq!(error(refused).await, "http-request-denied");
    assert_eq!(counted(&host, "policy").await, 1);
    assert_eq!(host.get("hello", "/").await.status(), 403);
}

#[tokio::test]
async fn rules_see_which_agent_calls_which() {
    let policy = Policy::python(
        "def authorize(action):\n    if action.kind != 'invoke-agent' or action.agent_name != 'hello':\n        return True\n    return action.calling_agent_name == 'chain' and action.calling_agent_owner == action.agent_owner and action.calling_agent.startswith('chain.')\n",
    );
    let host = Host::with(&policy.section());
    let owner = owner();
    host.deploy(&owner, "http-hello", "hello", "").await;
    for name in ["chain", "other"] {
        link(&host, &owner, name, &["hello"], "").await;
    }
    arrived(sent(&host, &inside("hello", "/")).await).await;
    let by_other = through(&host.agent("other", "/"), &inside("hello", "/"));
    let by_other = reqwest::get(by_other).await.unwrap();
    assert_eq!(error(by_other).await, "http-request-denied");
    assert_eq!(host.get("hello", "/").await.status(), 403, "by no agent");
}

#[tokio::test]
async fn a_chain_does_not_wait_for_the_slots_that_it_holds_itself() {
    let host = Host::with("[limits]\nexecutions = 2\nqueue = 10");
    let owner = owner();
    for name in ["chain", "second"] {
        link(&host, &owner, name, &["*"], "").await;
    }
    host.deploy(&owner, "http-hello", "hello", "").await;
    let hello = inside("hello", "/");
    arrived(sent(&host, &hello).await).await;
    let three = sent(&host, &by_way_of(&["second"], &hello)).await;
    assert_eq!(error(three).await, "connection-limit-reached");
    arrived(sent(&host, &hello).await).await;
}

#[tokio::test]
async fn many_chains_at_once_all_come_to_an_end() {
    let host = Host::with("[limits]\nexecutions = 4\nqueue = 100");
    let owner = owner();
    link(&host, &owner, "chain", &["hello"], "").await;
    host.deploy(&owner, "http-hello", "hello", "").await;
    let url = through(&host.agent("chain", "/"), &inside("hello", "/"));
    let get = |url: Url| async { reqwest::get(url).await.unwrap().text().await.unwrap() };
    let calls: Vec<_> = (0..24).map(|_| tokio::spawn(get(url.clone()))).collect();
    for call in calls {
        let text = call.await.unwrap();
        let ends = [
            "hello from GET /\n",
            "{\"error\":\"connection-limit-reached\"}\n",
        ];
        assert!(ends.contains(&text.as_str()), "{text}");
    }
}

#[tokio::test]
async fn inside_the_host_there_is_no_tls() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-hello", "hello", "").await;
    let secure = inside("hello", "").replace("http://", "https://");
    host.deploy(&owner, "chain", "chain", &outgoing(&[&secure]))
        .await;
    let error = error(sent(&host, &secure).await).await;
    assert_eq!(error, "http-protocol-error");
}

#[tokio::test]
async fn a_command_is_called_by_an_agent_as_by_a_client() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "echo", "echo", "").await;
    link(&host, &owner, "chain", &["echo"], "").await;
    let answer = sent(&host, &inside("echo", "/?arg=a&arg=b%20c")).await;
    assert_eq!(arrived(answer).await, "a\nb c\n");
}

#[tokio::test]
async fn the_hosts_log_does_not_say_who_calls_whom() {
    let host = Host::start();
    let owner = owner();
    let name = "a-name-of-no-concern";
    host.deploy(&owner, "http-hello", name, "private = true")
        .await;
    link(&host, &owner, "chain", &["*"], "").await;
    arrived(sent(&host, &inside(name, "/a-path-of-no-concern")).await).await;
    error(sent(&host, &inside("another-name-of-no-concern", "/")).await).await;
    assert!(!host.log().contains("of-no-concern"));
}
