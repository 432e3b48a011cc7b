//! JSON from outside: headers of clients, answers of facilitators and chains, the operator's settings. What is passed on is written anew
//! from what was read here.

use serde_json::{Map, Value};
use strict_json::Bounds;

/// Nothing of x402 nests so deep, and what is read is short: a header, or an answer of a bounded length.
const BOUNDS: Bounds = Bounds {
    deepest: 24,
    most: u32::MAX,
};

/// Reads one JSON object. The error is for people and holds nothing of the text.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, &'static str> {
    BOUNDS.object(text)
}

/// The text under `key`; null counts as absent, another type is an error.
pub fn optional_text<'a>(
    object: &'a Map<String, Value>,
    key: &'static str,
) -> Result<Option<&'a str>, &'static str> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(key),
    }
}
