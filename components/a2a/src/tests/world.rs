//! A host of a test's own, with agents that answer as they are told, and requests to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use front::error::WebError;
use front::fields::Fields;
use front::http::{Body, Incoming, Outgoing};
use front::ports::{Answer, Asked, HOST, Ports};
use front::x402::HEADERS;
use serde_json::{Value, json};

use super::keys::Keys;
use super::store::Rows;
use crate::error::{StoreError, Unproved};
use crate::ports::{Call, Client, Clock, Proofs, Step, Store, World};
use crate::serve::serve;
use crate::settings::Settings;

/// What a call does next.
pub enum Act {
    /// It answers something.
    Give(Step),
    /// So many milliseconds pass.
    Wait(u64),
    /// Something else happens meanwhile.
    Do(Box<dyn FnOnce() + Send>),
    /// The agent answers nothing more until it is given up.
    Hang,
}

/// What a call comes to.
pub type Script = Result<Vec<Act>, WebError>;

type Answering = Box<dyn Fn(&Asked, usize) -> Script + Send + Sync>;

/// A host.
pub struct Host {
    /// What its fronts keep.
    pub rows: Rows,
    /// What it vouches with.
    pub keys: Mutex<Keys>,
    /// Milliseconds since 1970.
    pub clock: AtomicU64,
    agents: Mutex<Vec<Value>>,
    answering: Mutex<Option<Arc<Answering>>>,
    calls: Mutex<Vec<Asked>>,
    chance: AtomicU64,
    /// Whether time passes by itself only, because requests run beside each other.
    is_shared: bool,
}

/// The time when hosts of tests start.
pub const START: u64 = 1_800_000_000_000;

impl Host {
    /// One with the agents `a`, which is free, and `sold`.
    pub fn new() -> Arc<Self> {
        Self::with(false)
    }

    /// One whose requests run beside each other.
    pub fn shared() -> Arc<Self> {
        Self::with(true)
    }

    fn with(is_shared: bool) -> Arc<Self> {
        let agents = vec![
            json!({"name": "a", "address": "a.operator", "path": "/agents/a/", "description": "Tells.", "version": "1.2",
                "world": "service", "skills": ["telling"]}),
            json!({"name": "sold", "address": "sold.operator", "path": "/agents/sold/", "description": "Sells.",
                "version": "1", "world": "service", "price": "0.01 USDC"}),
        ];
        Arc::new(Self {
            rows: Rows::default(),
            keys: Mutex::default(),
            clock: AtomicU64::new(START),
            agents: Mutex::new(agents),
            answering: Mutex::default(),
            calls: Mutex::default(),
            chance: AtomicU64::new(1),
            is_shared,
        })
    }

    /// One whose agents answer so; the second argument counts the calls before.
    pub fn answering(
        answering: impl Fn(&Asked, usize) -> Script + Send + Sync + 'static,
    ) -> Arc<Self> {
        let host = Self::new();
        host.answer(answering);
        host
    }

    /// Has agents answer so.
    pub fn answer(&self, answering: impl Fn(&Asked, usize) -> Script + Send + Sync + 'static) {
        *self.answering.lock().unwrap() = Some(Arc::new(Box::new(answering)));
    }

    /// What agents were asked.
    pub fn calls(&self) -> Vec<Asked> {
        self.calls.lock().unwrap().clone()
    }

    /// Starts it anew: what it kept is there.
    pub fn restart(&self) {
        self.keys.lock().unwrap().start = "second".to_owned();
    }

    /// Time passes.
    pub fn pass(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Ordering::SeqCst);
    }

    fn find(&self, target: &str) -> Option<Value> {
        let agents = self.agents.lock().unwrap();
        if target == "/agents" {
            return Some(json!({"agents": *agents}));
        }
        let name = target.strip_prefix("/agents/")?;
        let is_it = |agent: &&Value| agent["name"] == name || agent["address"] == name;
        agents.iter().find(is_it).cloned()
    }
}

