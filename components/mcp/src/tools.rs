//! `tools/list` and `tools/call`.

use std::collections::BTreeSet;

use front::agents::Listed;
use front::error::HostError;
use front::json;
use front::ports::Ports;
use front::words::words;
use serde_json::{Map, Value};

use crate::arguments::Arguments;
use crate::builtin::Builtin;
use crate::error::{Failure, RpcError};
use crate::message::Request;
use crate::outcome::Outcome;
use crate::run::{self, Kind};
use crate::settings::Settings;
use crate::x402;
use crate::{agents, catalogue, names};

/// The tools: those of the front's own, and then agents by their addresses, as many as the operator lists.
pub fn list(ports: &impl Ports, settings: &Settings) -> Vec<Value> {
    let mut tools: Vec<Value> = settings.tools.iter().map(|tool| tool.listed()).collect();
    if settings.agent_tools == 0 {
        return tools;
    }
    let mut seen = BTreeSet::new();
    let is_first =
        |agent: &Listed| catalogue::tool_name(agent).is_some_and(|name| seen.insert(name));
    // A list that can not be read leaves the rest as it is: agents are found by search_agents too.
    let agents = front::agents::some(ports, settings.agent_tools, is_first);
    tools.extend(
        agents
            .unwrap_or_default()
            .iter()
            .filter_map(catalogue::as_tool),
    );
    tools
}

/// Calls a tool. What goes wrong in it is a result; an error says that there is none of that name, or that the request is not one.
pub fn call(
    ports: &impl Ports,
    settings: &Settings,
    request: &mut Request,
) -> Result<Outcome, RpcError> {
    let payment = x402::payment(request.meta())?;
    let payment = payment.as_ref();
    let params = &mut request.params;
    let arguments = match params.remove("arguments") {
        None => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        Some(_) => {
            return Err(RpcError::Params(
                "`arguments` has to be an object".to_owned(),
            ));
        }
    };
    let arguments = Arguments::new(arguments);
    let name = json::text(params, "name");
    let name = name.ok_or_else(|| RpcError::Params("`name` has to be text".to_owned()))?;
    let tool = Builtin::named(name).filter(|tool| settings.tools.contains(tool));
    let run = |kind, arguments: Arguments| {
        let run = arguments.into_run(kind)?;
        run::run(ports, run, payment, name)
    };
    let outcome = match tool {
        Some(Builtin::RunPython) => run(Kind::Python, arguments),
        Some(Builtin::RunJavascript) => run(Kind::Javascript, arguments),
        Some(Builtin::RunWasm) => run(Kind::Wasm, arguments),
        Some(Builtin::SearchAgents) => agents::search(ports, arguments),
        Some(Builtin::CallAgent) => agents::call(ports, arguments, payment),
        None => {
            let agent = agent(ports, settings, name)?;
            agents::call_as_tool(ports, &agent, arguments, payment)
        }
    };
    Ok(outcome.unwrap_or_else(Outcome::from))
}

/// The agent whose tool has this name.
fn agent(ports: &impl Ports, settings: &Settings, name: &str) -> Result<Listed, RpcError> {
    let unknown = || RpcError::Params(format!("Unknown tool: {}", words(name, 128)));
    if settings.agent_tools == 0 {
        return Err(unknown());
    }
    let is_it = |agent: &Listed| catalogue::tool_name(agent).as_deref() == Some(name);
    let found = match names::reference(name) {
        Some(reference) => match front::agents::one(ports, &reference) {
            Ok(agent) => Some(agent).filter(is_it),
            Err(HostError::NoAgent(_)) => None,
            Err(error) => return Err(RpcError::Internal(Failure::from(error).to_string())),
        },
        None => None,
    };
    if let Some(agent) = found {
        return Ok(agent);
    }
    if !names::may_be_cut(name) {
        return Err(unknown());
    }
    let found = front::agents::some(ports, 1, is_it);
    let found = found.map_err(|error| RpcError::Internal(Failure::from(error).to_string()))?;
    found.into_iter().next().ok_or_else(unknown)
}
