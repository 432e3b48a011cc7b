//! Parameters of methods, whether they came as JSON or in a query.

use serde_json::{Map, Value};

use crate::error::A2aError;

fn wrong(name: &str, what: &str) -> A2aError {
    A2aError::Params(format!("`{name}` {what}"))
}

/// A text; none where it is missing or empty.
pub fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, A2aError> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(&**text).filter(|text| !text.is_empty())),
        Some(_) => Err(wrong(name, "has to be text")),
    }
}

/// The id of a task.
pub fn id(params: &Map<String, Value>) -> Result<&str, A2aError> {
    text(params, "id")?.ok_or_else(|| wrong("id", "is missing"))
}

/// A flag; false where it is missing.
pub fn flag(params: &Map<String, Value>, name: &str) -> Result<bool, A2aError> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(_) => Err(wrong(name, "has to be true or false")),
    }
}

/// A whole number.
pub fn number(params: &Map<String, Value>, name: &str) -> Result<Option<i64>, A2aError> {
    let number = match params.get(name) {
        None | Some(Value::Null) => return Ok(None),
        // ProtoJSON takes numbers as text too, and in a query everything is text.
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
    };
    let number = number.filter(|number| i32::try_from(*number).is_ok());
    number
        .map(Some)
        .ok_or_else(|| wrong(name, "has to be a whole number"))
}

/// How many messages of the history are wanted; none where all are.
pub fn history(params: &Map<String, Value>) -> Result<Option<usize>, A2aError> {
    match number(params, "historyLength")? {
        None => Ok(None),
        Some(number) => match usize::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong("historyLength", "has to be 0 or more")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn numbers_and_flags_may_be_text() {
        let params = of(json!({"historyLength": "3", "includeArtifacts": "true"}));
        assert_eq!(history(&params), Ok(Some(3)));
        assert_eq!(flag(&params, "includeArtifacts"), Ok(true));
    }

    #[test]
    fn what_is_none_is_named() {
        for value in [
            json!(-1),
            json!("x"),
            json!(1.5),
            json!(true),
            json!(1_i64 << 40),
        ] {
            assert!(history(&of(json!({"historyLength": value}))).is_err());
        }
        assert!(flag(&of(json!({"a": 1})), "a").is_err());
        assert!(id(&of(json!({}))).is_err() && id(&of(json!({"id": 1}))).is_err());
    }
}
