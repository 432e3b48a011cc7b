//! Agents that are servers of MCP themselves, each at a path of its own below the front's.
//!
//! Such an agent answers requests of revision 2026-07-28 at its `/mcp`, one at a time, by a result or by events; how it is spoken to outside
//! is the front's affair: transport, headers, versions and errors, both eras, what the client can do, and the integrity of what it carries
//! from one request to the next. Nothing that an agent says is taken for more than its word.

mod answer;
mod asking;
mod input;
mod said;
mod session;
mod state;

pub use asking::answered;
pub use session::HEADER as SESSION;

use front::agents::Listed;
use front::error::HostError;
use front::fields::Fields;
use front::json;
use front::origin::CALLER;
use front::ports::{AGENTS, Asked};
use front::words::words;
use serde_json::{Map, Value, json};

use crate::catalogue::without_headers;
use crate::error::{Failure, RpcError};
use crate::message::Request;
use crate::ports::World;
use crate::reply::Reply;
use crate::version::{
    self, CAPABILITIES_KEY, Era, METHOD_HEADER, MODERN, NAME_HEADER, VERSION_HEADER, VERSION_KEY,
    negotiated,
};
use crate::x402;
use answer::Reading;
use input::Wanted;
use said::Filter;
use session::Session;

/// Where an agent answers.
const PATH: &str = "/mcp";
/// What is the agent's to answer.
const ITS_OWN: [&str; 8] = [
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
];
/// What may be answered by asking for input.
const MAY_ASK: [&str; 3] = ["tools/call", "resources/read", "prompts/get"];
/// What it may have. There are no streams to tell of changes in.
const CAPABILITIES: [&str; 5] = ["tools", "resources", "prompts", "completions", "logging"];
/// What a client may keep for a while.
const CACHED: [&str; 6] = [
    "server/discover",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
];
/// The longest instructions, in characters.
const LONGEST_INSTRUCTIONS: usize = 8 * 1024;
/// The longest name of a tool or a prompt, and the longest URI of a resource, in bytes.
const LONGEST_NAME: usize = 4 * 1024;
/// As much of an answer is read.
const MOST_ANSWER: usize = 16 * 1024 * 1024;
/// As often a client is asked for input within one request.
const MOST_ROUNDS: u32 = 16;
/// How long to wait before an agent is asked again that wanted nothing but that.
const ROUND_MS: u64 = 500;

/// The result of a request to an agent.
pub fn result<W: World>(
    world: &W,
    reply: &Reply<'_, W>,
    (fields, era): (&Fields, Era),
    reference: &str,
    request: Request,
) -> Result<Value, RpcError> {
    let agent = found(world, reference)?;
    let Request { method, params, .. } = request;
    let session = Session::of(fields);
    let talk = Talk {
        world,
        reply,
        agent: &agent,
        method: &method,
        caller: fields.first(CALLER).unwrap_or_default(),
        era,
    };
    let result = match (&*method, era) {
        ("ping", Era::Legacy) => Map::new(),
        ("initialize", Era::Legacy) => {
            let session = Session::new(world, &params);
            let version = negotiated(&params);
            let discovered = talk.discover(&session)?;
            reply.with(SESSION, session.id().to_owned());
            initialized(&agent, version, discovered)
        }
        ("logging/setLevel", Era::Legacy) => {
            session.unwrap_or_default().set_level(world, &params)?;
            Map::new()
        }
        ("server/discover", Era::Modern) => discovered(talk.request(params, None)?),
        (method, _) if ITS_OWN.contains(&method) => talk.request(params, session)?,
        _ => return Err(RpcError::Method(words(&method, 128))),
    };
    Ok(finished(result, &agent, &method, era))
}

/// The agent with this reference, if it may be spoken to so.
fn found(world: &impl World, reference: &str) -> Result<Listed, RpcError> {
    let unknown = || RpcError::NoServer(words(reference, 128));
    let agent = front::agents::one(world, reference).map_err(|error| match error {
        HostError::NoAgent(_) => unknown(),
        error => RpcError::Internal(Failure::from(error).to_string()),
    })?;
    if agent.is_command {
        return Err(unknown());
    }
    if agent.price.is_some() {
        // Each request would be sold, a list too.
        return Err(RpcError::Request(
            "an agent that has a price is called as a tool of the host",
        ));
    }
    Ok(agent)
}

