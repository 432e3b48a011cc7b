//! Agents of the operator's registry: deployed by name, by anybody, without a session.

use std::fs;
use std::path::PathBuf;

use hypervisor_client::Error;
use hypervisor_client::protocol::{AgentInfo, HexArray, Problem};
use hypervisor_tests::agents::{manifest, owner, problem, reference};
use hypervisor_tests::programs::guest;
use hypervisor_tests::raw::post;
use hypervisor_tests::{Answer, Host};
use sha2::{Digest, Sha256};

use crate::agents::kit::Policy;

async fn deploy(host: &Host, name: &str) -> (String, AgentInfo) {
    let answer = host.client().deploy_registered(name).await.unwrap();
    (answer.message, answer.agent)
}

/// Why the host does not deploy an agent, with the status.
async fn refused(host: &Host, name: &str) -> Problem {
    match host.client().deploy_registered(name).await.unwrap_err() {
        Error::Refused(problem) => *problem,
        other => panic!("{other}"),
    }
}

/// A request in JSON, written by hand.
async fn posted(host: &Host, body: &str) -> Answer {
    let (http, url) = (
        reqwest::Client::new(),
        format!("{}/agent/deploy", host.url()),
    );
    post(&http, &url, "application/json", body.into()).await
}

/// The folder of the registry.
fn registry(host: &Host) -> PathBuf {
    host.state().with_file_name("registry")
}

