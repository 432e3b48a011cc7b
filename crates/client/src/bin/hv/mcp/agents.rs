//! Agents: found, told as tools, and called.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use hypervisor_client::Error;
use hypervisor_client::agents::Reference;
use hypervisor_client::protocol::{AgentInfo, AgentWorld};
use rmcp::model::{CallToolResult, Tool};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::arguments::{Given, Message};
use super::jobs::{Command, Service};
use super::{answer, tools};
use crate::agents::{is_unknown, own};
use crate::call::uri;
use crate::desk::{Desk, Trouble};
use crate::output::agent::found;

/// What the names of tools that stand for agents begin with.
pub(super) const PREFIX: &str = "agent_";
/// Longest name of a tool that AI programs take.
const LONGEST: usize = 64;
/// Most agents that are told as tools: a model reads all of them each time.
const MOST: usize = 64;
/// Most agents that a search gives.
const FOUND: u32 = 10;
/// How long the host is waited for when tools are listed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The public agents, by the names of their tools; in the order of their addresses, the first [`MOST`].
pub(super) async fn listed(desk: &Desk) -> Result<BTreeMap<String, AgentInfo>, Trouble> {
    let list = async { Ok::<_, Trouble>(desk.client().await?.agents().await?) };
    let Ok(list) = tokio::time::timeout(PATIENCE, list).await else {
        let seconds = PATIENCE.as_secs();
        return Err(Trouble::Arguments(format!(
            "the host said nothing for {seconds} s"
        )));
    };
    let mut agents = list?.agents;
    agents.sort_by(|one, other| one.address.cmp(&other.address));
    agents.truncate(MOST);
    Ok(agents
        .into_iter()
        .map(|info| (tool_name(&info), info))
        .collect())
}

/// The tools that stand for them.
pub(super) async fn listed_tools(desk: &Desk) -> Result<Vec<Tool>, Trouble> {
    let agents = listed(desk).await?;
    Ok(agents
        .into_iter()
        .map(|(name, info)| tools::agent(name, &info))
        .collect())
}

/// `agent_weather`; with the beginning of the owner's id where the bare name is somebody else's.
fn tool_name(info: &AgentInfo) -> String {
    let bare = format!("/agents/{}/", info.name);
    let owner = info.address.rsplit('.').next().unwrap_or_default();
    let owner = owner.get(..8).unwrap_or(owner);
    let name = match info.path == bare {
        true => format!("{PREFIX}{}", info.name),
        false => format!("{PREFIX}{}_{owner}", info.name),
    };
    if name.len() <= LONGEST {
        return name;
    }
    let digest = Sha256::digest(info.address.as_bytes());
    let digest = const_hex::encode(digest.get(..4).unwrap_or_default());
    let first = name.get(..LONGEST - digest.len() - 1).unwrap_or_default();
    format!("{first}_{digest}")
}

/// What agents match a query.
pub(super) async fn search(desk: &Desk, query: &str) -> Result<CallToolResult, Trouble> {
    let client = desk.client().await?;
    let answer = client.search(query, Some(FOUND)).await?;
    let mut text = answer.message.clone().into_bytes();
    if !answer.agents.is_empty() {
        text.clear();
        let written = found(&mut text, &answer.agents);
        written.map_err(|error| Trouble::Arguments(error.to_string()))?;
    }
    let agents = serde_json::json!({ "agents": answer.agents });
    Ok(answer::of_text(
        String::from_utf8_lossy(&text).into_owned(),
        agents,
    ))
}

/// Calls the agent that a tool stands for, by its address: nobody else can have that.
pub(super) async fn call_tool(
    desk: &Desk,
    tool: &str,
    message: Message,
) -> Result<CallToolResult, Trouble> {
    let agents = listed(desk).await?;
    let Some(info) = agents.get(tool) else {
        return Err(Trouble::Arguments(format!(
            "the host has no agent for the tool {tool} any more: list the tools again, or find one with search_agents"
        )));
    };
    call_known(desk, info, info.address.parse()?, message).await
}

