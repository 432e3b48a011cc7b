//! An agent's answer as it comes: JSON, or events.

use front::error::WebError;
use front::events::Reader;
use front::fields::{Fields, essence};
use front::json;
use front::ports::{Client, Piece};
use front::words::words;
use serde_json::{Map, Value};

use super::odd;
use super::said::Filter;
use crate::error::RpcError;
use crate::reply::Reply;

/// The id of each request to an agent: there is one in a connection.
pub const ID: u32 = 1;

/// As much is told of an error of an agent, in characters, and in bytes of JSON.
const LONGEST_MESSAGE: usize = 1024;
const LONGEST_DATA: usize = 64 * 1024;
/// Errors about how the front asks, which the client can do nothing about.
const OF_THE_FRONT: [i64; 4] = [-32700, -32600, -32020, -32022];

/// Reads an answer and passes on what comes ahead of its result.
pub struct Reading<'a, 'b, C> {
    reply: &'a Reply<'b, C>,
    filter: &'a Filter,
    status: u16,
    kind: Kind,
    found: Option<Result<Map<String, Value>, RpcError>>,
}

enum Kind {
    Json(Vec<u8>),
    Events(Reader),
    /// Neither of them, or no answer yet.
    Other,
}

impl<'a, 'b, C: Client> Reading<'a, 'b, C> {
    /// One that passes on what `filter` lets through.
    pub fn new(reply: &'a Reply<'b, C>, filter: &'a Filter) -> Self {
        Self {
            reply,
            filter,
            status: 0,
            kind: Kind::Other,
            found: None,
        }
    }

    /// Takes what came; false where no more is wanted.
    pub fn take(&mut self, piece: Piece<'_>) -> bool {
        match piece {
            Piece::Head(status, fields) => self.head(status, fields),
            Piece::Body(bytes) => self.body(bytes),
        }
    }

    fn head(&mut self, status: u16, fields: &Fields) -> bool {
        self.status = status;
        let kind = fields.first("content-type").map(essence);
        self.kind = match kind.as_deref() {
            Some("application/json") => Kind::Json(Vec::new()),
            Some("text/event-stream") if status == 200 => Kind::Events(Reader::default()),
            _ => return false,
        };
        true
    }

    fn body(&mut self, bytes: &[u8]) -> bool {
        let events = match &mut self.kind {
            Kind::Json(body) => {
                body.extend(bytes);
                return true;
            }
            Kind::Events(reader) => reader.push(bytes),
            Kind::Other => return false,
        };
        let Ok(events) = events else {
            self.found = Some(Err(odd("an event is too long")));
            return false;
        };
        for event in events {
            // What opens a stream may be an event without data.
            if !event.is_empty() {
                self.found = self.event(&event);
            }
            if self.found.is_some() {
                return false;
            }
        }
        true
    }

    /// The result, where an event is that.
    fn event(&self, event: &[u8]) -> Option<Result<Map<String, Value>, RpcError>> {
        let Ok(message) = json::object(event) else {
            return Some(Err(odd("an event is no JSON object")));
        };
        if !message.contains_key("method") {
            return Some(result(message));
        }
        if message.contains_key("id") {
            return Some(Err(odd("it sends requests: it has to ask by its result")));
        }
        let passed = self.filter.passed(message)?;
        let sent = self.reply.ahead(&passed);
        sent.err().map(|error| Err(gone(error)))
    }

    /// The result, where there was one. `reference` is the agent's.
    pub fn end(
        self,
        ended: Result<(), WebError>,
        reference: &str,
    ) -> Result<Map<String, Value>, RpcError> {
        if let Some(found) = self.found {
            return found;
        }
        ended.map_err(|error| match error {
            WebError::NotFound => RpcError::NoServer(words(reference, 128)),
            error => RpcError::Internal(format!("the agent did not answer: {error}")),
        })?;
        match self.kind {
            Kind::Json(body) => match json::object(&body) {
                Ok(message) => result(message),
                Err(_) if self.status != 200 => Err(self::status(self.status, reference)),
                Err(_) => Err(odd("it is no JSON object")),
            },
            Kind::Events(_) => Err(odd("its events end without a result")),
            Kind::Other => Err(self::status(self.status, reference)),
        }
    }
}

/// What a response says.
fn result(mut message: Map<String, Value>) -> Result<Map<String, Value>, RpcError> {
    match (message.remove("result"), message.remove("error")) {
        (Some(Value::Object(result)), None) => Ok(result),
        (None, Some(Value::Object(error))) => Err(of_agent(error)),
        _ => Err(odd("it is no response of JSON-RPC")),
    }
}

fn of_agent(mut error: Map<String, Value>) -> RpcError {
    let code = error.get("code").and_then(Value::as_i64);
    let message = words(
        json::text(&error, "message").unwrap_or_default(),
        LONGEST_MESSAGE,
    );
    let code = code.filter(|code| !OF_THE_FRONT.contains(code));
    let Some(code) = code.and_then(|code| i32::try_from(code).ok()) else {
        return RpcError::Internal(format!("the agent refused: {message}"));
    };
    let data = error.remove("data");
    let data = data.filter(|data| data.to_string().len() <= LONGEST_DATA);
    RpcError::Agent {
        code,
        message,
        data,
    }
}

/// An answer that is none of this protocol's.
fn status(status: u16, reference: &str) -> RpcError {
    match status {
        200..=299 | 404 | 405 => RpcError::NoServer(words(reference, 128)),
        _ => RpcError::Internal(format!("the agent answered with HTTP status {status}")),
    }
}

fn gone(error: WebError) -> RpcError {
    RpcError::Internal(format!("the client does not read: {error}"))
}