async fn text(host: &Host, name: &str) -> String {
    let answer = host.get(name, "/").await;
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

#[tokio::test]
async fn an_agent_is_deployed_by_its_name_without_a_session() {
    let host = Host::start();
    let component = guest("http-hello");
    host.register(
        "weather",
        &component,
        &manifest("weather", "skills = ['rain']"),
    );
    let answer = posted(&host, r#"{"agent": "weather"}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["message"], "weather is deployed at /agents/weather/");
    assert_eq!(answer["agent"]["address"], "weather.operator");

    let info = host.client().agent(&reference("weather")).await.unwrap();
    assert_eq!(info.digest, HexArray(Sha256::digest(&component).into()));
    assert_eq!(info.skills, ["rain"]);
    assert!(info.persistent && info.note.is_none());
    for name in ["weather", "weather.operator"] {
        assert!(text(&host, name).await.starts_with("hello from GET"));
    }
}

#[tokio::test]
async fn deploying_again_changes_nothing_and_says_so() {
    let host = Host::start();
    host.register("weather", &guest("http-hello"), &manifest("weather", ""));
    let (_, first) = deploy(&host, "weather").await;
    let (message, again) = deploy(&host, "weather").await;
    assert!(message.contains("is deployed already"), "{message}");
    assert_eq!(first, again);
}

#[tokio::test]
async fn what_changed_in_the_registry_is_deployed_anew() {
    let host = Host::start();
    host.register("weather", &guest("http-hello"), &manifest("weather", ""));
    let (_, first) = deploy(&host, "weather").await;

    host.register("weather", &guest("echo"), &manifest("weather", ""));
    assert!(text(&host, "weather").await.starts_with("hello"));
    let (message, second) = deploy(&host, "weather").await;
    assert!(message.contains("is deployed at"), "{message}");
    assert_ne!(first.digest, second.digest);
    let answer = host.get("weather", "/?arg=echoed").await;
    assert_eq!(answer.text().await.unwrap(), "echoed\n");

    let more = manifest("weather", "skills = ['new']");
    host.register("weather", &guest("echo"), &more);
    let (message, third) = deploy(&host, "weather").await;
    assert!(message.contains("is deployed at"), "{message}");
    assert_eq!(third.skills, ["new"]);
    assert_eq!(host.client().agents().await.unwrap().agents, [third]);
}

#[tokio::test]
async fn an_agent_that_the_registry_gets_later_is_found() {
    let host = Host::start();
    assert_eq!(refused(&host, "weather").await.status, 404);
    host.register("weather", &guest("hello"), &manifest("weather", ""));
    deploy(&host, "weather").await;
}

#[tokio::test]
async fn what_is_no_name_in_the_registry_is_not_found() {
    let host = Host::start();
    host.register("weather", &guest("hello"), &manifest("weather", ""));
    let secret = registry(&host).with_file_name("outside");
    fs::create_dir(&secret).unwrap();
    for file in ["agent.wasm", "agent.toml"] {
        fs::copy(
            registry(&host).join("weather").join(file),
            secret.join(file),
        )
        .unwrap();
    }
    let long = "a".repeat(64);
    for name in [
        "other",
        "",
        ".",
        "..",
        "../outside",
        "weather/../../outside",
        "weather/",
        "./weather",
        "/weather",
        "weather/agent.toml",
        "weather\\",
        "weather%2f",
        "%2e%2e%2foutside",
        "Weather",
        "weather.operator",
        "weather\u{0}",
        "ｗeather",
        &long,
    ] {
        let problem = refused(&host, name).await;
        assert_eq!(
            (problem.status, problem.kind.as_str()),
            (404, "urn:hypervisor:problem:agent-not-found"),
            "{name:?}"
        );
    }
    assert!(host.client().agents().await.unwrap().agents.is_empty());
}

#[tokio::test]
async fn an_agent_that_does_not_fit_is_refused_with_the_reason() {
    let host = Host::start();
    let hello = guest("hello");
    let cases: [(&str, &[u8], String, &str); 7] = [
        (
            "unknown",
            &hello,
            manifest("unknown", "descripton = 'x'"),
            "`descripton`",
        ),
        ("renamed", &hello, manifest("other", ""), "other"),
        ("text", b"text", manifest("text", ""), "not WebAssembly"),
        (
            "world",
            &hello,
            manifest("world", "world = 'service'"),
            "world",
        ),
        (
            "limits",
            &hello,
            manifest("limits", "[limits]\nwall = '1h'"),
            "`limits.wall`",
        ),
        (
            "plugin",
            &guest("ask-policy"),
            manifest("plugin", ""),
            "[policy]",
        ),
        (
            "price",
            &hello,
            manifest("price", "price = '1 USDC'"),
            "`price`",
        ),
    ];
    for (name, component, manifest, _) in &cases {
        host.register(name, component, manifest);
    }
    host.register("good", &hello, &manifest("good", ""));
    for (name, _, _, word) in &cases {
        let problem = refused(&host, name).await;
        assert_eq!(
            (problem.status, problem.kind.as_str()),
            (422, "urn:hypervisor:problem:agent-refused"),
            "{name}"
        );
        assert!(problem.detail.contains(word), "{name}: {}", problem.detail);
    }
    deploy(&host, "good").await;
}

#[tokio::test]
async fn a_refusal_does_not_tell_where_the_registry_is() {
    let host = Host::start();
    let hello = guest("hello");
    host.register("broken", &hello, "name = ");
    host.register("renamed", &hello, &manifest("other", ""));
    host.register("half", &hello, &manifest("half", ""));
    fs::remove_file(registry(&host).join("half/agent.wasm")).unwrap();
    host.register("linked", &hello, &manifest("linked", ""));
    let link = registry(&host).join("linked/agent.wasm");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    for name in ["broken", "renamed", "half", "linked"] {
        let problem = refused(&host, name).await;
        assert_eq!(problem.status, 422, "{name}");
        let folder = registry(&host);
        assert!(
            !problem.detail.contains(&*folder.to_string_lossy()) && !problem.detail.is_empty(),
            "{}",
            problem.detail
        );
    }
}

#[tokio::test]
async fn a_replacement_that_does_not_fit_leaves_the_agent_as_it_was() {
    let host = Host::start();
    host.register("weather", &guest("http-hello"), &manifest("weather", ""));
    let (_, info) = deploy(&host, "weather").await;
    host.register("weather", b"text", &manifest("weather", ""));
    assert_eq!(refused(&host, "weather").await.status, 422);
    let found = host.client().agent(&reference("weather")).await.unwrap();
    assert_eq!(found, info);
    assert!(text(&host, "weather").await.starts_with("hello"));
}

#[tokio::test]
async fn the_operator_removes_an_agent_through_the_admin_port() {
    let host = Host::start();
    let client = host.operator();
    let url = |name: &str| format!("{}/agents/{name}", host.admin());
    let status = async |name: &str| {
        let answer = client.delete(url(name)).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(status("weather").await, 404);
    host.register("weather", &guest("http-hello"), &manifest("weather", ""));
    let (_, info) = deploy(&host, "weather").await;
    let answer = client.delete(url("weather")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let removed: AgentInfo = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(removed, info);
    assert_eq!(problem(host.get("weather", "/").await).await.0, 404);
    assert_eq!(status("weather").await, 404);

    // A client's agent is the operator's to take down, too; the public port removes nothing of the operator's.
    host.deploy(&owner(), "hello", "weather", "").await;
    assert_eq!(status("weather").await, 200);
    deploy(&host, "weather").await;
    let public = format!("{}/agents/weather", host.url());
    let answer = client.delete(public).send().await.unwrap();
    assert!(answer.status().is_client_error());
    assert!(text(&host, "weather").await.starts_with("hello from"));
}

#[tokio::test]
async fn a_removed_agent_stays_removed_over_a_restart() {
    for backend in [
        "backend = 'none'",
        "backend = 'simulated'\nsimulated_seed = 's'",
    ] {
        let mut host = Host::with(&format!("[attestation]\n{backend}"));
        host.register("weather", &guest("hello"), &manifest("weather", ""));
        deploy(&host, "weather").await;
        let url = format!("{}/agents/weather", host.admin());
        host.operator().delete(url).send().await.unwrap();
        host.kill_and_restart();
        assert!(host.client().agents().await.unwrap().agents.is_empty());
    }
}

#[tokio::test]
async fn an_agent_that_is_gone_from_the_registry_does_not_stop_the_start() {
    let mut host = Host::with("[attestation]\nbackend = 'none'");
    for name in ["gone", "there"] {
        host.register(name, &guest("http-hello"), &manifest(name, ""));
        deploy(&host, name).await;
    }
    fs::remove_dir_all(registry(&host).join("gone")).unwrap();
    host.kill_and_restart();
    assert_eq!(problem(host.get("gone", "/").await).await.0, 404);
    assert!(text(&host, "there").await.starts_with("hello from"));
}

#[tokio::test]
async fn the_policy_is_asked_and_its_reason_is_given() {
    let digest = const_hex::encode(Sha256::digest(guest("hello")));
    let policy = Policy::rust(&digest);
    let host = Host::with(&policy.section());
    host.register("listed", &guest("hello"), &manifest("listed", ""));
    host.register("other", &guest("echo"), &manifest("other", ""));
    deploy(&host, "listed").await;
    let problem = refused(&host, "other").await;
    assert_eq!(
        (problem.status, problem.kind.as_str()),
        (403, "urn:hypervisor:problem:agent-denied")
    );
    assert!(
        problem.detail.contains("is not on the list"),
        "{}",
        problem.detail
    );
}

#[tokio::test]
async fn a_request_that_is_neither_a_name_nor_sealed_is_malformed() {
    let host = Host::start();
    for body in [
        "",
        "{}",
        "[]",
        r#"{"agent": 1}"#,
        r#"{"agent": "a", "more": 1}"#,
    ] {
        let answer = posted(&host, body).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "malformed-request"),
            "{body}"
        );
    }
}
