//! How a client is answered: by JSON-RPC, or by HTTP alone.

use std::cell::Cell;

use front::http::Outgoing;
use serde_json::{Map, Value, json};

use crate::error::A2aError;
use crate::ports::Client;

/// A binding of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Binding {
    /// JSON-RPC, with the id of the request.
    Rpc(Value),
    /// HTTP and JSON, with the media type of answers.
    Rest(&'static str),
}

/// The answer to one request.
pub struct Reply<'a, C> {
    client: &'a C,
    binding: Binding,
    headers: Vec<(&'static str, String)>,
    is_open: Cell<bool>,
    is_done: Cell<bool>,
}

type Headers = Vec<(&'static str, String)>;

impl<'a, C: Client> Reply<'a, C> {
    /// An answer to this client with these header fields.
    pub fn new(client: &'a C, binding: Binding, headers: Headers) -> Self {
        Self {
            client,
            binding,
            headers,
            is_open: Cell::new(false),
            is_done: Cell::new(false),
        }
    }

    /// Answers with a result.
    pub fn result(&self, result: Value, more: Headers) {
        let (kind, body) = match &self.binding {
            Binding::Rpc(id) => (
                "application/json",
                json!({"jsonrpc": "2.0", "id": id, "result": result}),
            ),
            Binding::Rest(kind) => (*kind, result),
        };
        self.whole(200, kind, &body, more);
    }

    /// Answers with an error; in a stream that has begun it is the last event.
    pub fn error(&self, error: &A2aError) {
        if self.is_done.get() {
            return;
        }
        if let A2aError::Demand(outgoing) = error {
            let mut outgoing = (**outgoing).clone();
            outgoing.headers.extend(self.headers.clone());
            self.is_done.set(true);
            self.client.answer(outgoing);
            return;
        }
        let (status, body) = match &self.binding {
            Binding::Rpc(id) => (error.rpc_status(), rpc_error(id, error)),
            Binding::Rest(_) => (error.rest().0, rest_error(error)),
        };
        if self.is_open.get() {
            self.push(&body);
            self.close();
            return;
        }
        let more = match error {
            A2aError::Busy(_, Some(seconds)) => vec![("retry-after", seconds.to_string())],
            _ => Vec::new(),
        };
        self.whole(status, "application/json", &body, more);
    }

    fn whole(&self, status: u16, kind: &str, body: &Value, more: Headers) {
        if self.is_done.replace(true) {
            return;
        }
        let mut headers = vec![
            ("content-type", kind.to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        headers.extend(self.headers.clone());
        headers.extend(more);
        let body = body.to_string().into_bytes();
        self.client.answer(Outgoing {
            status,
            headers,
            body,
        });
    }

    /// An event of a stream, which begins with the first.
    pub fn event(&self, event: Value, more: Headers) {
        if self.is_done.get() {
            return;
        }
        if !self.is_open.replace(true) {
            let mut headers = vec![
                ("content-type", "text/event-stream".to_owned()),
                ("cache-control", "no-store, no-transform".to_owned()),
                ("x-accel-buffering", "no".to_owned()),
            ];
            headers.extend(self.headers.clone());
            headers.extend(more);
            self.client.open(200, headers);
        }
        let body = match &self.binding {
            Binding::Rpc(id) => json!({"jsonrpc": "2.0", "id": id, "result": event}),
            Binding::Rest(_) => event,
        };
        self.push(&body);
    }

    fn push(&self, body: &Value) {
        // JSON has no line breaks in it, so that it is one line of data.
        self.client.push(format!("data: {body}\n\n").into_bytes());
    }

    /// Ends a stream.
    pub fn close(&self) {
        if self.is_open.get() && !self.is_done.replace(true) {
            self.client.close();
        }
    }
}

/// An error as JSON-RPC has it.
pub fn rpc_error(id: &Value, error: &A2aError) -> Value {
    let mut body = Map::new();
    body.insert("code".to_owned(), error.code().into());
    body.insert("message".to_owned(), error.to_string().into());
    body.insert("data".to_owned(), error.details());
    json!({"jsonrpc": "2.0", "id": id, "error": body})
}

/// An error as google.rpc has it over HTTP.
pub fn rest_error(error: &A2aError) -> Value {
    let (code, status, _) = error.rest();
    json!({"error": {
        "code": code, "status": status, "message": error.to_string(), "details": error.details(),
    }})
}
