//! A host that speaks A2A, an agent that works for as long as the test says, and requests in both bindings.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use hyper::body::Frame;
use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::{a2a_front, guest_file};
use hypervisor_tests::{Host, eventually, within};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::agents::kit::{Destination, LOOPBACK, outgoing};

/// The agent whose work the test directs.
pub(crate) const AGENT: &str = "worker";
/// An agent that speaks A2A itself.
pub(crate) const EVERYTHING: &str = "everything";
/// A platform that gives a sealing key, so that tasks outlast the host.
pub(crate) const LASTING: &str =
    "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'a2a-faults'\n";
pub(crate) const NOT_FOUND: i64 = -32001;

/// A host that speaks A2A below `/a2a/`, and whose agents reach this machine; `more` is what else is configured.
pub(crate) fn speaking(more: &str) -> Host {
    Host::with(&configured(more, "background = '5m'"))
}

/// The configuration of such a host; `front` are more keys of the front's.
pub(crate) fn configured(more: &str, front: &str) -> String {
    let keeper = guest_file("keeper");
    format!(
        "{more}\n{LOOPBACK}\n[[protocols]]\nname = 'a2a'\npaths = ['/a2a/']\n{front}\n{}\n\
         [[protocols]]\nname = 'keeper'\ncomponent = {keeper:?}\npaths = ['/keep/']\n",
        a2a_front()
    )
}

/// Waits until the disk has all rows that were written before.
pub(crate) async fn flushed(host: &Host) {
    let url = format!("{}/keep/rows?bucket=a", host.url());
    let answer = Client::new().post(url).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// Where the agent [`AGENT`] gets its work done: a server of the test's own, which outlasts the host.
pub(crate) struct Work {
    there: Destination,
    steps: watch::Sender<usize>,
}

impl Work {
    /// Answers a request with one line of text for each step that the test allows, and is done after `lines` of them.
    pub(crate) async fn of(lines: usize) -> Self {
        let steps = watch::Sender::new(0);
        let allowed = steps.clone();
        let routes = Router::new().route(
            "/",
            any(move || {
                let allowed = allowed.subscribe();
                async move { lines_of(lines, allowed) }
            }),
        );
        Self {
            there: Destination::with(routes).await,
            steps,
        }
    }

    /// Deploys [`AGENT`]; `more` is the rest of its manifest.
    pub(crate) async fn deploy(&self, host: &Host, more: &str) {
        let origin = self.there.origin();
        let schema = "{\"type\": \"object\"}";
        let manifest = format!(
            "{}\n{more}\n[tool]\npath = '/?url={origin}/'\ninput_schema = '{schema}'\n",
            outgoing(&[origin])
        );
        host.deploy(&owner(), "chain", AGENT, &manifest).await;
    }

    /// Allows so many lines in all.
    pub(crate) fn allow(&self, lines: usize) {
        self.steps.send_replace(lines);
    }

    /// How often the agent was at work.
    pub(crate) fn runs(&self) -> usize {
        self.there.seen().len()
    }

    /// Waits until it was so often.
    pub(crate) async fn began(&self, runs: usize) {
        eventually("the agent works", async || {
            (self.runs() >= runs).then_some(())
        })
        .await;
    }
}

fn lines_of(lines: usize, mut allowed: watch::Receiver<usize>) -> Response {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for line in 1..=lines {
            if allowed.wait_for(|allowed| *allowed >= line).await.is_err() {
                return;
            }
            let text = Bytes::from(format!("line {line}\n"));
            if sender.send(text).await.is_err() {
                return;
            }
        }
    });
    Response::builder()
        .header("content-type", "text/plain; charset=utf-8")
        .body(Body::new(Pieces(receiver)))
        .unwrap()
}

