//! The agents of the host, as everybody sees them.

use serde::de::DeserializeSeed;
use serde_json::{Map, Value, json};

use crate::error::Failure;
use crate::list::List;
use crate::outcome::words;
use crate::ports::{Answer, Asked, Ports};
use crate::{json, names, problem};

/// As much of a list of agents is read, and of one agent.
const MOST_LIST: usize = 32 * 1024 * 1024;
const MOST_AGENT: usize = 256 * 1024;
/// The longest description that a model is shown, in characters.
const LONGEST_DESCRIPTION: usize = 1024;

/// An agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The shortest name that means it.
    pub reference: String,
    /// The name that nobody else can have.
    pub address: String,
    /// Whether it is called by arguments and standard input.
    pub is_command: bool,
    /// What a call costs.
    pub price: Option<String>,
    description: String,
    tool: Option<Map<String, Value>>,
}

impl Listed {
    /// The one that the host describes so.
    pub fn read(agent: &Map<String, Value>) -> Option<Self> {
        let address = json::text(agent, "address").filter(|it| names::is_reference(it))?;
        let path = json::text(agent, "path").unwrap_or_default();
        let reference = path.strip_prefix("/agents/");
        let reference = reference.and_then(|rest| rest.strip_suffix('/'));
        let reference = reference.filter(|it| names::is_reference(it));
        Some(Self {
            reference: reference.unwrap_or(address).to_owned(),
            address: address.to_owned(),
            is_command: json::text(agent, "world") == Some("command"),
            price: json::text(agent, "price").map(|it| words(it, 100)),
            description: json::text(agent, "description")
                .unwrap_or_default()
                .to_owned(),
            tool: agent.get("tool").and_then(Value::as_object).cloned(),
        })
    }

    /// What its tool is called.
    pub fn tool_name(&self) -> Option<String> {
        names::tool(&self.reference)
    }

    /// Where its tool is asked, if it says what arguments that takes.
    pub fn tool_path(&self) -> Option<&str> {
        let tool = self.tool.as_ref()?;
        tool.get("input_schema").filter(|it| it.is_object())?;
        Some(json::text(tool, "path").unwrap_or("/"))
    }

    /// Its tool, as `tools/list` has it.
    pub fn as_tool(&self) -> Option<Value> {
        let own = self
            .tool
            .as_ref()
            .and_then(|tool| json::text(tool, "description"));
        let mut description = words(own.unwrap_or(&self.description), LONGEST_DESCRIPTION);
        if let Some(price) = &self.price {
            description = format!("{description} A call costs {price}.");
        }
        let schema = self.tool.as_ref().and_then(|tool| tool.get("input_schema"));
        let schema = match schema {
            Some(schema @ Value::Object(_)) => without_headers(schema.clone()),
            _ => json!({
                "type": "object",
                "properties": {"input": {"type": "string", "description": "What it is given to work on"}},
                "additionalProperties": false,
            }),
        };
        Some(json!({
            "name": self.tool_name()?,
            "title": words(&self.reference, 100),
            "description": description,
            "inputSchema": schema,
            "annotations": {"openWorldHint": true},
        }))
    }
}

/// A schema without what would have clients send arguments in headers too.
fn without_headers(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            if members.get("x-mcp-header").is_some_and(Value::is_string) {
                members.remove("x-mcp-header");
            }
            for member in members.values_mut() {
                *member = without_headers(member.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_headers(item.take());
            }
        }
        _ => {}
    }
    schema
}

/// The first public agents that `wants`, in the order of their addresses, `most` at most.
pub fn some(
    ports: &impl Ports,
    most: usize,
    wants: impl FnMut(&Listed) -> bool,
) -> Result<Vec<Listed>, Failure> {
    let answer = get(ports, "/agents".to_owned(), MOST_LIST)?;
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(&answer.body);
    let read = List {
        found: &mut found,
        most,
        wants,
    }
    .deserialize(&mut reader);
    let read = read.and_then(|()| reader.end());
    read.map_err(|_| Failure::Unreadable("it is no list of agents"))?;
    Ok(found)
}

/// The public agent with this reference.
pub fn one(ports: &impl Ports, reference: &str) -> Result<Listed, Failure> {
    let unknown = || Failure::NoAgent(words(reference, 128));
    if !names::is_reference(reference) {
        return Err(unknown());
    }
    let asked = Asked::host("GET", format!("/agents/{reference}"), MOST_AGENT);
    let answer = ports.send(&asked).map_err(Failure::Host)?;
    match answer.status {
        200 if answer.is_cut => Err(Failure::TooLong(MOST_AGENT)),
        200 => {
            let agent = json::object(&answer.body).ok();
            let agent = agent.as_ref().and_then(Listed::read);
            agent.ok_or(Failure::Unreadable("it is no agent"))
        }
        404 => Err(unknown()),
        _ => Err(problem::refusal(&answer)),
    }
}

fn get(ports: &impl Ports, target: String, limit: usize) -> Result<Answer, Failure> {
    let asked = Asked::host("GET", target, limit);
    let answer = ports.send(&asked).map_err(Failure::Host)?;
    match answer.status {
        200 if answer.is_cut => Err(Failure::TooLong(limit)),
        200 => Ok(answer),
        _ => Err(problem::refusal(&answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(agent: &Value) -> Option<Listed> {
        Listed::read(agent.as_object().unwrap())
    }

    #[test]
    fn an_agent_is_a_tool_by_its_shortest_reference() {
        let agent = json!({"name": "weather", "address": "weather.operator", "path": "/agents/weather/",
            "description": "Tells\nthe weather.", "world": "command", "price": "0.01 USDC"});
        let agent = listed(&agent).unwrap();
        assert!(agent.is_command);
        let tool = agent.as_tool().unwrap();
        assert_eq!(tool["name"], "weather");
        assert_eq!(
            tool["description"],
            "Tells the weather. A call costs 0.01 USDC."
        );
        assert_eq!(tool["inputSchema"]["properties"]["input"]["type"], "string");
        assert_eq!(agent.tool_path(), None);
    }

    #[test]
    fn an_agent_that_says_what_it_takes_is_listed_with_it() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string", "x-mcp-header": "City"}}});
        let agent = json!({"address": "a.operator", "path": "/agents/a/", "description": "A",
            "tool": {"description": "B", "path": "/city", "input_schema": schema}});
        let agent = listed(&agent).unwrap();
        let tool = agent.as_tool().unwrap();
        assert_eq!(tool["description"], "B");
        assert_eq!(
            tool["inputSchema"],
            json!({"type": "object", "properties": {"city": {"type": "string"}}})
        );
        assert_eq!(agent.tool_path(), Some("/city"));
    }

    #[test]
    fn what_has_no_address_is_no_agent() {
        for agent in [json!({}), json!({"address": 1}), json!({"address": "a/b"})] {
            assert_eq!(listed(&agent), None);
        }
        let odd = json!({"address": "a.operator", "path": "/agents/../x/"});
        assert_eq!(listed(&odd).unwrap().reference, "a.operator");
    }
}
