//! A message as the request that an agent gets: plain services and commands know nothing of this protocol.

use front::agents::{Listed, is_target};
use front::fields::essence;
use front::ports::{AGENTS, Asked};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use crate::message::{Message, bytes};

/// The media type of a message as it is.
pub const MESSAGE: &str = "application/a2a+json";
/// The longest path of an agent's.
const LONGEST_PATH: usize = 8 * 1024;
/// What no header holds, and the sign that stands for it.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
/// As many media types are asked for at most.
const MOST_TYPES: usize = 16;

/// The ids that an agent is told, in header fields.
pub struct Told<'a> {
    /// The task.
    pub task: &'a str,
    /// The context.
    pub context: &'a str,
    /// The media types that the client takes.
    pub modes: &'a [String],
}

/// The request with a message to an agent.
pub fn request(agent: &Listed, message: &Message, told: &Told<'_>) -> Asked {
    let (target, media_type, body) = match message.parts() {
        [part] => single(agent, part),
        _ => None,
    }
    .unwrap_or_else(|| {
        let body = message.as_value().to_string().into_bytes();
        ("/", MESSAGE.to_owned(), body)
    });
    let safe = |text: &str| utf8_percent_encode(text, UNSAFE).to_string();
    let mut asked = Asked::host("POST", target.to_owned(), usize::MAX)
        .with_body(&media_type, body)
        .with("a2a-version", "1.0")
        .with("a2a-message-id", safe(message.id()))
        .with("a2a-task-id", told.task)
        .with("a2a-context-id", safe(told.context));
    asked.authority = format!("{}{AGENTS}", agent.address);
    if !told.modes.is_empty() {
        asked = asked.with("accept", told.modes.join(", "));
    }
    asked
}

fn single<'a>(agent: &'a Listed, part: &Value) -> Option<(&'a str, String, Vec<u8>)> {
    let said = part.get("mediaType").and_then(Value::as_str);
    let said = said.filter(|it| is_media_type(it));
    let media_type = |default: &str| said.unwrap_or(default).to_owned();
    if let Some(text) = part.get("text").and_then(Value::as_str) {
        let kind = media_type("text/plain; charset=utf-8");
        return Some(("/", kind, text.as_bytes().to_vec()));
    }
    if let Some(raw) = part.get("raw").and_then(Value::as_str) {
        return Some(("/", media_type("application/octet-stream"), bytes(raw)?));
    }
    let data = part.get("data")?;
    let kind = said.filter(|it| is_json(&essence(it)));
    let kind = kind.unwrap_or("application/json").to_owned();
    let path = agent
        .tool_path()
        .filter(|path| is_target(path, LONGEST_PATH));
    Some((path.unwrap_or("/"), kind, data.to_string().into_bytes()))
}

/// Whether a media type, without parameters, is one of JSON.
pub fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence.ends_with("+json")
}

fn is_media_type(text: &str) -> bool {
    let is_visible = |b: u8| b.is_ascii_graphic() || b == b' ';
    let (kind, sub) = text.split_once('/').unwrap_or_default();
    !kind.is_empty() && !sub.is_empty() && text.bytes().all(is_visible)
}

/// The media types that a client takes, of what it says of them.
pub fn modes(value: Option<&Value>) -> Result<Vec<String>, String> {
    let wrong = || "`acceptedOutputModes` has to be a list of media types".to_owned();
    let items = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MOST_TYPES => items,
        Some(_) => return Err(wrong()),
    };
    let mode = |item: &Value| {
        let text = item.as_str().filter(|it| it.len() <= 100)?;
        // Some clients say `text`.
        Some(match is_media_type(text) {
            true => text.to_owned(),
            false => format!("{text}/*"),
        })
        .filter(|it| is_media_type(it) && !it.contains(','))
    };
    let modes: Option<Vec<String>> = items.iter().map(mode).collect();
    modes.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn agent() -> Listed {
        let agent = json!({"address": "a.operator", "path": "/agents/a/", "tool": {"path": "/t", "input_schema": {}}});
        Listed::read(agent.as_object().unwrap()).unwrap()
    }

    fn asked(parts: Value) -> Asked {
        let message = json!({"messageId": "m é", "role": "ROLE_USER", "parts": parts});
        let message = Message::of_client(&message).unwrap();
        let told = Told {
            task: "t",
            context: "c",
            modes: &["text/plain".to_owned()],
        };
        request(&agent(), &message, &told)
    }

    fn header(asked: &Asked, name: &str) -> String {
        let found = asked.headers.iter().find(|(own, _)| *own == name);
        found.unwrap().1.clone()
    }

    #[test]
    fn a_single_part_is_the_body() {
        let text = asked(json!([{"text": "hi"}]));
        assert_eq!(text.body.as_deref(), Some(&b"hi"[..]));
        assert_eq!(header(&text, "content-type"), "text/plain; charset=utf-8");
        assert_eq!(
            (&*text.authority, &*text.target),
            ("a.operator.agent.internal", "/")
        );
        let markdown = asked(json!([{"text": "hi", "mediaType": "text/markdown"}]));
        assert_eq!(header(&markdown, "content-type"), "text/markdown");
        let raw = asked(json!([{"raw": "AGE=", "mediaType": "image/png"}]));
        assert_eq!(raw.body.as_deref(), Some(&b"\0a"[..]));
        assert_eq!(header(&raw, "content-type"), "image/png");
    }

    #[test]
    fn data_goes_to_where_the_agent_takes_it() {
        let data = asked(json!([{"data": {"city": "Oslo"}}]));
        assert_eq!(data.body.as_deref(), Some(&br#"{"city":"Oslo"}"#[..]));
        assert_eq!(
            (&*data.target, &*header(&data, "content-type")),
            ("/t", "application/json")
        );
    }

    #[test]
    fn what_is_no_single_part_is_the_message_as_it_is() {
        for parts in [
            json!([{"text": "a"}, {"text": "b"}]),
            json!([{"url": "https://a.example/b"}]),
        ] {
            let whole = asked(parts.clone());
            assert_eq!(header(&whole, "content-type"), MESSAGE);
            let body: Value = serde_json::from_slice(whole.body.as_deref().unwrap()).unwrap();
            assert_eq!(body["parts"], parts);
        }
    }

    #[test]
    fn an_agent_is_told_the_ids_and_what_the_client_takes() {
        let text = asked(json!([{"text": "hi"}]));
        assert_eq!(header(&text, "a2a-message-id"), "m%20%C3%A9");
        assert_eq!(header(&text, "a2a-task-id"), "t");
        assert_eq!(header(&text, "a2a-context-id"), "c");
        assert_eq!(header(&text, "accept"), "text/plain");
    }

    #[test]
    fn modes_are_media_types() {
        assert_eq!(
            modes(Some(&json!(["text", "image/png"]))).unwrap(),
            ["text/*", "image/png"]
        );
        assert_eq!(modes(None).unwrap().len(), 0);
        for wrong in [
            json!("text"),
            json!([1]),
            json!(["a\r\nb"]),
            json!(["a/b, c"]),
            json!([""]),
        ] {
            assert!(modes(Some(&wrong)).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_message_makes_headers_that_can_be_sent(id in ".{1,30}", kind in ".{0,20}") {
            let message = json!({"messageId": id, "role": "ROLE_USER", "parts": [{"text": "a", "mediaType": kind}]});
            if let Ok(message) = Message::of_client(&message) {
                let told = Told { task: "t", context: &id, modes: &[] };
                for (_, value) in request(&agent(), &message, &told).headers {
                    prop_assert!(value.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
                }
            }
        }
    }
}