/// Settings of an operator who sets these.
pub fn settings(variables: &[(&str, &str)]) -> Settings {
    Settings::read(|name| {
        let found = variables.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

/// What a client got.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// The status; 0 where there is no answer.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body is whole.
    pub is_whole: bool,
}

impl Got {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {text}", self.status))
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The result of JSON-RPC.
    pub fn result(&self) -> Value {
        let json = self.json();
        assert!(json.get("error").is_none(), "{json}");
        json["result"].clone()
    }

    /// The code of an error of JSON-RPC.
    pub fn code(&self) -> i64 {
        let json = self.json();
        json["error"]["code"]
            .as_i64()
            .unwrap_or_else(|| panic!("{json}"))
    }

    /// The events of a stream, whatever they are wrapped in.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(
            self.header("content-type"),
            Some("text/event-stream"),
            "{self:?}"
        );
        let text = String::from_utf8(self.body.clone()).unwrap();
        let data = text
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "));
        let event = |data| {
            let event: Value = serde_json::from_str(data).unwrap();
            event.get("result").cloned().unwrap_or(event)
        };
        data.map(event).collect()
    }
}

/// A request to a host.
pub struct Request {
    host: Arc<Host>,
    got: Mutex<Got>,
    is_gone: bool,
    until: u64,
}

impl Request {
    /// One that has as much time as the settings say.
    pub fn new(host: &Arc<Host>, settings: &Settings) -> Self {
        Self {
            host: Arc::clone(host),
            got: Mutex::default(),
            is_gone: false,
            until: host.clock.load(Ordering::SeqCst) + settings.timeout_ms,
        }
    }

    /// One whose client leaves at once.
    pub fn of_one_who_leaves(mut self) -> Self {
        self.is_gone = true;
        self
    }

    /// What its client got.
    pub fn got(&self) -> Got {
        self.got.lock().unwrap().clone()
    }
}

/// A request by HTTP, and what the client got when all was done.
pub fn ask(
    host: &Arc<Host>,
    settings: &Settings,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Got {
    let request = Request::new(host, settings);
    run(&request, settings, (method, target), headers, body);
    request.got()
}

/// Has a request answered.
pub fn run(
    request: &Request,
    settings: &Settings,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) {
    let incoming = Incoming {
        method: method.to_owned(),
        target: target.to_owned(),
        host: Some("127.0.0.1:8080".to_owned()),
        fields: Fields::of(headers),
        body: Body::Whole(body.to_vec()),
    };
    serve(request, Ok(settings), incoming);
}

impl Ports for Request {
    fn send(&self, asked: &Asked) -> Result<Answer, WebError> {
        assert_eq!(asked.authority, HOST);
        let found = self.host.find(&asked.target);
        Ok(Answer {
            status: if found.is_some() { 200 } else { 404 },
            body: found.unwrap_or_default().to_string().into_bytes(),
            ..Answer::default()
        })
    }

    fn pause(&self, milliseconds: u64) -> bool {
        if self.host.is_shared {
            self.host.rows.wait();
            return true;
        }
        if self.left() <= milliseconds {
            return false;
        }
        self.host.pass(milliseconds);
        true
    }
}

impl Clock for Request {
    fn now(&self) -> u64 {
        self.host.clock.load(Ordering::SeqCst)
    }

    fn left(&self) -> u64 {
        self.until.saturating_sub(self.now())
    }

    fn random(&self) -> [u8; 16] {
        let number = self.host.chance.fetch_add(1, Ordering::SeqCst);
        u128::from(number).to_be_bytes()
    }
}

impl Store for Request {
    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.host.rows.get(bucket, keys)
    }

    fn set(&self, bucket: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.host.rows.set(bucket, rows)
    }

    fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StoreError> {
        self.host.rows.delete(bucket, keys)
    }

    fn keys(&self, bucket: &str, most: usize) -> Result<Vec<String>, StoreError> {
        self.host.rows.keys(bucket, most)
    }

    fn increment(&self, bucket: &str, key: &str) -> Result<u64, StoreError> {
        self.host.rows.increment(bucket, key)
    }
}

impl Proofs for Request {
    fn start(&self) -> String {
        self.host.keys.lock().unwrap().start()
    }

    fn is_attested(&self) -> bool {
        self.host.keys.lock().unwrap().is_attested()
    }

