//! What several of these tests need: somewhere to send requests to, an agent that sends them, and policies.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{Redirect, Response};
use axum::routing::any;
use hypervisor_tests::Host;
use hypervisor_tests::agents::problem;
use hypervisor_tests::programs::{component_file, python_plugin};
use reqwest::{RequestBuilder, Url};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// What lets agents reach a [`Destination`].
pub(crate) const LOOPBACK: &str = "[agents]\nprivate_networks = ['127.0.0.0/8']\n";

/// A server on a loopback port; it ends with the test's runtime.
pub(crate) struct Destination {
    origin: String,
    seen: Seen,
}

/// The head of each request that came.
type Seen = Arc<Mutex<Vec<Parts>>>;

impl Destination {
    /// Answers `/` with `arrived`, `/echo` with what came, `/moved` with a redirection to `/`, `/never` not at all.
    pub(crate) async fn start() -> Self {
        let routes = Router::new()
            .route("/", any(async || "arrived"))
            .route("/echo", any(async |request: Request| request.into_body()))
            .route("/moved", any(async || Redirect::to("/")))
            .route("/never", any(std::future::pending::<String>));
        Self::with(routes).await
    }

    /// A server with these routes.
    pub(crate) async fn with(routes: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let noting = axum::middleware::from_fn_with_state(Arc::clone(&seen), note);
        tokio::spawn(axum::serve(listener, routes.layer(noting)).into_future());
        Self { origin, seen }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The heads of the requests that came.
    pub(crate) fn seen(&self) -> Vec<Parts> {
        self.seen.lock().unwrap().clone()
    }
}

async fn note(State(seen): State<Seen>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    seen.lock().unwrap().push(head.clone());
    next.run(Request::from_parts(head, body)).await
}

/// The line of a manifest that lists these origins.
pub(crate) fn outgoing(origins: &[&str]) -> String {
    format!("outgoing = {origins:?}")
}

/// The URL that has an agent of the guest `chain` send a request to `url`.
pub(crate) fn through(agent: &str, url: &str) -> Url {
    Url::parse_with_params(agent, [("url", url)]).unwrap()
}

/// Has the agent `chain` GET a URL.
pub(crate) async fn sent(host: &Host, url: &str) -> reqwest::Response {
    reqwest::get(through(&host.agent("chain", "/"), url))
        .await
        .unwrap()
}

/// The text of what came back.
pub(crate) async fn arrived(response: reqwest::Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    text
}

/// The name of the error that the agent `chain` got instead of an answer.
pub(crate) async fn error(response: reqwest::Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 502, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let name = answer["error"].as_str();
    name.unwrap_or_else(|| panic!("no error of the agent's: {text}"))
        .to_owned()
}

/// Nobody takes the answer to this for a whole one: it is a problem where its head was not out yet, else the client sees that
/// it breaks off.
pub(crate) async fn fails(request: RequestBuilder) {
    let Ok(answer) = request.send().await else {
        return;
    };
    match answer.status().as_u16() {
        200 => drop(answer.bytes().await.unwrap_err()),
        _ => assert_eq!(problem(answer).await.0, 502),
    }
}

/// Requests that agents sent, by what became of them.
pub(crate) async fn counted(host: &Host, outcome: &str) -> u64 {
    let name = format!("hypervisor_agent_outgoing_requests_total{{outcome=\"{outcome}\"}}");
    host.counter(&name).await
}

/// A policy that a host is configured with: a component, and a file of rules.
pub(crate) struct Policy {
    folder: TempDir,
    component: String,
}

impl Policy {
    /// Rules in Python.
    pub(crate) fn python(rules: &str) -> Self {
        Self::new(python_plugin(), rules)
    }

    /// A list of the programs and agents that are allowed.
    pub(crate) fn rust(rules: &str) -> Self {
        let component = component_file("policy-rust");
        Self::new(format!("component = {component:?}\n"), rules)
    }

    fn new(component: String, rules: &str) -> Self {
        let policy = Self {
            folder: TempDir::new().unwrap(),
            component,
        };
        policy.write(rules);
        policy
    }

    /// Other rules, for whoever reads the file next.
    pub(crate) fn write(&self, rules: &str) {
        std::fs::write(self.file(), rules).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("rules")
    }

    /// The section of the configuration.
    pub(crate) fn section(&self) -> String {
        format!("[policy]\nrules = {:?}\n{}\n", self.file(), self.component)
    }
}
