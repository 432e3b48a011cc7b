//! The transport: one POST, one message, one answer.
//!
//! Bounds come first, then where the request comes from, then what it is. An answer is JSON, or one event where the client takes events
//! alone; an agent that is a server itself may send messages ahead of it. What is refused before it is known to be a message is JSON-RPC
//! too, with `id` null.

use serde_json::Value;

use front::fields::essence;
use front::http::{Body, Incoming, Outgoing};

use crate::error::RpcError;
use crate::message::{Message, answer};
use crate::ports::World;
use crate::reply::{Accepts, Reply, json};
use crate::settings::Settings;
use crate::version::{self, Era};
use crate::{methods, server};

/// Answers a request. None where the answer was sent already, piece by piece.
pub fn serve(
    world: &impl World,
    settings: Result<&Settings, RpcError>,
    incoming: Incoming,
) -> Option<Outgoing> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return Some(refused(&error)),
    };
    let origin = match settings.reach.allowed(&incoming) {
        Ok(origin) => origin,
        Err(error) => return Some(refused(&error.into())),
    };
    let shared = origin.map(shared).unwrap_or_default();
    let answered = match &*incoming.method {
        "OPTIONS" if !shared.is_empty() => Ok(Some(preflight())),
        "POST" => answered(world, settings, &shared, incoming),
        _ => {
            let why = "Send a POST: there are no streams and no sessions";
            let mut outgoing = refused(&RpcError::Http(405, why));
            outgoing.headers.push(("allow", "POST".to_owned()));
            Ok(Some(outgoing))
        }
    };
    let mut outgoing = answered.unwrap_or_else(|error| Some(refused(&error)))?;
    outgoing.headers.extend(shared);
    Some(outgoing)
}

/// What a page of another origin may read.
fn shared(origin: String) -> Vec<(&'static str, String)> {
    let exposed = server::SESSION.to_owned();
    vec![
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", exposed),
        ("vary", "origin".to_owned()),
    ]
}

/// What a browser asks before it sends a request to another origin.
fn preflight() -> Outgoing {
    let headers = [
        ("access-control-allow-methods", "POST"),
        (
            "access-control-allow-headers",
            "content-type, accept, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id",
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

fn answered(
    world: &impl World,
    settings: &Settings,
    shared: &[(&'static str, String)],
    incoming: Incoming,
) -> Result<Option<Outgoing>, RpcError> {
    let fields = &incoming.fields;
    let kind = fields.first("content-type").map(essence);
    if kind.as_deref() != Some("application/json") {
        return Err(RpcError::Http(
            415,
            "`Content-Type` has to be application/json",
        ));
    }
    let accepts = Accepts::read(fields).ok_or(RpcError::Http(
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
    let agent = settings.server(&incoming.target);
    let request = match message {
        Message::Request(request) => request,
        Message::Notification => {
            version::of_notification(fields)?;
            return Ok(Some(accepted()));
        }
        Message::Response(response) => {
            version::of_notification(fields)?;
            if agent.is_some() {
                server::answered(world, &response)?;
            }
            return Ok(Some(accepted()));
        }
    };
    let id = request.id.clone();
    let era = match version::of_request(fields, &request) {
        Ok(era) => era,
        Err(error) => return Ok(Some(json(error.status(), &answer(&id, Err(&error))))),
    };
    let reply = Reply::new(world, accepts, shared);
    let result = match agent {
        None => methods::result(world, settings, era, request),
        Some(reference) => server::result(world, &reply, (fields, era), reference, request),
    };
    let status = match (&result, era) {
        // Older clients take a status other than 200 for a broken transport.
        (Ok(_), _) | (_, Era::Legacy) => 200,
        (Err(error), Era::Modern) => error.status(),
    };
    let answer = match result {
        Ok(result) => answer(&id, Ok(result)),
        Err(error) => answer(&id, Err(&error)),
    };
    Ok(reply.end(status, &answer))
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
