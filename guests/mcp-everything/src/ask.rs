//! Asking the client.

use serde_json::{Map, Value, json};

/// A question to the user, answered by a form.
pub fn form(message: &str, properties: Value) -> Value {
    let required: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    let schema = json!({"type": "object", "properties": properties, "required": required});
    form_with(message, &schema)
}

/// The same with the whole schema of the form.
pub fn form_with(message: &str, schema: &Value) -> Value {
    json!({
        "method": "elicitation/create",
        "params": {"message": message, "requestedSchema": schema},
    })
}

/// A question to the client's model.
pub fn model(prompt: &str, most: u32) -> Value {
    let content = json!({"type": "text", "text": prompt});
    json!({
        "method": "sampling/createMessage",
        "params": {"messages": [{"role": "user", "content": content}], "maxTokens": most},
    })
}

/// The folders that the client works in.
pub fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

/// The result that asks for something, and what is to come back beside it.
pub fn asking(requests: Value, state: Option<&str>) -> Value {
    let mut result = json!({"resultType": "input_required", "inputRequests": requests});
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    result
}

/// What was given under a name, where it is what was asked for: of a form what the user put in, if it did.
pub fn given<'a>(params: &'a Value, name: &str) -> Option<&'a Value> {
    let response = params["inputResponses"].get(name)?;
    match response.get("action") {
        Some(action) => (action == "accept").then(|| response.get("content"))?,
        None => Some(response),
    }
}

/// The text under a name of a form.
pub fn filled<'a>(params: &'a Value, name: &str, field: &str) -> Option<&'a str> {
    given(params, name)?.get(field)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_what_the_user_accepted() {
        let params = json!({"inputResponses": {
            "a": {"action": "accept", "content": {"name": "Ada"}},
            "b": {"action": "decline"},
            "c": {"roots": []},
        }});
        assert_eq!(filled(&params, "a", "name"), Some("Ada"));
        assert_eq!(filled(&params, "a", "other"), None);
        assert_eq!(given(&params, "b"), None);
        assert_eq!(given(&params, "c"), Some(&json!({"roots": []})));
        assert_eq!(given(&json!({}), "a"), None);
    }

    #[test]
    fn all_of_a_form_is_required() {
        let form = form("?", json!({"name": {"type": "string"}}));
        assert_eq!(
            form["params"]["requestedSchema"]["required"],
            json!(["name"])
        );
    }
}
