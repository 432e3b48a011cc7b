//! The transport: one POST, one message, one answer.
//!
//! Bounds come first, then where the request comes from, then what it is. An answer is JSON, or one event where the client takes events
//! alone. What is refused before it is known to be a message is JSON-RPC too, with `id` null.

use serde_json::Value;

use front::fields::{Fields, essence};
use front::http::{Body, Incoming, Outgoing};
use front::ports::Ports;

use crate::error::RpcError;
use crate::message::{Message, answer};
use crate::methods;
use crate::settings::Settings;
use crate::version::{self, Era};

/// Answers a request.
pub fn serve(
    ports: &impl Ports,
    settings: Result<&Settings, RpcError>,
    incoming: Incoming,
) -> Outgoing {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return refused(&error),
    };
    let checked = settings.reach.allowed(&incoming);
    let origin = match checked {
        Ok(origin) => origin,
        Err(error) => return refused(&error.into()),
    };
    let mut outgoing = match (&*incoming.method, &origin) {
        ("OPTIONS", Some(_)) => preflight(),
        ("POST", _) => post(ports, settings, incoming),
        _ => {
            let mut outgoing = refused(&RpcError::Http(
                405,
                "Send a POST: there are no streams and no sessions",
            ));
            outgoing.headers.push(("allow", "POST".to_owned()));
            outgoing
        }
    };
    if let Some(origin) = origin {
        outgoing
            .headers
            .push(("access-control-allow-origin", origin));
        outgoing.headers.push(("vary", "origin".to_owned()));
    }
    outgoing
}

/// What a browser asks before it sends a request to another origin.
fn preflight() -> Outgoing {
    let headers = [
        ("access-control-allow-methods", "POST"),
        (
            "access-control-allow-headers",
            "content-type, accept, mcp-protocol-version, mcp-method, mcp-name",
        ),
        ("access-control-max-age", "3600"),
    ];
    Outgoing {
        status: 204,
        headers: headers
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
        body: Vec::new(),
    }
}

fn post(ports: &impl Ports, settings: &Settings, incoming: Incoming) -> Outgoing {
    match answered(ports, settings, incoming) {
        Ok(outgoing) => outgoing,
        Err(error) => refused(&error),
    }
}

fn answered(
    ports: &impl Ports,
    settings: &Settings,
    incoming: Incoming,
) -> Result<Outgoing, RpcError> {
    let fields = &incoming.fields;
    let kind = fields.first("content-type").map(essence);
    if kind.as_deref() != Some("application/json") {
        return Err(RpcError::Http(
            415,
            "`Content-Type` has to be application/json",
        ));
    }
    let form = Form::accepted(fields).ok_or(RpcError::Http(
        406,
        "`Accept` has to allow application/json or text/event-stream",
    ))?;
    let body = match incoming.body {
        Body::Whole(body) => body,
        Body::TooLong => return Err(RpcError::Http(413, "The body is longer than 16 MiB")),
        Body::Broken => return Err(RpcError::Http(400, "The body broke off")),
    };
    let message = Message::read(&body)?;
    drop(body);
    let request = match message {
        Message::Request(request) => request,
        Message::Notification => {
            version::of_notification(fields)?;
            return Ok(accepted());
        }
        Message::Response => return Ok(accepted()),
    };
    let id = request.id.clone();
    let era = match version::of_request(fields, &request) {
        Ok(era) => era,
        Err(error) => return Ok(json(error.status(), &answer(&id, Err(&error)))),
    };
    Ok(match methods::result(ports, settings, era, request) {
        Ok(result) => form.whole(&answer(&id, Ok(result))),
        Err(error) => {
            let error_answer = answer(&id, Err(&error));
            match (era, error.status()) {
                // Older clients take a status other than 200 for a broken transport.
                (Era::Legacy, _) | (_, 200) => form.whole(&error_answer),
                (Era::Modern, status) => json(status, &error_answer),
            }
        }
    })
}

fn accepted() -> Outgoing {
    Outgoing {
        status: 202,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// An error before there is an id.
fn refused(error: &RpcError) -> Outgoing {
    json(error.status(), &answer(&Value::Null, Err(error)))
}

fn json(status: u16, value: &Value) -> Outgoing {
    Outgoing {
        status,
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ],
        body: value.to_string().into_bytes(),
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Events,
}

impl Form {
    /// The one that a client takes: JSON where it takes both, or says nothing.
    fn accepted(fields: &Fields) -> Option<Self> {
        let all = fields.all("accept");
        let all: Vec<String> = all
            .iter()
            .flat_map(|it| it.split(','))
            .map(essence)
            .collect();
        if all.is_empty() {
            return Some(Self::Json);
        }
        let takes = |names: [&str; 3]| all.iter().any(|it| names.contains(&&**it));
        if takes(["application/json", "application/*", "*/*"]) {
            return Some(Self::Json);
        }
        takes(["text/event-stream", "text/*", "*/*"]).then_some(Self::Events)
    }

    fn whole(self, value: &Value) -> Outgoing {
        if self == Self::Json {
            return json(200, value);
        }
        // JSON has no line breaks in it, so that it is one line of data.
        Outgoing {
            status: 200,
            headers: vec![
                ("content-type", "text/event-stream".to_owned()),
                ("cache-control", "no-store, no-transform".to_owned()),
                ("x-accel-buffering", "no".to_owned()),
            ],
            body: format!("event: message\ndata: {value}\n\n").into_bytes(),
        }
    }
}
