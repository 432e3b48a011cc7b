//! HTTP: who may ask, what for, and in which binding.
//!
//! `/a2a/` lists the agents, `/a2a/REF/` and `/a2a/REF` take JSON-RPC, and what is behind that is HTTP and JSON, the card, its keys and
//! evidence. `/.well-known/agent-card.json` is the card of the host's default agent.

use front::agents::{self, Listed};
use front::fields::{Fields, essence};
use front::http::{Body, Incoming, Outgoing};
use front::origin::Origin;
use front::{json, names};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::card;
use crate::context::{Context, extensions};
use crate::error::A2aError;
use crate::methods::{self, Method};
use crate::pages::{EXPOSED, allowed, preflight};
use crate::params;
use crate::ports::World;
use crate::reply::{Binding, Reply, rest_error};
use crate::rest;
use crate::settings::Settings;
use crate::sign::CardKey;

const ROOT: &str = "/a2a/";
const DEFAULT_CARD: &str = "/.well-known/agent-card.json";
/// The longest path and query.
const LONGEST_TARGET: usize = 8 * 1024;
/// As many agents are listed.
const MOST_AGENTS: usize = 256;
const JSON: &str = "application/json";
const A2A_JSON: &str = "application/a2a+json";

/// Answers a request, and goes on with what it began.
pub fn serve<W: World>(world: &W, settings: Result<&Settings, A2aError>, incoming: Incoming) {
    let mut headers = Vec::new();
    let served = settings.and_then(|settings| {
        let origin = allowed(settings, &incoming)?;
        if let Some(origin) = &origin {
            headers.push(("access-control-allow-origin", origin.clone()));
            headers.push(("access-control-expose-headers", EXPOSED.to_owned()));
            headers.push(("vary", "origin".to_owned()));
        }
        if incoming.method == "OPTIONS" && origin.is_some() {
            return Ok(Some(preflight()));
        }
        route(world, settings, incoming, &headers)
    });
    let mut outgoing = match served {
        Ok(None) => return,
        Ok(Some(outgoing)) => outgoing,
        Err(error) => refused(&error),
    };
    outgoing.headers.extend(headers);
    world.answer(outgoing);
}