/// A body that comes piece by piece.
pub(crate) struct Pieces(pub(crate) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// A message that [`AGENT`] takes as work.
pub(crate) fn order(id: &str) -> Value {
    json!({"messageId": id, "role": "ROLE_USER", "parts": [{"data": {}}]})
}

/// A message that says `text`.
pub(crate) fn says(id: &str, text: &str) -> Value {
    json!({"messageId": id, "role": "ROLE_USER", "parts": [{"text": text}]})
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    http: Client,
    headers: Vec<(&'static str, String)>,
    agent: Arc<str>,
}

impl Asker {
    /// Nobody in particular, at an agent.
    pub(crate) fn anonymous(agent: &str) -> Self {
        Self {
            http: Client::new(),
            headers: Vec::new(),
            agent: agent.into(),
        }
    }

    /// Who has this token.
    pub(crate) fn bearer(agent: &str, token: &str) -> Self {
        Self::anonymous(agent).with("authorization", &format!("Bearer {token}"))
    }

    /// The same with a further header field.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same from another address of this machine.
    pub(crate) fn from(mut self, address: IpAddr) -> Self {
        self.http = Client::builder().local_address(address).build().unwrap();
        self
    }

    /// A request of this one's.
    pub(crate) fn request(&self, host: &Host, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/a2a/{}/{path}", host.url(), self.agent);
        let request = self.http.request(method, url);
        let headers = self.headers.iter();
        headers.fold(request.header("a2a-version", "1.0"), |request, it| {
            request.header(it.0, &it.1)
        })
    }

    /// A request by JSON-RPC.
    pub(crate) fn rpc(&self, host: &Host, method: &str, params: &Value) -> RequestBuilder {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.request(host, Method::POST, "")
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// The whole answer to one.
    pub(crate) async fn asks(&self, host: &Host, method: &str, params: &Value) -> Value {
        let answer = self.rpc(host, method, params).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// The task that comes of a message that is waited for.
    pub(crate) async fn sends(&self, host: &Host, message: &Value) -> Value {
        task_in(
            &self
                .asks(host, "SendMessage", &json!({"message": message}))
                .await,
        )
    }

    /// The task as it is right after a message.
    pub(crate) async fn begins(&self, host: &Host, message: &Value) -> Value {
        let params = json!({"message": message, "configuration": {"returnImmediately": true}});
        task_in(&self.asks(host, "SendMessage", &params).await)
    }

    /// The events of a stream.
    pub(crate) async fn follows(&self, host: &Host, method: &str, params: &Value) -> Events {
        let answer = self.rpc(host, method, params).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "text/event-stream");
        Events {
            answer,
            pending: VecDeque::new(),
        }
    }

    /// A task as it stands.
    pub(crate) async fn task(&self, host: &Host, id: &str) -> Value {
        let answer = self.asks(host, "GetTask", &json!({"id": id})).await;
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    /// This one's tasks, fifty at the most, without artifacts.
    pub(crate) async fn tasks(&self, host: &Host) -> Vec<Value> {
        let answer = self.asks(host, "ListTasks", &json!({})).await;
        let tasks = answer["result"]["tasks"].as_array();
        tasks.unwrap_or_else(|| panic!("{answer}")).clone()
    }
}

/// The task that is the result of an answer.
pub(crate) fn task_in(answer: &Value) -> Value {
    let task = &answer["result"]["task"];
    assert!(task.is_object(), "{answer}");
    task.clone()
}

pub(crate) fn id(task: &Value) -> &str {
    task["id"].as_str().unwrap()
}

pub(crate) fn state(task: &Value) -> &str {
    let state = task["status"]["state"].as_str();
    let state = state.unwrap_or_else(|| panic!("no state: {task}"));
    state.trim_start_matches("TASK_STATE_")
}

/// What the last status says.
pub(crate) fn words(task: &Value) -> &str {
    let text = task["status"]["message"]["parts"][0]["text"].as_str();
    text.unwrap_or_default()
}

/// All the text of all artifacts.
pub(crate) fn text(task: &Value) -> String {
    let artifacts = task["artifacts"].as_array().into_iter().flatten();
    let parts = artifacts.flat_map(|it| it["parts"].as_array().unwrap());
    parts.filter_map(|part| part["text"].as_str()).collect()
}

/// The events of a stream by JSON-RPC, as they come.
pub(crate) struct Events {
    answer: reqwest::Response,
    pending: VecDeque<u8>,
}

impl Events {
    /// The next one; none where the stream ended, or broke off.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            self.pending.make_contiguous();
            let (bytes, _) = self.pending.as_slices();
            if let Some(end) = bytes.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                let data = event.strip_prefix(b"data: ").unwrap();
                let event: Value = serde_json::from_slice(data).unwrap();
                return Some(event["result"].clone());
            }
            let piece = within("an event", self.answer.chunk()).await;
            self.pending.extend(piece.ok()??);
        }
    }

    /// Those up to the first that is wanted, and that one.
    pub(crate) async fn until(&mut self, mut is_wanted: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| panic!("the stream ended after {all:?}"));
            let is_last = is_wanted(&event);
            all.push(event);
            if is_last {
                return all;
            }
        }
    }

    /// All that come until the stream ends.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// Whether an event is some text of an artifact.
pub(crate) fn is_artifact(event: &Value) -> bool {
    event.get("artifactUpdate").is_some()
}
