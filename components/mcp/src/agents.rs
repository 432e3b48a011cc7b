//! Tools about agents: finding them and calling them.

use front::agents::{Listed, is_target};
use front::error::WebError;
use front::ports::{AGENTS, Asked, Ports};
use front::words::words;
use front::{json, problem};
use serde_json::{Map, Value, json};

use crate::arguments::Arguments;
use crate::builtin::METHODS;
use crate::catalogue;
use crate::content;
use crate::error::Failure;
use crate::outcome::Outcome;
use crate::x402::{self, Payment};

/// The longest query and path, in bytes.
const LONGEST_QUERY: usize = 4 * 1024;
const LONGEST_PATH: usize = 8 * 1024;
const LONGEST_MEDIA_TYPE: usize = 200;
/// As many agents are found at most.
const MOST_FOUND: u32 = 20;
const MOST_ANSWER: usize = 1024 * 1024;

/// Finds agents: `search_agents`.
pub fn search(ports: &impl Ports, mut arguments: Arguments) -> Result<Outcome, Failure> {
    let query = arguments.required_text("query")?;
    arguments.end()?;
    if query.len() > LONGEST_QUERY {
        return Err(Failure::Argument("`query` is longer than 4 KiB".to_owned()));
    }
    let body = json!({"description": query, "limit": MOST_FOUND});
    let asked = Asked::host("POST", "/search".to_owned(), MOST_ANSWER);
    let asked = asked.with_body("application/json", body.to_string().into_bytes());
    let answer = ports.send(&asked).map_err(Failure::Host)?;
    if answer.status != 200 {
        return Err(Failure::Problem(problem::refusal(&answer)));
    }
    let found = json::object(&answer.body);
    let found = found.map_err(|_| Failure::Unreadable("it is no list of agents"))?;
    let found = found.get("agents").and_then(Value::as_array);
    let found = found.into_iter().flatten().filter_map(Value::as_object);
    let found: Vec<Map<String, Value>> = found.map(shown).collect();
    let line = |agent: &Map<String, Value>| {
        let text = |name| json::text(agent, name).unwrap_or_default();
        let price = match json::text(agent, "price") {
            Some(price) => format!(" ({price} a call)"),
            None => String::new(),
        };
        format!("{}: {}{price}\n", text("address"), text("description"))
    };
    let text: String = found.iter().map(line).collect();
    let text = if text.is_empty() {
        "no agent found".to_owned()
    } else {
        text
    };
    let mut members = Map::new();
    members.insert("agents".to_owned(), json!(found));
    Ok(Outcome::text(text).with_structured(members))
}

/// What is told of an agent that was found.
fn shown(agent: &Map<String, Value>) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in ["name", "address", "description", "version", "price"] {
        if let Some(text) = json::text(agent, name) {
            shown.insert(name.to_owned(), words(text, 1024).into());
        }
    }
    if let Some(deployed @ Value::Bool(_)) = agent.get("deployed") {
        shown.insert("deployed".to_owned(), deployed.clone());
    }
    shown
}

/// Calls one: `call_agent`.
pub fn call(
    ports: &impl Ports,
    mut arguments: Arguments,
    payment: Option<&Payment>,
) -> Result<Outcome, Failure> {
    let reference = arguments.required_text("agent")?;
    let input = arguments.take("input");
    let target = arguments.text("path")?.unwrap_or_else(|| "/".to_owned());
    let method = arguments.text("method")?;
    let media_type = arguments.text("content_type")?;
    arguments.end()?;
    let wrong = |what: &str| Err(Failure::Argument(what.to_owned()));
    let (is_json, body) = match input {
        None => (false, None),
        Some(Value::String(text)) => (false, Some(text.into_bytes())),
        Some(value @ (Value::Object(_) | Value::Array(_))) => {
            (true, Some(value.to_string().into_bytes()))
        }
        Some(_) => return wrong("`input` has to be text, an object or an array"),
    };
    let default = if body.is_some() { "POST" } else { "GET" };
    let method = method
        .unwrap_or_else(|| default.to_owned())
        .to_ascii_uppercase();
    if !METHODS.contains(&&*method) {
        return wrong("`method` has to be GET, POST, PUT, PATCH or DELETE");
    }
    if !is_target(&target, LONGEST_PATH) {
        return wrong(
            "`path` has to begin with / and hold visible ASCII alone, at most 8 KiB and no #",
        );
    }
    let media_type = media_type.unwrap_or_else(|| plain_or_json(is_json).to_owned());
    let is_visible = |b: u8| b.is_ascii_graphic() || b == b' ';
    if media_type.len() > LONGEST_MEDIA_TYPE || !media_type.bytes().all(is_visible) {
        return wrong("`content_type` has to be a media type");
    }
    let agent = front::agents::one(ports, &reference)?;
    send(
        ports,
        &agent,
        (&method, target),
        (&media_type, body),
        payment,
    )
}

/// Calls one as the tool that it is.
pub fn call_as_tool(
    ports: &impl Ports,
    agent: &Listed,
    mut arguments: Arguments,
    payment: Option<&Payment>,
) -> Result<Outcome, Failure> {
    let (target, media_type, body) = match agent.tool_path() {
        Some(path) if is_target(path, LONGEST_PATH) => {
            let body = Value::Object(arguments.into_members()).to_string();
            (path.to_owned(), plain_or_json(true), body)
        }
        Some(_) => return Err(Failure::Unreadable("the agent's tool has no path")),
        None => {
            let input = arguments.text("input")?.unwrap_or_default();
            arguments.end()?;
            ("/".to_owned(), plain_or_json(false), input)
        }
    };
    let body = Some(body.into_bytes());
    send(ports, agent, ("POST", target), (media_type, body), payment)
}

fn plain_or_json(is_json: bool) -> &'static str {
    match is_json {
        true => "application/json",
        false => "text/plain; charset=utf-8",
    }
}

/// A payment goes along where the host sells the call, and then the agent never sees it. One without a price would be given the money.
fn send(
    ports: &impl Ports,
    agent: &Listed,
    (method, target): (&str, String),
    (media_type, body): (&str, Option<Vec<u8>>),
    payment: Option<&Payment>,
) -> Result<Outcome, Failure> {
    let uri = format!("agent://{}{target}", agent.address);
    let mut asked = Asked::host(method, target, content::MOST_ANSWER);
    asked.authority = format!("{}{AGENTS}", agent.address);
    if let Some(body) = body {
        asked = asked.with_body(media_type, body);
    }
    let is_sold = agent.price.is_some();
    let answer = match is_sold {
        true => problem::send_paid(ports, &Payment::on(payment, asked)),
        false => ports.send(&asked),
    };
    let answer = answer.map_err(|error| match error {
        WebError::NotFound => Failure::NoAgent(agent.reference.clone()),
        error => Failure::Agent(error),
    })?;
    if is_sold
        && let Some(tool) = catalogue::tool_name(agent)
        && let Some(demand) = x402::demanded(&answer, &tool)
    {
        return Ok(demand);
    }
    let outcome = content::outcome(&answer, &uri);
    Ok(if is_sold {
        x402::settled(&answer, outcome)
    } else {
        outcome
    })
}
