//! Tools.

use serde_json::{Map, Value, json};

use crate::ask::{asking, filled, form, form_with, given, model, roots};
use crate::kinds::{audio, image, resource, text};
use crate::{Answer, Refusal};

/// Names and what they take, apart from those that take nothing.
const PLAIN: [&str; 22] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_error_handling",
    "test_tool_with_progress",
    "test_tool_with_logging",
    "test_logging_tool",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_tampered_state",
    "test_input_required_result_capabilities",
    "test_structured",
];

pub fn list() -> Value {
    let tool = |name: &str, schema: Value| json!({"name": name, "description": "For tests", "inputSchema": schema});
    let takes = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "required": [name]});
    let mut tools: Vec<Value> = PLAIN
        .into_iter()
        .map(|name| tool(name, json!({"type": "object", "properties": {}})))
        .collect();
    tools.push(tool("test_sampling", takes("prompt")));
    tools.push(tool("test_elicitation", takes("message")));
    tools.push(tool("json_schema_2020_12_tool", full_schema()));
    tools.into()
}

pub fn call(params: &Value) -> Answer {
    let argument = |name: &str| params["arguments"][name].as_str().unwrap_or_default();
    let says = |said: &str| result(vec![text(said)]);
    match params["name"].as_str().unwrap_or_default() {
        "test_simple_text" => says("This is a simple text response for testing."),
        "test_image_content" => result(vec![image()]),
        "test_audio_content" => result(vec![audio()]),
        "test_embedded_resource" => result(vec![resource(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        )]),
        "test_multiple_content_types" => result(vec![
            text("Multiple content types test:"),
            image(),
            resource(
                "test://mixed-content-resource",
                "application/json",
                r#"{"test":"data","value":123}"#,
            ),
        ]),
        "test_structured" => {
            json!({"content": [text("7")], "structuredContent": {"number": 7}}).into()
        }
        "test_error_handling" => {
            let why = "This tool intentionally returns an error for testing";
            json!({"content": [text(why)], "isError": true}).into()
        }
        "test_tool_with_progress" => Answer {
            on_the_way: [0, 50, 100].into_iter().map(progress).collect(),
            result: Ok(json!({"content": [text("done")]})),
        },
        "test_tool_with_logging" | "test_logging_tool" => Answer {
            on_the_way: vec![
                logged("Tool execution started"),
                logged("Tool processing data"),
                logged("Tool execution completed"),
            ],
            result: Ok(json!({"content": [text("Tool with logging executed successfully")]})),
        },
        "test_streaming_elicitation" => Answer {
            on_the_way: vec![progress(50)],
            ..asks(
                params,
                "user_name",
                form("What is your name?", json!({"name": {"type": "string"}})),
            )
        },
        "test_missing_capability" | "test_input_required_result_sampling" => asks(
            params,
            "capital_question",
            model("What is the capital of France?", 100),
        ),
        "test_sampling" => asks(params, "answer", model(argument("prompt"), 100)),
        "test_elicitation" => {
            let properties =
                json!({"response": {"type": "string", "description": "User's response"}});
            asks(params, "answer", form(argument("message"), properties))
        }
        "test_elicitation_sep1034_defaults" => asks(
            params,
            "answer",
            form_with("Please review the defaults", &defaults()),
        ),
        "test_elicitation_sep1330_enums" => {
            asks(params, "answer", form_with("Please select", &enums()))
        }
        "test_input_required_result_elicitation" => match filled(params, "user_name", "name") {
            Some(name) => says(&format!("Hello, {name}!")),
            None => asking(json!({"user_name": name()}), None).into(),
        },
        "test_input_required_result_list_roots" => asks(params, "client_roots", roots()),
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => confirmed(params),
        "test_input_required_result_multiple_inputs" => several(params),
        "test_input_required_result_multi_round" => rounds(params),
        "test_input_required_result_capabilities" => what_it_can(params),
        "json_schema_2020_12_tool" => says(&params["arguments"].to_string()),
        _ => Answer {
            on_the_way: Vec::new(),
            result: Err(Refusal::unknown("there is no such tool", Value::Null)),
        },
    }
}

fn result(content: Vec<Value>) -> Answer {
    json!({"content": content}).into()
}

fn progress(value: u32) -> Value {
    // The front writes what the progress is of.
    let params = json!({"progressToken": 0, "progress": value, "total": 100, "message": format!("step {value} of 100")});
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
}

fn logged(data: &str) -> Value {
    let params = json!({"level": "info", "logger": "everything", "data": data});
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
}

/// Asks for one thing, and tells what was answered.
fn asks(params: &Value, name: &str, request: Value) -> Answer {
    match params["inputResponses"].get(name) {
        Some(response) => result(vec![text(format!("answered: {response}"))]),
        None => asking(json!({name: request}), None).into(),
    }
}

fn name() -> Value {
    form("What is your name?", json!({"name": {"type": "string"}}))
}

