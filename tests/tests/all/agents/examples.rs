//! The agents that come with the project, as their pages say that they work.

use std::path::Path;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::guest;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::agents::kit::{Destination, LOOPBACK};

/// A feed of `tests/vectors`.
fn feed(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/arxiv");
    std::fs::read(folder.join(name)).unwrap()
}

/// What stands in for arXiv: it answers every search with this.
async fn answering(status: u16, body: Vec<u8>) -> Destination {
    let status = StatusCode::from_u16(status).unwrap();
    let routes = Router::new().route("/api/query", get(async move || (status, body)));
    Destination::with(routes).await
}

/// A host with the agent `arxiv`, which asks there.
async fn asking(base: &str) -> Host {
    let host = Host::with(LOOPBACK);
    let manifest = format!("outgoing = ['{base}']\n[environment]\nARXIV_BASE = '{base}'");
    host.deploy(&owner(), "arxiv", "arxiv", &manifest).await;
    host
}

async fn json_of(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{status} {e}: {text}"));
    (status, json)
}

async fn ask(host: &Host, question: &Value) -> (u16, Value) {
    let request = Client::new().post(host.agent("arxiv", "/"));
    json_of(request.body(question.to_string()).send().await.unwrap()).await
}

#[tokio::test]
async fn arxiv_finds_papers_that_a_question_is_about() {
    let arxiv = answering(200, feed("three.xml")).await;
    let host = asking(arxiv.origin()).await;
    let question = "How does quantum error correction work?";
    let (status, found) = ask(&host, &json!({"question": question, "limit": 2})).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(
        (&found["question"], &found["total"]),
        (&question.into(), &4711.into())
    );
    let papers = found["papers"].as_array().unwrap();
    assert_eq!(papers.len(), 2);
    for paper in papers {
        for field in ["id", "title", "summary", "published", "link"] {
            assert!(!paper[field].as_str().unwrap().is_empty(), "{paper}");
        }
    }
    let (status, _) = json_of(host.get("arxiv", "/?q=quantum+error+correction").await).await;
    assert_eq!(status, 200);
    let searches: Vec<_> = arxiv
        .seen()
        .iter()
        .map(|head| head.uri.to_string())
        .collect();
    let search = "/api/query?search_query=all%3Aquantum+AND+all%3Aerror+AND+all%3Acorrection";
    assert_eq!(searches[1], format!("{search}&max_results=5"));
    assert!(searches[0].contains("all%3Aquantum") && searches[0].ends_with("max_results=2"));
    assert_eq!(arxiv.seen()[0].headers["accept"], "application/atom+xml");
}

#[tokio::test]
async fn arxiv_finds_nothing_where_there_is_nothing() {
    let arxiv = answering(200, feed("none.xml")).await;
    let host = asking(arxiv.origin()).await;
    let (status, found) = ask(&host, &json!({"question": "nothing of the kind"})).await;
    assert_eq!(
        (status, &found["total"], &found["papers"]),
        (200, &0.into(), &json!([]))
    );
}

#[tokio::test]
async fn arxiv_says_what_is_wrong_with_a_question() {
    let host = asking("http://127.0.0.1:9").await;
    for question in [
        json!({"question": ""}),
        json!({"question": "what is it"}),
        json!({"question": "x".repeat(1001)}),
        json!({"question": "quantum", "limit": 0}),
        json!({"question": "quantum", "limit": 51}),
        json!({"query": "quantum"}),
        json!("quantum"),
    ] {
        let (status, answer) = ask(&host, &question).await;
        assert_eq!(status, 400, "{question}");
        assert!(!answer["error"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn arxiv_says_how_the_search_failed() {
    for (status, body, words) in [
        (200, feed("malformed.xml"), "cannot be read"),
        (200, feed("error.xml"), "it says"),
        (200, b"\xff".to_vec(), "UTF-8"),
        (503, Vec::new(), "status 503"),
        (302, Vec::new(), "status 302"),
    ] {
        let arxiv = answering(status, body).await;
        let host = asking(arxiv.origin()).await;
        let (status, answer) = ask(&host, &json!({"question": "quantum"})).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(status, 502, "{error}");
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn arxiv_says_that_it_may_not_ask() {
    let arxiv = answering(200, feed("three.xml")).await;
    let host = Host::start();
    let base = arxiv.origin();
    let manifest = format!("outgoing = ['{base}']\n[environment]\nARXIV_BASE = '{base}'");
    host.deploy(&owner(), "arxiv", "arxiv", &manifest).await;
    let (status, answer) = ask(&host, &json!({"question": "quantum"})).await;
    let error = answer["error"].as_str().unwrap();
    assert_eq!(status, 502);
    assert!(error.contains("destination-ip-prohibited"), "{error}");
}

#[tokio::test]
async fn the_guests_are_deployed_with_the_manifests_beside_them() {
    let host = Host::start();
    let owner = owner();
    for name in ["arxiv", "bad-agent", "chain", "http-echo", "http-hello"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let manifest = root.join("guests").join(name).join("agent.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let deployed = host.try_deploy(&owner, &guest(name), &manifest).await;
        assert_eq!(deployed.unwrap().info.name, name);
    }
}

/// The component and the manifest of a template, under the name `greeter`.
fn template(language: &str) -> (Vec<u8>, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(format!("target/templates/template-{language}.wasm"));
    let component = std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run `make templates`", path.display()));
    let manifest = root.join("templates").join(language).join("agent.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    (component, manifest.replace("{{name}}", "greeter"))
}

/// Deploys a template as it is, and calls it as its page says.
async fn greets(language: &str) {
    let (component, manifest) = template(language);
    // Where tests compile side by side, an interpreter takes its time.
    let host = Host::with("[limits]\ncompile_agent = '10m'\nwall = '2m'\ncpu = '2m'");
    host.try_deploy(&owner(), &component, &manifest)
        .await
        .unwrap();
    let request = Client::new().post(host.agent("greeter", "/"));
    let answer = request.body(r#"{"name": "Ada"}"#).send().await.unwrap();
    let greeting = json!({"greeting": "hello, Ada"});
    assert_eq!(json_of(answer).await, (200, greeting));
}

#[tokio::test]
async fn the_template_in_rust_greets() {
    greets("rust").await;
}

#[tokio::test]
async fn the_template_in_javascript_greets() {
    greets("js").await;
}
