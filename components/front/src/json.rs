//! JSON from outside, as fronts read it.

use serde_json::{Map, Value};
use strict_json::Bounds;

/// Requests and answers nest no deeper than this and have no more values.
const BOUNDS: Bounds = Bounds {
    deepest: 64,
    most: 200_000,
};

/// Reads one JSON value and nothing behind it. The error holds nothing of the text.
pub fn parse(text: &[u8]) -> Result<Value, &'static str> {
    BOUNDS.parse(text)
}

/// Reads one JSON object.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, &'static str> {
    BOUNDS.object(text)
}

/// The text under a key, where it is text.
pub fn text<'a>(members: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    members.get(key).and_then(Value::as_str)
}
