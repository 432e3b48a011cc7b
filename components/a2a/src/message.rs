//! Messages, artifacts and their parts: what is taken of them, and how much.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use front::json;
use serde_json::{Map, Value};

/// The most parts of one message or artifact.
pub const MOST_PARTS: usize = 64;
/// The longest id, in bytes.
pub const LONGEST_ID: usize = 256;
/// The longest media type or file name, in bytes.
const LONGEST_NAME: usize = 256;
const LONGEST_URL: usize = 8 * 1024;
/// The most members of a list of extensions or tasks.
const MOST_LISTED: usize = 32;
/// Where a payment stands in the metadata of a message.
pub const PAYLOAD: &str = "x402.payment.payload";
/// Members of metadata that are the host's to write: what costs money is said by its ledger alone.
const PAYMENTS: &str = "x402.";

/// Who writes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client.
    User,
    /// The agent.
    Agent,
}

/// A message, with what of it is known and nothing else. An error says what is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Message(Map<String, Value>);

impl Message {
    /// The message of a client's.
    pub fn of_client(value: &Value) -> Result<Self, String> {
        let message = object(value, "message")?;
        match json::text(message, "role") {
            Some("ROLE_USER") => {}
            _ => return Err("`message.role` has to be ROLE_USER".to_owned()),
        }
        let mut read = read(message, Role::User)?;
        for name in ["messageId", "contextId", "taskId"] {
            let Some(id) = message.get(name).filter(|it| !it.is_null()) else {
                continue;
            };
            let id = id.as_str().filter(|id| is_id(id));
            let id = id.ok_or_else(|| {
                format!("`message.{name}` has to be text of 1 to {LONGEST_ID} bytes")
            })?;
            read.insert(name.to_owned(), id.into());
        }
        if !read.contains_key("messageId") {
            return Err("`message.messageId` is missing".to_owned());
        }
        Ok(Self(read))
    }

    /// A message of an agent's, to be sent in a task. What it says of payments is left out.
    pub fn of_agent(value: &Value, ids: &Ids) -> Result<Value, String> {
        let message = object(value, "message")?;
        let mut read = read(message, Role::Agent)?;
        let own = json::text(message, "messageId").filter(|id| is_id(id));
        let id = own.map_or_else(|| ids.fresh.clone(), str::to_owned);
        read.insert("messageId".to_owned(), id.into());
        ids.write(&mut read);
        without_payments(&mut read);
        Ok(Value::Object(read))
    }

    /// A text under a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        json::text(&self.0, key)
    }

    /// What the client calls it.
    pub fn id(&self) -> &str {
        self.text("messageId").unwrap_or_default()
    }

    /// The parts.
    pub fn parts(&self) -> &[Value] {
        let parts = self.0.get("parts").and_then(Value::as_array);
        parts.map(Vec::as_slice).unwrap_or_default()
    }

    /// A member of its metadata.
    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.0.get("metadata")?.get(key)
    }

    /// The same without the payment that came in it: that is the host's to see, and nobody's to keep.
    pub fn without_payment(&self) -> Self {
        let mut message = self.0.clone();
        if let Some(Value::Object(metadata)) = message.get_mut("metadata") {
            metadata.remove(PAYLOAD);
            if metadata.is_empty() {
                message.remove("metadata");
            }
        }
        Self(message)
    }

    /// As it came.
    pub fn as_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The one that was kept.
    pub fn kept(value: &Value) -> Option<Self> {
        value.as_object().cloned().map(Self)
    }

    /// In the task that it belongs to.
    pub fn in_task(&self, ids: &Ids) -> Value {
        let mut message = self.0.clone();
        ids.write(&mut message);
        Value::Object(message)
    }
}

/// The ids of a task, and one for a message of its agent's.
#[derive(Clone, Debug)]
pub struct Ids {
    /// The task.
    pub task: Option<String>,
    /// The context.
    pub context: String,
    /// For what the agent gives no id.
    pub fresh: String,
}

impl Ids {
    fn write(&self, message: &mut Map<String, Value>) {
        message.insert("contextId".to_owned(), self.context.clone().into());
        match &self.task {
            Some(task) => message.insert("taskId".to_owned(), task.clone().into()),
            None => message.remove("taskId"),
        };
    }
}

