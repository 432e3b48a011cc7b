//! The kinds of calls, and whoever makes one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hypervisor_bench::error::{Context, Result};
use hypervisor_client::environments::ExecuteInput;
use hypervisor_client::{Execution, Program, Session};
use hypervisor_tests::agents::reference;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::market::{FREE, Market, SOLD};
use crate::tally::{Failure, Tally, ended, failure};

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// A program that is sent whole, in a session of its own.
    Whole,
    /// A program by its digest, in a session that goes on.
    Digest,
    /// A script in Python.
    Python,
    /// A script in JavaScript.
    #[value(name = "javascript")]
    JavaScript,
    /// A handler of an environment.
    Environment,
    /// A plain call of an agent.
    Agent,
    /// A message by A2A that is waited for.
    A2a,
    /// A program that is paid for.
    PaidRun,
    /// A sealed call of an agent that has a price.
    PaidAgent,
}

/// Each kind, and how many of 200 workers it has. Payments are few: the facilitator and the chain are on this machine too.
const SHARES: [(Kind, usize); 9] = [
    (Kind::Whole, 20),
    (Kind::Digest, 44),
    (Kind::Python, 24),
    (Kind::JavaScript, 30),
    (Kind::Environment, 24),
    (Kind::Agent, 30),
    (Kind::A2a, 16),
    (Kind::PaidRun, 6),
    (Kind::PaidAgent, 6),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "program, whole, a session each",
            Self::Digest => "program, by digest",
            Self::Python => "script, Python",
            Self::JavaScript => "script, JavaScript",
            Self::Environment => "call of an environment",
            Self::Agent => "call of an agent",
            Self::A2a => "message by A2A",
            Self::PaidRun => "program, paid",
            Self::PaidAgent => "call of an agent, paid, sealed",
        }
    }

    pub(crate) fn is_paid(self) -> bool {
        matches!(self, Self::PaidRun | Self::PaidAgent)
    }

    /// The kinds of so many workers, in the shares of 200, each kind at least once; or all of these few kinds, by turns.
    pub(crate) fn of(workers: usize, only: &[Self]) -> Vec<Self> {
        if !only.is_empty() {
            return only.iter().copied().cycle().take(workers).collect();
        }
        let of = |(kind, share): (Self, usize)| {
            std::iter::repeat_n(kind, (share * workers / 200).max(1))
        };
        SHARES.into_iter().flat_map(of).collect()
    }
}

/// Has workers of these kinds call until it is over, each at the most once in `pace`.
pub(crate) async fn work(
    market: &Arc<Market>,
    kinds: &[Kind],
    pace: Duration,
    tally: &Tally,
    over: &watch::Receiver<bool>,
) -> Result<JoinSet<()>> {
    let mut workers = JoinSet::new();
    for (number, kind) in kinds.iter().enumerate() {
        let mut worker = Worker {
            kind: *kind,
            number,
            turn: 0,
            market: Arc::clone(market),
            session: market.client.open_session().await.context("a session")?,
            http: reqwest::Client::new(),
        };
        let (tally, mut over) = (tally.clone(), over.clone());
        workers.spawn(async move {
            while !*over.borrow() {
                let started = Instant::now();
                let came = worker.call().await;
                let took = started.elapsed();
                tally.add(worker.kind, took, came);
                tokio::select! {
                    () = tokio::time::sleep(pace.saturating_sub(took)) => {}
                    _ = over.changed() => {}
                }
            }
        });
    }
    Ok(workers)
}

/// Waits for the calls that are under way.
pub(crate) async fn finished(mut workers: JoinSet<()>) -> Result<()> {
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker")?;
    }
    Ok(())
}

struct Worker {
    kind: Kind,
    number: usize,
    turn: usize,
    market: Arc<Market>,
    session: Session,
    http: reqwest::Client,
}