/// Calls an agent by its name or address.
pub(super) async fn call(
    desk: &Desk,
    agent: Reference,
    message: Message,
) -> Result<CallToolResult, Trouble> {
    let info = match desk.client().await?.agent(&agent).await {
        Ok(info) => info,
        Err(error) if is_unknown(&error) => private(desk, &agent).await?,
        Err(error) => return Err(error.into()),
    };
    call_known(desk, &info, agent, message).await
}

/// An agent of the owner's that nobody else knows of.
async fn private(desk: &Desk, agent: &Reference) -> Result<AgentInfo, Trouble> {
    let info = match desk.owner() {
        Some(owner) => own(desk.session().await?.as_ref(), agent, owner).await?,
        None => None,
    };
    info.ok_or_else(|| {
        Trouble::Arguments(format!(
            "the host has no agent {agent}, or none that it tells of: search_agents finds agents"
        ))
    })
}

async fn call_known(
    desk: &Desk,
    info: &AgentInfo,
    agent: Reference,
    message: Message,
) -> Result<CallToolResult, Trouble> {
    let owner = desk.owner();
    let called = match info.world {
        AgentWorld::Command => {
            let given = given(message)?;
            let job = Command {
                agent,
                given,
                owner,
            };
            let (execution, payment) = priced(desk.run(&job).await, info)?;
            answer::of_run(&execution, payment.as_ref())
        }
        AgentWorld::Service => {
            let request = request(message)?;
            let job = Service {
                agent,
                request,
                owner,
            };
            let (answer, payment) = priced(desk.run(&job).await, info)?;
            answer::of_service(&answer, payment.as_ref())
        }
    };
    Ok(called)
}

/// The price, where nobody pays it.
fn priced<T>(done: Result<T, Trouble>, info: &AgentInfo) -> Result<T, Trouble> {
    match (done, &info.price) {
        (Err(Trouble::Failed(crate::Failure::Client(Error::PaymentDemanded(_)))), Some(price)) => {
            Err(Trouble::Price {
                price: price.clone(),
            })
        }
        (done, _) => done,
    }
}

/// What a command is given.
fn given(message: Message) -> Result<Given, Trouble> {
    let Message {
        input,
        path,
        method,
        content_type,
        args,
    } = message;
    if path.is_some() || method.is_some() || content_type.is_some() {
        return Err(Trouble::Arguments(
            "this agent is a command: it takes `input` and `args`, and no path, method or content_type".to_owned(),
        ));
    }
    Ok(Given {
        stdin: input.map(|input| text(input).0),
        args: args.unwrap_or_default(),
    })
}

/// What a service is sent.
fn request(message: Message) -> Result<Request<Vec<u8>>, Trouble> {
    let Message {
        input,
        path,
        method,
        content_type,
        args,
    } = message;
    if args.is_some_and(|args| !args.is_empty()) {
        return Err(Trouble::Arguments(
            "this agent is a service: it takes `path`, `method`, `input` and `content_type`, and no args".to_owned(),
        ));
    }
    let has_input = input.is_some();
    let (body, usual) = input.map(text).unwrap_or_default();
    let mut request = Request::new(body.into_bytes());
    *request.uri_mut() = uri(path.as_deref().unwrap_or("/"))?;
    *request.method_mut() = match method {
        Some(method) => Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| Trouble::Arguments(format!("{method:?} is not an HTTP method")))?,
        None if has_input => Method::POST,
        None => Method::GET,
    };
    if has_input || content_type.is_some() {
        let value = content_type.as_deref().unwrap_or(usual);
        let value = HeaderValue::from_str(value)
            .map_err(|_| Trouble::Arguments(format!("{value:?} is not a media type")))?;
        request.headers_mut().insert(CONTENT_TYPE, value);
    }
    Ok(request)
}

/// An input as it is sent, and its media type where none is given. Models write JSON as text, too.
fn text(input: Value) -> (String, &'static str) {
    const JSON: &str = "application/json";
    let Value::String(text) = input else {
        return (input.to_string(), JSON);
    };
    let is_structured = text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
    match is_structured {
        true => (text, JSON),
        false => (text, "text/plain; charset=utf-8"),
    }
}

#[cfg(test)]
mod tests;
