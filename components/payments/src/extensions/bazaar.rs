//! `bazaar`: how a resource is called, for whoever makes lists of what can be bought.

use serde_json::{Map, Value, json};

use crate::offer::Resource;

/// The extension.
pub const NAME: &str = "bazaar";

/// Methods whose requests have no body, and those whose requests have one. Others cannot be declared.
const BODILESS: [&str; 3] = ["GET", "HEAD", "DELETE"];
const WITH_BODY: [&str; 3] = ["POST", "PUT", "PATCH"];

/// How it is called; `None` where that is not known.
pub fn input(resource: &Resource) -> Option<Value> {
    let method = resource.method()?;
    if BODILESS.contains(&method) {
        return Some(json!({"type": "http", "method": method}));
    }
    let has_body = WITH_BODY.contains(&method);
    has_body.then(|| json!({"type": "http", "method": method, "bodyType": "json", "body": {}}))
}

/// What comes back, in the extension's one word for it.
fn output(resource: &Resource) -> Option<Value> {
    let media_type = resource.mime_type()?;
    let word = match media_type {
        json if json == "application/json" || json.ends_with("+json") => "json",
        text if text.starts_with("text/") => "text",
        _ => "binary",
    };
    Some(json!({"type": word, "format": media_type}))
}

/// What a challenge declares.
pub fn declared(resource: &Resource) -> Option<Value> {
    let input = input(resource)?;
    let mut known = json!({
        "type": {"type": "string", "const": "http"},
        "method": {"type": "string", "enum": [resource.method()]},
    });
    let mut required = vec!["type", "method"];
    if let (Some(known), true) = (known.as_object_mut(), input.get("body").is_some()) {
        known.insert(
            "bodyType".to_owned(),
            json!({"type": "string", "enum": ["json"]}),
        );
        known.insert("body".to_owned(), json!({"type": "object"}));
        required.extend(["bodyType", "body"]);
    }
    let mut info = Map::new();
    info.insert("input".to_owned(), input);
    info.extend(output(resource).map(|output| ("output".to_owned(), output)));
    Some(json!({
        "info": info,
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "input": {
                    "type": "object",
                    "properties": known,
                    "required": required,
                    "additionalProperties": false,
                },
                "output": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}, "format": {"type": "string"}},
                    "required": ["type"],
                },
            },
            "required": ["input"],
        },
    }))
}