type Headers = [(&'static str, String)];

/// None where the client is answered already.
fn route<W: World>(
    world: &W,
    settings: &Settings,
    incoming: Incoming,
    headers: &Headers,
) -> Result<Option<Outgoing>, A2aError> {
    let target = &incoming.target;
    if target.len() > LONGEST_TARGET {
        return Err(A2aError::Http(414, "The path is too long"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = percent_decode_str(path).decode_utf8();
    let path = path.map_err(|_| A2aError::Http(400, "The path is not UTF-8"))?;
    let base = base(settings, &incoming)?;
    let is_get = matches!(&*incoming.method, "GET" | "HEAD");
    if path == DEFAULT_CARD || path == format!("{DEFAULT_CARD}/") {
        let name = settings.default_agent.as_deref();
        let name = name.ok_or(A2aError::NoAgent)?;
        let agent = agents::one(world, name)?;
        let known = incoming.fields.first("if-none-match");
        return card_of(world, settings, &agent, &at(&base, name), known).map(Some);
    }
    if is_get && path.trim_end_matches('/') == ROOT.trim_end_matches('/') {
        return listed(world, &base).map(Some);
    }
    let behind = path
        .strip_prefix(ROOT)
        .ok_or(A2aError::Http(404, "There is nothing here"))?;
    let (name, rest) = behind.split_once('/').unwrap_or((behind, ""));
    if !names::is_reference(name) {
        return Err(A2aError::NoAgent);
    }
    let url = at(&base, name);
    let rest = rest.to_owned();
    let known = incoming.fields.first("if-none-match").map(str::to_owned);
    match (is_get, rest.trim_end_matches('/')) {
        (true, ".well-known/agent-card.json") => {
            let agent = agents::one(world, name)?;
            return card_of(world, settings, &agent, &url, known.as_deref()).map(Some);
        }
        (true, ".well-known/jwks.json") => {
            let key = CardKey::of(world);
            let key = key.map_err(|error| A2aError::Internal(error.to_string()))?;
            return Ok(Some(card::cacheable(&key.as_set(), known.as_deref())));
        }
        (true, "evidence") => {
            let agent = agents::one(world, name)?;
            let card = card::card(world, settings, &agent, &url);
            let nonce = rest::query(query)?;
            let nonce = nonce.get("nonce").and_then(Value::as_str);
            return card::evidence(world, &card, nonce).map(Some);
        }
        _ => {}
    }
    let name = name.to_owned();
    let query = query.to_owned();
    let asked = Asked {
        name,
        rest,
        query,
        url,
    };
    match asked.rest.is_empty() {
        true => rpc(world, settings, incoming, headers, &asked),
        false => by_http(world, settings, incoming, headers, &asked),
    }
    .map(|()| None)
}

/// What is asked of which agent.
struct Asked {
    name: String,
    rest: String,
    query: String,
    url: String,
}

/// Where the host is, as clients know it, without a slash at the end.
fn base(settings: &Settings, incoming: &Incoming) -> Result<String, A2aError> {
    if let Some(url) = &settings.public_url {
        return Ok(url.clone());
    }
    // One that was checked, or that came sealed.
    let host = incoming.host.as_deref().unwrap_or("localhost");
    let url = format!("http://{host}");
    match Origin::parse(&url) {
        Some(_) => Ok(url),
        None => Err(A2aError::Http(400, "The Host is none")),
    }
}

fn at(base: &str, name: &str) -> String {
    format!("{base}{ROOT}{name}/")
}

fn card_of<W: World>(
    world: &W,
    settings: &Settings,
    agent: &Listed,
    url: &str,
    known: Option<&str>,
) -> Result<Outgoing, A2aError> {
    let card = card::card(world, settings, agent, url);
    card::answer(world, card, url, known)
}

/// The agents and where their cards are.
fn listed<W: World>(world: &W, base: &str) -> Result<Outgoing, A2aError> {
    let found = agents::some(world, MOST_AGENTS, |_| true)?;
    let listed = |agent: &Listed| {
        let url = at(base, &agent.reference);
        json!({
            "name": agent.reference,
            "url": url,
            "card": format!("{url}.well-known/agent-card.json"),
        })
    };
    let listed: Vec<Value> = found.iter().map(listed).collect();
    Ok(card::cacheable(&json!({"agents": listed}), None))
}

/// Checks the version that a client speaks.
fn check_version(fields: &Fields, query: &str) -> Result<(), A2aError> {
    let header = fields.one("a2a-version").map_err(|_| A2aError::Version)?;
    let query = rest::query(query)?;
    let query = query.get("A2A-Version").and_then(Value::as_str);
    match header.or(query) {
        Some("1.0") => Ok(()),
        // Who names none speaks 0.3.
        _ => Err(A2aError::Version),
    }
}

fn body(incoming: &mut Incoming) -> Result<Vec<u8>, A2aError> {
    match std::mem::replace(&mut incoming.body, Body::Broken) {
        Body::Whole(body) => Ok(body),
        Body::TooLong => Err(A2aError::Http(413, "The body is longer than 16 MiB")),
        Body::Broken => Err(A2aError::Http(400, "The body broke off")),
    }
}

fn is_json(fields: &Fields) -> bool {
    let kind = fields.first("content-type").map(essence);
    kind.is_some_and(|kind| kind == JSON || kind == A2A_JSON)
}

const NO_JSON: A2aError = A2aError::ContentType("the body has to be application/json");

/// JSON-RPC: one request, one answer.
fn rpc<W: World>(
    world: &W,
    settings: &Settings,
    mut incoming: Incoming,
    headers: &Headers,
    asked: &Asked,
) -> Result<(), A2aError> {
    if incoming.method != "POST" {
        return Err(A2aError::Http(405, "Send a POST, or get the card"));
    }
    let refuse = |id: &Value, error: &A2aError| {
        Reply::new(world, Binding::Rpc(id.clone()), headers.to_vec()).error(error);
        Ok(())
    };
    if !is_json(&incoming.fields) {
        return refuse(&Value::Null, &NO_JSON);
    }
    let read = body(&mut incoming)?;
    let message = json::parse(&read);
    drop(read);
    let mut message = match message {
        Ok(Value::Object(message)) => message,
        Ok(_) => return refuse(&Value::Null, &A2aError::Request("it is no single request")),
        Err(what) => return refuse(&Value::Null, &A2aError::Parse(what)),
    };
    let id = match message.remove("id") {
        Some(id @ (Value::String(_) | Value::Number(_))) => id,
        _ => {
            let error = A2aError::Request("`id` has to be text or a number");
            return refuse(&Value::Null, &error);
        }
    };
    if json::text(&message, "jsonrpc") != Some("2.0") {
        return refuse(&id, &A2aError::Request("`jsonrpc` has to be \"2.0\""));
    }
    let Some(name) = json::text(&message, "method").map(str::to_owned) else {
        return refuse(&id, &A2aError::Request("`method` has to be text"));
    };
    if let Err(error) = check_version(&incoming.fields, &asked.query) {
        return refuse(&id, &error);
    }
    let params = match message.remove("params") {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => {
            let error = A2aError::Params("they have to be an object".to_owned());
            return refuse(&id, &error);
        }
    };
    let Some(method) = Method::named(&name) else {
        return refuse(&id, &A2aError::Method);
    };
    answer(
        world,
        settings,
        &incoming.fields,
        headers,
        Binding::Rpc(id),
        asked,
        (method, params),
    );
    Ok(())
}

/// HTTP and JSON.
fn by_http<W: World>(
    world: &W,
    settings: &Settings,
    mut incoming: Incoming,
    headers: &Headers,
    asked: &Asked,
) -> Result<(), A2aError> {
    let (method, mut params) = rest::method(&incoming.method, &asked.rest, &asked.query)?;
    check_version(&incoming.fields, &asked.query)?;
    if method.takes_body() {
        if !is_json(&incoming.fields) {
            return Err(NO_JSON);
        }
        let body = body(&mut incoming)?;
        let read = json::object(&body).map_err(A2aError::Parse)?;
        params.extend(read);
    }
    let binding = Binding::Rest(media_type(&incoming.fields));
    answer(
        world,
        settings,
        &incoming.fields,
        headers,
        binding,
        asked,
        (method, params),
    );
    Ok(())
}

/// The media type of answers: the protocol's own, or plain JSON to clients that ask for that, or send it.
fn media_type(fields: &Fields) -> &'static str {
    let accepted = fields.all("accept");
    let mut accepted = accepted.iter().flat_map(|it| it.split(',')).map(essence);
    let is_sent = fields.first("content-type").map(essence).as_deref() == Some(JSON);
    let mut is_asked = false;
    if accepted.any(|kind| {
        is_asked |= kind == JSON;
        kind == A2A_JSON
    }) {
        return A2A_JSON;
    }
    if is_asked || is_sent { JSON } else { A2A_JSON }
}

fn answer<W: World>(
    world: &W,
    settings: &Settings,
    fields: &Fields,
    headers: &Headers,
    binding: Binding,
    asked: &Asked,
    (method, params): (Method, Map<String, Value>),
) {
    let mut headers = headers.to_vec();
    let activated = extensions(fields);
    if !activated.is_empty() {
        headers.push(("a2a-extensions", activated.join(", ")));
    }
    let reply = Reply::new(world, binding, headers);
    let answered = agents::one(world, &asked.name)
        .map_err(A2aError::from)
        .and_then(|agent| {
            let caller = Caller::of(fields);
            let owner = caller.owner(&agent.address);
            let context = Context {
                world,
                settings,
                agent: &agent,
                caller,
                owner,
                fields,
                url: asked.url.clone(),
            };
            methods::answer(&context, method, &params::named(params), &reply)
        });
    if let Err(error) = answered {
        reply.error(&error);
    }
}

/// An error before it is known in which binding a client speaks.
fn refused(error: &A2aError) -> Outgoing {
    let body = rest_error(error);
    let mut headers = vec![
        ("content-type", JSON.to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    if let A2aError::Busy(_, Some(seconds)) = error {
        headers.push(("retry-after", seconds.to_string()));
    }
    if error.rest().0 == 405 {
        headers.push(("allow", "POST".to_owned()));
    }
    Outgoing {
        status: error.rest().0,
        headers,
        body: body.to_string().into_bytes(),
    }
}