/// What a client without a handshake is told of an agent.
fn discovered(mut said: Map<String, Value>) -> Map<String, Value> {
    let mut result = Map::new();
    result.insert("supportedVersions".to_owned(), json!(MODERN));
    result.insert("capabilities".to_owned(), capabilities(&said));
    for name in ["instructions", "_meta", "ttlMs", "cacheScope"] {
        if let Some(member) = said.remove(name) {
            result.insert(name.to_owned(), member);
        }
    }
    if let Some(Value::String(text)) = result.get_mut("instructions") {
        *text = text.chars().take(LONGEST_INSTRUCTIONS).collect();
    } else {
        result.remove("instructions");
    }
    result
}

/// What a client with a handshake is told.
fn initialized(agent: &Listed, version: &str, said: Map<String, Value>) -> Map<String, Value> {
    let mut result = discovered(said);
    result.remove("supportedVersions");
    result.insert("protocolVersion".to_owned(), version.into());
    result.insert("serverInfo".to_owned(), server_info(agent));
    result
}

fn capabilities(said: &Map<String, Value>) -> Value {
    let theirs = said.get("capabilities").and_then(Value::as_object);
    let has = |name: &&str| theirs.is_some_and(|it| it.get(*name).is_some_and(Value::is_object));
    let capability = |name: &str| (name.to_owned(), json!({}));
    let own = CAPABILITIES.into_iter().filter(has).map(capability);
    Value::Object(own.collect())
}

fn server_info(agent: &Listed) -> Value {
    let version = words(agent.version.as_deref().unwrap_or("0"), 64);
    json!({"name": agent.reference, "title": words(&agent.description, 200), "version": version})
}

/// A result with what each has in its era.
fn finished(mut result: Map<String, Value>, agent: &Listed, method: &str, era: Era) -> Value {
    if method == "tools/list"
        && let Some(tools) = result.get_mut("tools").and_then(Value::as_array_mut)
    {
        for tool in tools {
            if let Some(schema) = tool.get_mut("inputSchema") {
                *schema = without_headers(schema.take());
            }
        }
    }
    // Receipts are the host's, and nothing was paid here.
    if let Some(meta) = result.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.remove(x402::RESPONSE);
    }
    if era == Era::Legacy {
        for name in ["resultType", "ttlMs", "cacheScope"] {
            result.remove(name);
        }
        return result.into();
    }
    let is_whole = json::text(&result, "resultType").is_none_or(|it| it == "complete");
    if CACHED.contains(&method) && is_whole {
        if !result.get("ttlMs").is_some_and(Value::is_u64) {
            result.insert("ttlMs".to_owned(), 0.into());
        }
        // What an agent says to one client is not for another, unless it says so.
        if result.get("cacheScope") != Some(&json!("public")) {
            result.insert("cacheScope".to_owned(), "private".into());
        }
    }
    result
        .entry("resultType")
        .or_insert_with(|| "complete".into());
    let meta = result.entry("_meta").or_insert_with(|| json!({}));
    if !meta.is_object() {
        *meta = json!({});
    }
    if let Some(meta) = meta.as_object_mut() {
        let key = "io.modelcontextprotocol/serverInfo";
        meta.insert(key.to_owned(), server_info(agent));
    }
    result.into()
}

/// One request to an agent, as often as it takes.
struct Talk<'a, 'b, W> {
    world: &'a W,
    reply: &'a Reply<'b, W>,
    agent: &'a Listed,
    method: &'a str,
    caller: &'a str,
    era: Era,
}

impl<W: World> Talk<'_, '_, W> {
    /// What the agent is, for a client with a handshake.
    fn discover(&self, session: &Session) -> Result<Map<String, Value>, RpcError> {
        let mut meta = Map::new();
        meta.insert(VERSION_KEY.to_owned(), MODERN[0].into());
        meta.insert(CAPABILITIES_KEY.to_owned(), session.capabilities().into());
        let params = json!({"_meta": meta});
        self.once("server/discover", &params, None, &Filter::default())
    }

