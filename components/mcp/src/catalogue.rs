//! Agents of the host as tools.

use front::agents::Listed;
use front::json;
use front::words::words;
use serde_json::{Value, json};

use crate::names;

/// The longest description that a model is shown, in characters.
const LONGEST_DESCRIPTION: usize = 1024;

/// What an agent's tool is called.
pub fn tool_name(agent: &Listed) -> Option<String> {
    names::tool(&agent.reference)
}

/// An agent's tool, as `tools/list` has it.
pub fn as_tool(agent: &Listed) -> Option<Value> {
    let tool = agent.tool.as_ref();
    let own = tool.and_then(|tool| json::text(tool, "description"));
    let mut description = words(own.unwrap_or(&agent.description), LONGEST_DESCRIPTION);
    if let Some(price) = &agent.price {
        description = format!("{description} A call costs {price}.");
    }
    let schema = match tool.and_then(|tool| tool.get("input_schema")) {
        Some(schema @ Value::Object(_)) => without_headers(schema.clone()),
        _ => json!({
            "type": "object",
            "properties": {"input": {"type": "string", "description": "What it is given to work on"}},
            "additionalProperties": false,
        }),
    };
    Some(json!({
        "name": tool_name(agent)?,
        "title": words(&agent.reference, 100),
        "description": description,
        "inputSchema": schema,
        "annotations": {"openWorldHint": true},
    }))
}

/// A schema without what would have clients send arguments in headers too.
pub fn without_headers(mut schema: Value) -> Value {
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
        let tool = as_tool(&agent).unwrap();
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
        let tool = as_tool(&agent).unwrap();
        assert_eq!(tool["description"], "B");
        assert_eq!(
            tool["inputSchema"],
            json!({"type": "object", "properties": {"city": {"type": "string"}}})
        );
        assert_eq!(agent.tool_path(), Some("/city"));
    }
}
