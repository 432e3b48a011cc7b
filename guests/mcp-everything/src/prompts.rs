//! Prompts, and what completes their arguments.

use serde_json::{Value, json};

use crate::Refusal;
use crate::ask::{asking, filled, form};
use crate::kinds::{image, resource, text};

/// What arguments are completed with.
const WORDS: [&str; 3] = ["test", "testing", "text"];

pub fn list() -> Value {
    let argument = |name: &str| json!({"name": name, "description": "For tests", "required": true});
    let prompt = |name: &str, arguments: Value| json!({"name": name, "description": "For tests", "arguments": arguments});
    json!([
        prompt("test_simple_prompt", json!([])),
        prompt(
            "test_prompt_with_arguments",
            json!([argument("arg1"), argument("arg2")])
        ),
        prompt(
            "test_prompt_with_embedded_resource",
            json!([argument("resourceUri")])
        ),
        prompt("test_prompt_with_image", json!([])),
        prompt("test_input_required_result_prompt", json!([])),
    ])
}

pub fn get(params: &Value) -> Result<Value, Refusal> {
    let argument = |name: &str| params["arguments"][name].as_str().unwrap_or_default();
    let contents = match params["name"].as_str().unwrap_or_default() {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => vec![text(format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            argument("arg1"),
            argument("arg2")
        ))],
        "test_prompt_with_embedded_resource" => vec![
            resource(
                argument("resourceUri"),
                "text/plain",
                "Embedded resource content for testing.",
            ),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => vec![image(), text("Please analyze the image above.")],
        "test_input_required_result_prompt" => match filled(params, "user_context", "context") {
            Some(context) => vec![text(format!("Prompt with context: {context}"))],
            None => {
                let properties = json!({"context": {"type": "string"}});
                let asked = form("What context should the prompt use?", properties);
                return Ok(asking(json!({"user_context": asked}), None));
            }
        },
        _ => return Err(Refusal::unknown("there is no such prompt", Value::Null)),
    };
    let said = |content: Value| json!({"role": "user", "content": content});
    let messages: Vec<Value> = contents.into_iter().map(said).collect();
    Ok(json!({"description": "For tests", "messages": messages}))
}

pub fn complete(params: &Value) -> Value {
    let begun = params["argument"]["value"].as_str().unwrap_or_default();
    let values: Vec<&str> = WORDS
        .into_iter()
        .filter(|it| it.starts_with(begun))
        .collect();
    json!({"completion": {"values": values, "total": values.len(), "hasMore": false}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_there() {
        for prompt in list().as_array().unwrap() {
            assert!(get(&json!({"name": prompt["name"]})).is_ok());
        }
        assert!(get(&json!({"name": "other"})).is_err());
    }

    #[test]
    fn an_argument_is_completed_with_what_begins_so() {
        let completed = complete(&json!({"argument": {"value": "test"}}));
        assert_eq!(
            completed["completion"]["values"],
            json!(["test", "testing"])
        );
    }
}