/// Asks to confirm, and goes on with the state that it gave away.
fn confirmed(params: &Value) -> Answer {
    let is_ok = given(params, "confirm").is_some_and(|it| it["ok"] == true);
    if is_ok && params["requestState"] == "to be confirmed" {
        return result(vec![text("state-ok: requestState validated")]);
    }
    let asked = form("Please confirm", json!({"ok": {"type": "boolean"}}));
    asking(json!({"confirm": asked}), Some("to be confirmed")).into()
}

/// Asks for three things at once.
fn several(params: &Value) -> Answer {
    let all = [
        given(params, "user_name"),
        given(params, "greeting"),
        given(params, "client_roots"),
    ];
    if let [Some(name), Some(greeting), Some(roots)] = all {
        let said = format!(
            "{} {} {}",
            name["name"], greeting["content"]["text"], roots["roots"]
        );
        return result(vec![text(said)]);
    }
    let requests = json!({
        "user_name": name(),
        "greeting": model("Generate a greeting", 50),
        "client_roots": roots(),
    });
    asking(requests, Some("three")).into()
}

/// Asks twice, and carries the first answer over.
fn rounds(params: &Value) -> Answer {
    let state = params["requestState"].as_str().unwrap_or_default();
    if let (Some(name), Some(color)) = (
        state.strip_prefix("name="),
        filled(params, "step2", "color"),
    ) {
        return result(vec![text(format!("{name} likes {color}"))]);
    }
    if let ("begun", Some(name)) = (state, filled(params, "step1", "name")) {
        let properties = json!({"color": {"type": "string"}});
        let asked = form("Step 2: What is your favorite color?", properties);
        return asking(json!({"step2": asked}), Some(&format!("name={name}"))).into();
    }
    let asked = form(
        "Step 1: What is your name?",
        json!({"name": {"type": "string"}}),
    );
    asking(json!({"step1": asked}), Some("begun")).into()
}

/// Asks for whatever the client can be asked for.
fn what_it_can(params: &Value) -> Answer {
    let can = &params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    let kinds = [
        ("elicitation", "user_name", name()),
        ("sampling", "greeting", model("Generate a greeting", 50)),
    ];
    let able = kinds
        .into_iter()
        .filter(|(kind, ..)| can[*kind].is_object());
    let requests: Map<String, Value> = able.map(|(_, name, it)| (name.to_owned(), it)).collect();
    let is_answered = requests.keys().all(|name| given(params, name).is_some());
    match is_answered {
        true => result(vec![text("nothing more to ask")]),
        false => asking(requests.into(), None).into(),
    }
}

fn defaults() -> Value {
    json!({"type": "object", "required": [], "properties": {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Verification status", "default": true},
    }})
}

fn enums() -> Value {
    let titled = |value: &str, title: &str| json!({"const": value, "title": title});
    let single = [
        titled("value1", "First Option"),
        titled("value2", "Second Option"),
        titled("value3", "Third Option"),
    ];
    let multi = [
        titled("value1", "First Choice"),
        titled("value2", "Second Choice"),
        titled("value3", "Third Choice"),
    ];
    let options = json!(["option1", "option2", "option3"]);
    json!({"type": "object", "required": [], "properties": {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": single},
        "legacyEnum": {
            "type": "string", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "enum": options},
        },
        "titledMulti": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"anyOf": multi}},
    }})
}

/// A schema with more of JSON Schema than most have.
fn full_schema() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": text(), "city": text()},
        }},
        "properties": {
            "name": text(),
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": text(),
            "email": text(),
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(params: Value) -> Value {
        call(&params).result.ok().unwrap()
    }

    #[test]
    fn what_is_listed_is_there() {
        for tool in list().as_array().unwrap() {
            let params = json!({"name": tool["name"], "arguments": {}});
            assert!(call(&params).result.is_ok(), "{tool}");
        }
        assert!(call(&json!({"name": "other"})).result.is_err());
    }

    #[test]
    fn an_answer_of_the_first_round_is_carried_over_to_the_last() {
        let name = "test_input_required_result_multi_round";
        let form = |key: &str, field: &str, value: &str| json!({key: {"action": "accept", "content": {field: value}}});
        let first = called(json!({"name": name}));
        let second = called(json!({"name": name, "requestState": first["requestState"],
            "inputResponses": form("step1", "name", "Ada")}));
        let last = called(json!({"name": name, "requestState": second["requestState"],
            "inputResponses": form("step2", "color", "blue")}));
        assert_eq!(last["content"][0]["text"], "Ada likes blue");
    }

    #[test]
    fn a_client_is_asked_for_what_it_can() {
        let name = "test_input_required_result_capabilities";
        let meta = json!({"io.modelcontextprotocol/clientCapabilities": {"sampling": {}}});
        let asked = called(json!({"name": name, "_meta": meta}));
        assert!(asked["inputRequests"]["user_name"].is_null());
        assert!(asked["inputRequests"]["greeting"].is_object());
    }
}