impl Worker {
    /// One call, whose answer has to be the one to it and to no other.
    async fn call(&mut self) -> Result<(), Failure> {
        self.turn += 1;
        let word = format!("{}-{}", self.number, self.turn);
        let market = Arc::clone(&self.market);
        let line = format!("{word}\n");
        match self.kind {
            Kind::Whole => {
                let session = market.client.open_session().await;
                let session = session.map_err(|error| failure(&error))?;
                let program = Program::new(&market.echo).argument(word);
                run(session.run_wasm(program).await, &line)
            }
            Kind::Digest => {
                let program = Program::new(&market.echo).argument(word);
                run(self.session.run_wasm(program).await, &line)
            }
            Kind::Python => {
                let script = format!("print({word:?})");
                let program = Program::new(script.as_bytes());
                run(self.session.run_python(program).await, &line)
            }
            Kind::JavaScript => {
                let script = format!("console.log({word:?})");
                let program = Program::new(script.as_bytes());
                run(self.session.run_javascript(program).await, &line)
            }
            Kind::Environment => self.environment(word).await,
            Kind::Agent => {
                let request = self.http.get(market.host.agent(FREE, &format!("/{word}")));
                let text = text(request).await?;
                same(&text, &format!("hello from GET /{word}\n"))
            }
            Kind::A2a => self.message(&word).await,
            Kind::PaidRun => {
                let program = Program::new(&market.echo).argument(word);
                let paid = self.session.run_wasm_paid(program, self.payer()?).await;
                run(paid.map(|paid| paid.execution), &line)
            }
            Kind::PaidAgent => self.paid_agent(&word).await,
        }
    }

    async fn environment(&self, data: String) -> Result<(), Failure> {
        let environments = &self.market.environments;
        let id = environments.get(self.number % environments.len().max(1));
        let id = id.ok_or("no environment")?;
        let expected = format!("\"{}\"", data.to_uppercase());
        let input = ExecuteInput {
            data: format!("\"{data}\""),
            ..ExecuteInput::default()
        };
        let done = self.session.execute(id, &input, &self.market.owner).await;
        let done = done.map_err(|error| failure(&error))?;
        ended(&done.execution.report.exit)?;
        let value = done.answer.value.unwrap_or_default();
        same(&value, &expected)
    }

    async fn message(&self, word: &str) -> Result<(), Failure> {
        let message = json!({"messageId": word, "role": "ROLE_USER", "parts": [{"text": word}]});
        let params = json!({"message": message});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
        let request = self
            .http
            .post(format!("{}/a2a/{FREE}/", self.market.host.url()))
            .header("content-type", "application/json")
            .header("a2a-version", "1.0")
            .body(body.to_string());
        let answer: Value = serde_json::from_str(&text(request).await?)
            .map_err(|error| format!("no JSON: {error}"))?;
        let state = answer.pointer("/result/task/status/state");
        match state.and_then(Value::as_str) {
            Some("TASK_STATE_COMPLETED") => Ok(()),
            Some(other) => Err(other.to_owned()),
            None => Err(format!("no task: {:?}", answer.pointer("/error/code"))),
        }
    }

    async fn paid_agent(&self, word: &str) -> Result<(), Failure> {
        let request = http::Request::get(format!("/{word}")).body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        let agent = reference(SOLD);
        let called = self
            .session
            .call_service_paid(&agent, request, None, self.payer()?);
        let paid = called.await.map_err(|error| failure(&error))?;
        let response = paid
            .answer
            .into_response()
            .map_err(|error| failure(&error))?;
        let text = String::from_utf8_lossy(response.body()).into_owned();
        same(&text, &format!("hello from GET /{word}\n"))
    }

    fn payer(&self) -> Result<&hypervisor_client::payment::Payer, Failure> {
        let payers = &self.market.payers;
        let payer = payers.get(self.number % payers.len().max(1));
        payer.ok_or_else(|| "no payer".to_owned())
    }
}

fn run(came: Result<Execution, hypervisor_client::Error>, expected: &str) -> Result<(), Failure> {
    let execution = came.map_err(|error| failure(&error))?;
    ended(&execution.report.exit)?;
    same(&String::from_utf8_lossy(&execution.result), expected)
}

fn same(came: &str, expected: &str) -> Result<(), Failure> {
    match came == expected {
        true => Ok(()),
        false => Err("another answer".to_owned()),
    }
}

/// The body of an answer that is good.
async fn text(request: reqwest::RequestBuilder) -> Result<String, Failure> {
    let answer = request.send().await;
    let answer = answer.map_err(|_| "the connection broke".to_owned())?;
    let status = answer.status();
    let text = answer.text().await;
    let text = text.map_err(|_| "the answer broke off".to_owned())?;
    match status.is_success() {
        true => Ok(text),
        false => {
            let problem: Value = serde_json::from_str(&text).unwrap_or_default();
            let kind = problem
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let kind = kind.rsplit(':').next().unwrap_or_default();
            Err(format!("{} {kind}", status.as_u16()))
        }
    }
}