    fn card_key(&self) -> Result<Vec<u8>, Unproved> {
        self.host.keys.lock().unwrap().card_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unproved> {
        self.host.keys.lock().unwrap().sign(message)
    }

    fn evidence(&self, claim: &[u8; 64]) -> Result<Vec<u8>, Unproved> {
        self.host.keys.lock().unwrap().evidence(claim)
    }
}

impl Client for Request {
    fn answer(&self, outgoing: Outgoing) {
        let mut got = self.got.lock().unwrap();
        assert_eq!(got.status, 0, "it was answered already");
        *got = Got {
            status: outgoing.status,
            headers: outgoing.headers,
            body: outgoing.body,
            is_whole: true,
        };
    }

    fn open(&self, status: u16, headers: Vec<(&'static str, String)>) {
        let mut got = self.got.lock().unwrap();
        assert_eq!(got.status, 0, "it was answered already");
        (got.status, got.headers) = (status, headers);
    }

    fn push(&self, piece: Vec<u8>) {
        if !self.is_gone {
            self.got.lock().unwrap().body.extend(piece);
        }
    }

    fn close(&self) {
        self.got.lock().unwrap().is_whole = true;
    }

    fn is_gone(&self) -> bool {
        self.is_gone
    }
}

impl World for Request {
    type Call = Scripted;

    fn call(&self, asked: Asked) -> Result<Scripted, WebError> {
        let before = {
            let mut calls = self.host.calls.lock().unwrap();
            let paid = |asked: &Asked| {
                let mut headers = asked.headers.iter();
                headers.find(|(name, _)| HEADERS.contains(name)).cloned()
            };
            let payment = paid(&asked);
            let is_new = payment.is_some() && !calls.iter().any(|it| paid(it) == payment);
            // What is kept of a task must not be less than what its payment did.
            assert!(!is_new || self.host.rows.is_on_disk());
            calls.push(asked.clone());
            calls.len() - 1
        };
        let answering = self
            .host
            .answering
            .lock()
            .unwrap()
            .clone()
            .expect("no agent");
        let acts = answering(&asked, before)?;
        Ok(Scripted {
            host: Arc::clone(&self.host),
            acts: acts.into_iter().rev().collect(),
        })
    }
}

/// A call that goes by a script.
pub struct Scripted {
    host: Arc<Host>,
    acts: Vec<Act>,
}

impl Call for Scripted {
    fn next(&mut self, milliseconds: u64) -> Step {
        match self.acts.pop() {
            None => Step::End,
            Some(Act::Give(step)) => step,
            Some(Act::Do(act)) => {
                act();
                Step::Waiting
            }
            Some(Act::Wait(time)) => {
                let here = time.min(milliseconds);
                self.host.pass(here);
                if here < time {
                    self.acts.push(Act::Wait(time - here));
                }
                Step::Waiting
            }
            Some(Act::Hang) => {
                if self.host.is_shared {
                    self.host.rows.wait();
                    self.host.pass(milliseconds);
                } else {
                    self.host.pass(milliseconds);
                }
                self.acts.push(Act::Hang);
                Step::Waiting
            }
        }
    }
}

/// An answer that is whole at once.
pub fn whole(status: u16, headers: &[(&str, &str)], body: &str) -> Script {
    Ok(vec![head(status, headers), piece(body)])
}

/// A head.
pub fn head(status: u16, headers: &[(&str, &str)]) -> Act {
    Act::Give(Step::Head(status, Fields::of(headers)))
}

/// Some of a body.
pub fn piece(text: &str) -> Act {
    Act::Give(Step::Piece(text.as_bytes().to_vec()))
}

/// A plain answer of text.
pub fn text(body: &str) -> Script {
    whole(200, &[("content-type", "text/plain")], body)
}

/// An answer in the agent's own events.
pub fn events(events: &[Value]) -> Script {
    let mut acts = vec![head(200, &EVENTS)];
    acts.extend(
        events
            .iter()
            .map(|event| piece(&format!("data: {event}\n\n"))),
    );
    Ok(acts)
}

/// The header fields of such an answer.
pub const EVENTS: [(&str, &str); 2] =
    [("content-type", "text/event-stream"), ("a2a-events", "1.0")];