/// An artifact of an agent's.
pub fn artifact(value: &Value, fresh: &str) -> Result<Map<String, Value>, String> {
    let artifact = object(value, "artifact")?;
    let mut read = Map::new();
    let id = json::text(artifact, "artifactId").filter(|id| is_id(id));
    read.insert("artifactId".to_owned(), id.unwrap_or(fresh).into());
    for (name, most) in [("name", LONGEST_NAME), ("description", 4096)] {
        if let Some(text) =
            json::text(artifact, name).filter(|it| it.len() <= most && !it.is_empty())
        {
            read.insert(name.to_owned(), text.into());
        }
    }
    read.insert("parts".to_owned(), parts(artifact)?.into());
    common(artifact, &mut read)?;
    without_payments(&mut read);
    Ok(read)
}

fn read(message: &Map<String, Value>, role: Role) -> Result<Map<String, Value>, String> {
    let mut read = Map::new();
    let role = match role {
        Role::User => "ROLE_USER",
        Role::Agent => "ROLE_AGENT",
    };
    read.insert("role".to_owned(), role.into());
    read.insert("parts".to_owned(), parts(message)?.into());
    common(message, &mut read)?;
    if let Some(tasks) = texts(message, "referenceTaskIds")? {
        read.insert("referenceTaskIds".to_owned(), tasks);
    }
    Ok(read)
}

fn common(from: &Map<String, Value>, to: &mut Map<String, Value>) -> Result<(), String> {
    match from.get("metadata") {
        None | Some(Value::Null) => {}
        Some(metadata @ Value::Object(_)) => {
            to.insert("metadata".to_owned(), metadata.clone());
        }
        Some(_) => return Err("`metadata` has to be an object".to_owned()),
    }
    if let Some(extensions) = texts(from, "extensions")? {
        to.insert("extensions".to_owned(), extensions);
    }
    Ok(())
}

fn texts(from: &Map<String, Value>, key: &str) -> Result<Option<Value>, String> {
    match from.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items))
            if items.len() <= MOST_LISTED && items.iter().all(Value::is_string) =>
        {
            Ok((!items.is_empty()).then(|| items.clone().into()))
        }
        Some(_) => Err(format!(
            "`{key}` has to be a list of at most {MOST_LISTED} texts"
        )),
    }
}

fn parts(from: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let parts = from.get("parts").and_then(Value::as_array);
    let parts = parts.filter(|parts| !parts.is_empty());
    let parts = parts.ok_or("`parts` has to be a list of at least one part")?;
    if parts.len() > MOST_PARTS {
        return Err(format!("there are more than {MOST_PARTS} parts"));
    }
    parts.iter().map(part).collect()
}

fn part(value: &Value) -> Result<Value, String> {
    let part = object(value, "a part")?;
    let mut read = Map::new();
    for kind in ["text", "raw", "url", "data"] {
        let Some(content) = part.get(kind) else {
            continue;
        };
        let is_right = match kind {
            "text" => content.is_string(),
            "raw" => content.as_str().is_some_and(|it| bytes(it).is_some()),
            "url" => (content.as_str()).is_some_and(|it| (1..=LONGEST_URL).contains(&it.len())),
            _ => true,
        };
        if !is_right {
            return Err(format!("`{kind}` of a part is none"));
        }
        read.insert(kind.to_owned(), content.clone());
    }
    if read.len() != 1 {
        return Err("a part has to have one of `text`, `raw`, `url` and `data`".to_owned());
    }
    for name in ["mediaType", "filename"] {
        match part.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) if is_name(text) => {
                read.insert(name.to_owned(), text.clone().into());
            }
            Some(_) => return Err(format!("`{name}` of a part is none")),
        }
    }
    match part.get("metadata") {
        None | Some(Value::Null) => {}
        Some(metadata @ Value::Object(_)) => {
            read.insert("metadata".to_owned(), metadata.clone());
        }
        Some(_) => return Err("`metadata` of a part has to be an object".to_owned()),
    }
    Ok(Value::Object(read))
}

/// What `raw` holds: base64 of either alphabet, with or without padding, as ProtoJSON takes it.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    let padded = match text.len() % 4 {
        0 => text.to_owned(),
        rest => format!("{text}{}", "=".repeat(4_usize.saturating_sub(rest))),
    };
    let standard = STANDARD.decode(&padded);
    standard.or_else(|_| URL_SAFE.decode(&padded)).ok()
}

fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn without_payments(members: &mut Map<String, Value>) {
    if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
        metadata.retain(|key, _| !key.starts_with(PAYMENTS));
        if metadata.is_empty() {
            members.remove("metadata");
        }
    }
}

fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, String> {
    let object = value.as_object();
    object.ok_or_else(|| format!("`{name}` has to be an object"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn client(parts: Value) -> Result<Message, String> {
        Message::of_client(&json!({"messageId": "m", "role": "ROLE_USER", "parts": parts}))
    }

    fn ids() -> Ids {
        Ids {
            task: Some("t".to_owned()),
            context: "c".to_owned(),
            fresh: "f".to_owned(),
        }
    }

    #[test]
    fn a_message_is_read_with_what_is_known_of_it() {
        let value = json!({
            "messageId": "m", "role": "ROLE_USER", "contextId": "c", "unknown": 1,
            "parts": [{"text": "", "mediaType": "text/plain"}, {"raw": "AGE", "filename": "a"}, {"data": null}, {"url": "https://a.example"}],
            "metadata": {"a": 1}, "extensions": ["u"],
        });
        let message = Message::of_client(&value).unwrap();
        assert_eq!(message.id(), "m");
        assert_eq!(message.parts().len(), 4);
        let mut known = value.clone();
        known.as_object_mut().unwrap().remove("unknown");
        assert_eq!(message.as_value(), known);
        assert_eq!(message.in_task(&ids())["taskId"], "t");
    }

    #[test]
    fn what_is_wrong_with_a_message_is_said() {
        for (value, words) in [
            (json!(1), "message"),
            (
                json!({"role": "ROLE_USER", "parts": [{"text": "a"}]}),
                "messageId",
            ),
            (json!({"messageId": "m", "parts": [{"text": "a"}]}), "role"),
            (
                json!({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "a"}]}),
                "role",
            ),
            (
                json!({"messageId": "", "role": "ROLE_USER", "parts": [{"text": "a"}]}),
                "messageId",
            ),
            (
                json!({"messageId": "m", "role": "ROLE_USER", "taskId": 1, "parts": [{"text": "a"}]}),
                "taskId",
            ),
            (
                json!({"messageId": "m", "role": "ROLE_USER", "metadata": 1, "parts": [{"text": "a"}]}),
                "metadata",
            ),
            (
                json!({"messageId": "m".repeat(257), "role": "ROLE_USER", "parts": [{"text": "a"}]}),
                "messageId",
            ),
        ] {
            let error = Message::of_client(&value).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        for parts in [
            json!([]),
            json!({}),
            json!([{}]),
            json!([{"text": "a", "data": 1}]),
            json!([{"text": 1}]),
            json!([{"raw": "!"}]),
            json!([{"url": ""}]),
            json!([{"text": "a", "mediaType": "a\r\nb"}]),
            json!([{"kind": "text"}]),
            json!(vec![json!({"text": "a"}); MOST_PARTS + 1]),
        ] {
            assert!(client(parts.clone()).is_err(), "{parts}");
        }
    }

    #[test]
    fn bytes_are_base64_of_either_alphabet() {
        assert_eq!(bytes("-_8="), Some(vec![0xfb, 0xff]));
        assert_eq!(bytes("+/8"), Some(vec![0xfb, 0xff]));
        assert_eq!(bytes("a"), None);
    }

    #[test]
    fn an_agent_does_not_speak_of_payments_and_not_of_other_tasks() {
        let value = json!({"taskId": "other", "contextId": "other", "role": "ROLE_USER", "parts": [{"text": "a"}],
            "metadata": {"x402.payment.status": "payment-completed"}});
        let message = Message::of_agent(&value, &ids()).unwrap();
        let expected = json!({"messageId": "f", "taskId": "t", "contextId": "c", "role": "ROLE_AGENT", "parts": [{"text": "a"}]});
        assert_eq!(message, expected);
    }

    proptest! {
        #[test]
        fn any_json_is_judged(text in "\\{\"(parts|text|raw|messageId|role)\":[\\[\\]{}\",:a-z0-9]{0,40}\\}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = (Message::of_client(&value), Message::of_agent(&value, &ids()), artifact(&value, "f"));
            }
        }

        #[test]
        fn any_text_is_base64_or_not(text in ".{0,40}") {
            let _ = bytes(&text);
        }
    }
}
