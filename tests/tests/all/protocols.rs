//! Components that answer HTTP in the host's own name: what they reach, and what they are to everybody else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use hypervisor_client::protocol::ContentFormat;
use hypervisor_evidence::{ComponentLog, Evidence};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{owner, problem};
use hypervisor_tests::payments::{Chain, Facilitator, Version};
use hypervisor_tests::programs::guest_file;
use reqwest::{Client, Url};
use serde_json::{Value, json};

use crate::agents::kit::{Destination, LOOPBACK, Policy, arrived, error, outgoing, through};
use crate::payments::kit::{PRICE, Purchase, checked, config};

/// The section that has a guest answer at these paths.
pub(crate) fn protocol(name: &str, guest: &str, paths: &[&str]) -> String {
    let component = guest_file(guest);
    format!("[[protocols]]\nname = '{name}'\ncomponent = {component:?}\npaths = {paths:?}\n")
}

/// A host where the guest `chain`, which sends where it is told to, answers below `/front/`.
fn fronted(more: &str) -> Host {
    Host::with(&format!(
        "{more}\n{}",
        protocol("front", "chain", &["/front/"])
    ))
}

fn url(host: &Host, path: &str) -> String {
    format!("{}{path}", host.url())
}

/// Has what is below `/front/` GET a URL.
async fn sent(host: &Host, to: &str) -> reqwest::Response {
    reqwest::get(through(&url(host, "/front/"), to))
        .await
        .unwrap()
}

#[tokio::test]
async fn requests_for_its_paths_are_answered_by_it_and_no_others() {
    let host = Host::with(&protocol("echo", "http-echo", &["/mine/", "/one"]));
    let client = Client::new();
    for path in ["/mine/", "/mine/a/b?c=d", "/one"] {
        let request = client.post(url(&host, path)).body("what was sent");
        assert_eq!(
            arrived(request.send().await.unwrap()).await,
            "what was sent"
        );
    }
    for path in ["/mine", "/one/", "/ones", "/other", "/"] {
        let answer = client.post(url(&host, path)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    assert_eq!(
        arrived(reqwest::get(url(&host, "/ping")).await.unwrap()).await,
        "pong"
    );
    let list = arrived(reqwest::get(url(&host, "/agents")).await.unwrap()).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["agents"], json!([]));
    for reference in ["echo", "echo.protocol"] {
        let found = reqwest::get(host.agent(reference, "/")).await.unwrap();
        assert_eq!(found.status(), 404, "{reference}");
    }
}

#[tokio::test]
async fn it_sees_the_request_as_it_was_sent() {
    let host = Host::with(&protocol("echo", "http-echo", &["/info"]));
    let request = Client::new()
        .get(url(&host, "/info?a=b"))
        .header("x-forwarded-prefix", "/agents/other")
        .header("origin", "https://a.example");
    let seen = arrived(request.send().await.unwrap()).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["path_with_query"], "/info?a=b");
    let names: Vec<&str> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[0].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"origin") && !names.contains(&"x-forwarded-prefix"),
        "{names:?}"
    );
}

#[tokio::test]
async fn it_reaches_the_hosts_api_and_the_agents_that_everybody_knows() {
    let host = fronted("");
    let owner = owner();
    host.deploy(&owner, "http-hello", "hello", "").await;
    host.deploy(&owner, "http-hello", "hidden", "private = true")
        .await;
    assert_eq!(
        arrived(sent(&host, "http://host.internal/ping").await).await,
        "pong"
    );
    let list = arrived(sent(&host, "http://host.internal/agents").await).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["agents"][0]["name"], "hello");
    assert_eq!(list["agents"].as_array().unwrap().len(), 1);
    let hello = arrived(sent(&host, "http://hello.agent.internal/").await).await;
    assert!(!hello.is_empty());
    let hidden = error(sent(&host, "http://hidden.agent.internal/").await).await;
    assert_eq!(hidden, "destination-not-found");
}

