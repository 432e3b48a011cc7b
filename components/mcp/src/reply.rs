//! How a request is answered: whole, or by events ahead of the answer.

use std::cell::{Cell, RefCell};

use front::error::WebError;
use front::fields::{Fields, essence};
use front::http::Outgoing;
use front::ports::Client;
use serde_json::Value;

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    json: bool,
    events: bool,
}

impl Accepts {
    /// What its header says; JSON where it says nothing. None where it takes neither.
    pub fn read(fields: &Fields) -> Option<Self> {
        let all = fields.all("accept");
        let all: Vec<String> = all
            .iter()
            .flat_map(|it| it.split(','))
            .map(essence)
            .collect();
        let takes = |names: [&str; 3]| all.iter().any(|it| names.contains(&&**it));
        let json = all.is_empty() || takes(["application/json", "application/*", "*/*"]);
        let events = takes(["text/event-stream", "text/*", "*/*"]);
        (json || events).then_some(Self { json, events })
    }
}

/// The answer to one request.
pub struct Reply<'a, C> {
    client: &'a C,
    accepts: Accepts,
    shared: &'a [(&'static str, String)],
    more: RefCell<Vec<(&'static str, String)>>,
    has_begun: Cell<bool>,
}

impl<'a, C: Client> Reply<'a, C> {
    /// One to a client that takes this. A stream has the header fields `shared`; what is sent whole is given them by the caller.
    pub fn new(client: &'a C, accepts: Accepts, shared: &'a [(&'static str, String)]) -> Self {
        Self {
            client,
            accepts,
            shared,
            more: RefCell::default(),
            has_begun: Cell::new(false),
        }
    }

    /// Adds a header field to an answer that has not begun.
    pub fn with(&self, name: &'static str, value: String) {
        self.more.borrow_mut().push((name, value));
    }

    /// Sends a message ahead of the answer; false where the client takes none.
    pub fn ahead(&self, message: &Value) -> Result<bool, WebError> {
        if !self.accepts.events {
            return Ok(false);
        }
        if !self.has_begun.replace(true) {
            let mut headers = events_headers();
            headers.extend_from_slice(self.shared);
            headers.append(&mut self.more.borrow_mut());
            self.client.open(200, &headers);
        }
        self.client.push(&event(message))?;
        Ok(true)
    }

    /// Sends the answer, where something came ahead of it; otherwise it is for the caller to send, whole.
    pub fn end(self, status: u16, answer: &Value) -> Option<Outgoing> {
        if self.has_begun.get() {
            // Who is gone needs none.
            if self.client.push(&event(answer)).is_ok() {
                self.client.close();
            }
            return None;
        }
        let mut whole = match self.accepts.json || status != 200 {
            true => json(status, answer),
            false => Outgoing {
                status,
                headers: events_headers(),
                body: event(answer),
            },
        };
        whole.headers.append(&mut self.more.borrow_mut());
        Some(whole)
    }
}

/// An answer in JSON.
pub fn json(status: u16, value: &Value) -> Outgoing {
    Outgoing {
        status,
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ],
        body: value.to_string().into_bytes(),
    }
}

fn events_headers() -> Vec<(&'static str, String)> {
    vec![
        ("content-type", "text/event-stream".to_owned()),
        ("cache-control", "no-store, no-transform".to_owned()),
        ("x-accel-buffering", "no".to_owned()),
    ]
}

/// JSON has no line breaks in it, so that it is one line of data.
fn event(message: &Value) -> Vec<u8> {
    format!("event: message\ndata: {message}\n\n").into_bytes()
}
