//! `[tool]`: an agent as models see it.

use hypervisor_protocol::AgentTool;
use serde::Deserialize;
use serde_json::Value;

use super::check::{text, wrong};
use crate::error::ManifestError;

/// Most characters of a description and of a path, and most bytes of a schema.
const MAX_DESCRIPTION: usize = 1024;
const MAX_PATH: usize = 1024;
const MAX_SCHEMA: usize = 16 << 10;
/// How deep a schema may nest: what is said of an agent travels in CBOR too, which may nest 16 deep.
const MAX_DEPTH: usize = 12;

/// The table as it is written: the schema is JSON in a text.
#[derive(Deserialize)]
pub(super) struct Written {
    description: Option<String>,
    path: Option<String>,
    input_schema: Option<String>,
}

impl Written {
    pub(super) fn checked(self) -> Result<AgentTool, ManifestError> {
        if let Some(description) = &self.description {
            text("tool.description", description, MAX_DESCRIPTION, |c| {
                c == '\n'
            })?;
        }
        let path = self.path.unwrap_or_else(|| "/".to_owned());
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'#';
        let is_path = path.starts_with('/') && !path.starts_with("//");
        if !is_path || path.len() > MAX_PATH || !path.bytes().all(is_plain) {
            let message =
                format!("a path is / and at most {MAX_PATH} visible ASCII characters, no #");
            return Err(wrong("tool.path", message));
        }
        Ok(AgentTool {
            description: self.description,
            path,
            input_schema: self.input_schema.as_deref().map(schema).transpose()?,
        })
    }
}

fn schema(text: &str) -> Result<Value, ManifestError> {
    let wrong = |message: String| Err(wrong("tool.input_schema", message));
    if text.len() > MAX_SCHEMA {
        return wrong(format!("{} bytes, at most {MAX_SCHEMA}", text.len()));
    }
    match serde_json::from_str::<Value>(text) {
        Err(error) => wrong(format!("it is not JSON: {error}")),
        Ok(schema) if schema.get("type").and_then(Value::as_str) != Some("object") => {
            wrong("it needs \"type\": \"object\": arguments are one".to_owned())
        }
        Ok(schema) if is_deeper(&schema, MAX_DEPTH) => {
            wrong(format!("it nests deeper than {MAX_DEPTH}"))
        }
        Ok(schema) => Ok(schema),
    }
}

fn is_deeper(value: &Value, most: usize) -> bool {
    let Some(left) = most.checked_sub(1) else {
        return value.is_object() || value.is_array();
    };
    let (members, items) = (value.as_object(), value.as_array());
    let mut inner =
        (members.into_iter().flat_map(|it| it.values())).chain(items.into_iter().flatten());
    inner.any(|value| is_deeper(value, left))
}