#[tokio::test]
async fn it_reaches_nothing_outside_and_neither_itself_nor_the_operators_port() {
    let there = Destination::start().await;
    let host = fronted(&format!("{LOOPBACK}outgoing = ['*']\n"));
    for refused in [
        there.origin(),
        "https://host.internal/ping",
        &host.admin(),
        host.url(),
    ] {
        assert_eq!(
            error(sent(&host, refused).await).await,
            "http-request-denied",
            "{refused}"
        );
    }
    assert!(there.seen().is_empty());
    for path in [
        "/front/?url=http://host.internal/ping",
        "/metrics",
        "/swap/policy",
    ] {
        let answer = sent(&host, &format!("http://host.internal{path}")).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    let itself = error(sent(&host, "http://front.protocol.agent.internal/").await).await;
    assert_eq!(itself, "destination-not-found");
}

#[tokio::test]
async fn no_agent_reaches_the_host_by_that_name() {
    let host = fronted(&format!("{LOOPBACK}outgoing = ['*']\n"));
    let listed = outgoing(&["http://host.internal"]);
    host.deploy(&owner(), "chain", "chain", &listed).await;
    let asked = through(&host.agent("chain", "/"), "http://host.internal/ping");
    let refused = error(reqwest::get(asked).await.unwrap()).await;
    assert_ne!(
        refused, "http-request-denied",
        "it is a name like any other"
    );
    // Nor does one that it calls.
    let inner = through("http://chain.agent.internal/", "http://host.internal/ping");
    let answer = sent(&host, inner.as_str()).await;
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn it_pays_as_a_stranger_pays_and_hands_the_payment_on() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let config = config(&chain, facilitator.url(), "");
    let host = Host::with(&format!(
        "{config}\n{}",
        protocol("front", "chain", &["/front/"])
    ));
    host.deploy(&owner(), "http-hello", "hello", "price = '0.01 USDC'")
        .await;
    let unpaid = sent(&host, "http://hello.agent.internal/").await;
    assert_eq!(unpaid.status(), 402);
    // A purchase sealed outside is as good when it comes by the front.
    let purchase = Purchase::of_echo(&host, "by the front").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    let direct = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&direct).result, b"by the front\n");
    let taken: u128 = chain.transfers().await.iter().map(|it| it.value).sum();
    assert_eq!(taken, PRICE);
}

#[tokio::test]
async fn the_policy_is_asked_about_it_by_its_path() {
    let policy = Policy::python(
        "def authorize(action):
    if action.kind == 'invoke-agent' and action.agent == 'front.protocol':
        return action.resource == '/front/'
    return True
",
    );
    let component = guest_file("chain");
    let host = Host::with(&format!(
        "{}[[protocols]]\nname = 'front'\ncomponent = {component:?}\npaths = ['/front/', '/closed']\n",
        policy.section()
    ));
    assert_eq!(
        arrived(sent(&host, "http://host.internal/ping").await).await,
        "pong"
    );
    let closed = through(&url(&host, "/closed"), "http://host.internal/ping");
    let denied = problem(reqwest::get(closed).await.unwrap()).await;
    assert_eq!(denied.0, 403);
}

#[tokio::test]
async fn the_component_log_names_it() {
    let host = fronted("[attestation]\nbackend = 'simulated'\nsimulated_seed = 'protocols'\n");
    let asked = url(&host, "/attestation?nonce=00112233445566778899aabbccddeeff");
    let request = Client::new()
        .get(asked)
        .header("accept", "application/cbor");
    let answer = request.send().await.unwrap().bytes().await.unwrap();
    let evidence = Evidence::decode(ContentFormat::Cbor, &answer).unwrap();
    let log = ComponentLog::decode(ContentFormat::Cbor, evidence.log.as_ref().unwrap()).unwrap();
    let names: Vec<&str> = log.entries().iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&"protocol/front"), "{names:?}");
}

#[tokio::test]
async fn one_that_is_full_of_itself_leaves_room_for_others() {
    // Each request holds a slot, and what it asks of the host another: none waits for what it holds itself.
    let host = fronted("[limits]\nexecutions = 4\n");
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let to = through(&url(&host, "/front/"), "http://host.internal/ping");
        asked.spawn(async move { reqwest::get(to).await.unwrap().status().as_u16() });
    }
    while let Some(status) = asked.join_next().await {
        let status = status.unwrap();
        assert!(matches!(status, 200 | 503), "{status}");
    }
    assert_eq!(
        arrived(sent(&host, "http://host.internal/ping").await).await,
        "pong"
    );
}

#[tokio::test]
async fn what_is_wrong_with_one_is_said_at_the_start() {
    for (section, words) in [
        (
            protocol("front", "chain", &["/agents/"]),
            "is the host's own",
        ),
        (
            protocol("front", "hello", &["/front"]),
            "wasi:http/incoming-handler",
        ),
        (protocol("Front", "chain", &["/front"]), "name"),
        (
            "[[protocols]]\nname = 'front'\npaths = ['/front']\n".to_owned(),
            "needs `component`",
        ),
    ] {
        let checked = checked(&section);
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(!checked.status.success(), "{said}");
        assert!(said.contains(words) && said.contains("protocols"), "{said}");
    }
}

#[tokio::test]
async fn a_url_is_passed_on_as_it_is() {
    let host = fronted("");
    host.deploy(&owner(), "http-echo", "echo", "").await;
    let to = Url::parse_with_params("http://echo.agent.internal/info", [("a", "b c")]).unwrap();
    let seen: Value = serde_json::from_str(&arrived(sent(&host, to.as_str()).await).await).unwrap();
    assert_eq!(seen["path_with_query"], "/info?a=b+c");
    let names = seen["headers"].to_string();
    assert!(!names.contains("x-forwarded-prefix"), "{names}");
}