    /// The result of the request with these parameters. A client with a handshake is asked on the way for what the agent wants of it.
    fn request(
        &self,
        mut params: Map<String, Value>,
        session: Option<Session>,
    ) -> Result<Map<String, Value>, RpcError> {
        let name = version::name(self.method, &params).map(str::to_owned);
        if name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(RpcError::Params("a name is longer than 4 KiB".to_owned()));
        }
        let bound = state::Bound {
            agent: &self.agent.address,
            caller: self.caller,
            method: self.method,
            name: name.as_deref().unwrap_or_default(),
        };
        input::judge(self.world, &bound, self.era, &mut params)?;
        let may_ask = MAY_ASK.contains(&self.method);
        let meta = self.meta(&mut params, session.filter(|_| may_ask))?;
        let filter = Filter::of(&meta);
        let can = meta.get(CAPABILITIES_KEY).and_then(Value::as_object);
        let can = can.cloned().unwrap_or_default();
        params.insert("_meta".to_owned(), meta.into());
        let mut params = Value::Object(params);
        for _ in 0..MOST_ROUNDS {
            let mut result = self.once(self.method, &params, name.as_deref(), &filter)?;
            match json::text(&result, "resultType").unwrap_or("complete") {
                "complete" => return Ok(result),
                "input_required" if may_ask => {}
                _ => return Err(odd("it answers by what this method has not")),
            }
            let wanted = Wanted::read(&mut result).map_err(odd)?;
            let missing = wanted.missing(&can);
            if !missing.is_empty() {
                return Err(RpcError::Capability(missing));
            }
            if self.era == Era::Modern {
                return wanted.into_result(self.world, &bound, result);
            }
            let responses = asking::ask(self.world, self.reply, &wanted)?;
            if responses.is_empty() && !self.world.pause(ROUND_MS) {
                break;
            }
            params["inputResponses"] = responses.into();
            // Of its last answer, whatever it said before.
            if let Some(params) = params.as_object_mut() {
                params.remove("requestState");
            }
            if let Some(state) = wanted.state() {
                params["requestState"] = state.into();
            }
        }
        Err(odd("it does not stop asking"))
    }

    /// What the agent is told of the client.
    fn meta(
        &self,
        params: &mut Map<String, Value>,
        session: Option<Session>,
    ) -> Result<Map<String, Value>, RpcError> {
        let mut meta = match params.remove("_meta") {
            Some(Value::Object(meta)) => meta,
            _ => Map::new(),
        };
        // A payment is the host's, and no agent's.
        meta.remove(x402::PAYMENT);
        if self.era == Era::Legacy {
            let session = session.unwrap_or_default();
            let level = session.level(self.world)?;
            meta.insert(VERSION_KEY.to_owned(), MODERN[0].into());
            meta.insert(CAPABILITIES_KEY.to_owned(), session.capabilities().into());
            meta.insert(said::LEVEL_KEY.to_owned(), level.into());
        }
        Ok(meta)
    }

    /// Asks the agent once.
    fn once(
        &self,
        method: &str,
        params: &Value,
        name: Option<&str>,
        filter: &Filter,
    ) -> Result<Map<String, Value>, RpcError> {
        let body = json!({"jsonrpc": "2.0", "id": answer::ID, "method": method, "params": params});
        let mut asked = Asked::host("POST", PATH.to_owned(), MOST_ANSWER)
            .with_body("application/json", body.to_string().into_bytes())
            .with("accept", "application/json, text/event-stream")
            .with(VERSION_HEADER, MODERN[0])
            .with(METHOD_HEADER, method);
        if let Some(name) = name {
            asked = asked.with(NAME_HEADER, version::encoded(name));
        }
        asked.authority = format!("{}{AGENTS}", self.agent.address);
        let mut reading = Reading::new(self.reply, filter);
        let ended = self.world.stream(&asked, &mut |piece| reading.take(piece));
        reading.end(ended, &self.agent.reference)
    }
}

/// What an agent did that it may not do.
fn odd(what: &'static str) -> RpcError {
    RpcError::Internal(format!("the agent's answer can not be used: {what}"))
}
