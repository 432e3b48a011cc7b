//! Parameters of methods, whether they came as JSON or in a query.

use serde_json::{Map, Value};

use crate::error::A2aError;

/// Members that have another name in the protocol's definition, which ProtoJSON takes as well.
const NAMES: [(&str, &str); 13] = [
    ("accepted_output_modes", "acceptedOutputModes"),
    ("context_id", "contextId"),
    ("history_length", "historyLength"),
    ("include_artifacts", "includeArtifacts"),
    ("media_type", "mediaType"),
    ("message_id", "messageId"),
    ("page_size", "pageSize"),
    ("page_token", "pageToken"),
    ("reference_task_ids", "referenceTaskIds"),
    ("return_immediately", "returnImmediately"),
    ("status_timestamp_after", "statusTimestampAfter"),
    ("task_id", "taskId"),
    (
        "task_push_notification_config",
        "taskPushNotificationConfig",
    ),
];

/// Parameters by their names in JSON, whichever names a client took. What clients put into `data` and `metadata` stays as it is.
pub fn named(mut params: Map<String, Value>) -> Map<String, Value> {
    rename(&mut params);
    for name in ["message", "configuration"] {
        if let Some(Value::Object(members)) = params.get_mut(name) {
            rename(members);
            let parts = members.get_mut("parts").and_then(Value::as_array_mut);
            for part in parts.into_iter().flatten().filter_map(Value::as_object_mut) {
                rename(part);
            }
        }
    }
    params
}

fn rename(members: &mut Map<String, Value>) {
    for (defined, name) in NAMES {
        if let Some(value) = members.remove(defined) {
            members.entry(name).or_insert(value);
        }
    }
}

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
    fn members_may_have_the_names_of_the_definition() {
        let params = of(
            json!({"history_length": 1, "message": {"message_id": "m", "metadata": {"task_id": 1},
            "parts": [{"text": "a", "media_type": "text/plain"}, {"data": {"page_size": 1}}]}}),
        );
        let expected = of(
            json!({"historyLength": 1, "message": {"messageId": "m", "metadata": {"task_id": 1},
            "parts": [{"text": "a", "mediaType": "text/plain"}, {"data": {"page_size": 1}}]}}),
        );
        assert_eq!(named(params), expected);
        let both = of(json!({"historyLength": 1, "history_length": 2}));
        assert_eq!(named(both), of(json!({"historyLength": 1})));
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
