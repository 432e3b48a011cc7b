//! What tools are given: JSON that a model wrote.

use std::path::{Path, PathBuf};

use hypervisor_client::agents::Reference;
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::console::file;
use crate::desk::Trouble;
use crate::env::Language;

/// What WebAssembly begins with.
const MAGIC: &[u8] = b"\0asm";

/// Standard input and arguments of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) stdin: Option<String>,
    pub(super) args: Vec<String>,
}

/// Of `run_python` and `run_javascript`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    pub(super) code: String,
    stdin: Option<String>,
    args: Option<Vec<String>>,
}

/// Of `run_wasm`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    path: PathBuf,
    stdin: Option<String>,
    args: Option<Vec<String>>,
}

/// Of `session_evaluate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    pub(super) code: String,
    language: Option<String>,
}

/// Of `search_agents`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) query: String,
}

/// Of `call_agent`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) agent: String,
    input: Option<Value>,
    path: Option<String>,
    method: Option<String>,
    content_type: Option<String>,
    args: Option<Vec<String>>,
}

/// Of a tool that stands for an agent; and what of [`Call`] is for the agent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) input: Option<Value>,
    pub(super) path: Option<String>,
    pub(super) method: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) args: Option<Vec<String>>,
}

/// Reads what a tool was given; what is wrong is told in words that a model can act on.
pub(super) fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Trouble> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Trouble::Arguments(format!("the arguments are not right: {error}")))
}

impl Code {
    pub(super) fn into_parts(self) -> (Vec<u8>, Given) {
        let given = Given {
            stdin: self.stdin,
            args: self.args.unwrap_or_default(),
        };
        (self.code.into_bytes(), given)
    }
}

impl Component {
    /// The component. A file that is none is not sent, whatever else it is.
    pub(super) fn into_parts(self) -> Result<(Vec<u8>, Given), Trouble> {
        let bytes = component(&self.path)?;
        let given = Given {
            stdin: self.stdin,
            args: self.args.unwrap_or_default(),
        };
        Ok((bytes, given))
    }
}

fn component(path: &Path) -> Result<Vec<u8>, Trouble> {
    let bytes = file(path)?;
    if bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    Err(Trouble::Arguments(format!(
        "{} is no WebAssembly, and was not sent: build it as a wasm32-wasip2 component or a wasm32-wasip1 command",
        path.display()
    )))
}

impl Turn {
    pub(super) fn language(&self) -> Result<Language, Trouble> {
        match self.language.as_deref() {
            None | Some("python" | "py") => Ok(Language::Python),
            Some("javascript" | "typescript" | "js" | "ts") => Ok(Language::Js),
            Some(other) => Err(Trouble::Arguments(format!(
                "`language` is python or javascript, and TypeScript is javascript too; not {other:?}"
            ))),
        }
    }
}

impl Call {
    pub(super) fn into_parts(self) -> Result<(Reference, Message), Trouble> {
        let message = Message {
            input: self.input,
            path: self.path,
            method: self.method,
            content_type: self.content_type,
            args: self.args,
        };
        Ok((self.agent.parse()?, message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> JsonObject {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn optional_arguments_may_be_left_out_or_null() {
        for value in [
            json!({"code": "1"}),
            json!({"code": "1", "stdin": null, "args": null}),
        ] {
            let (code, given) = read::<Code>(object(value)).unwrap().into_parts();
            assert_eq!((code.as_slice(), given), (&b"1"[..], Given::default()));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |value| read::<Code>(object(value)).unwrap_err().to_string();
        assert!(wrong(json!({})).contains("`code`"));
        let unknown = wrong(json!({"code": "1", "input": "x"}));
        assert!(
            unknown.contains("`input`") && unknown.contains("stdin"),
            "{unknown}"
        );
        let list = wrong(json!({"code": "1", "args": [1]}));
        assert!(list.contains("integer"), "{list}");
    }

    #[test]
    fn a_language_goes_by_several_names() {
        let language = |name: &str| {
            let turn: Turn = read(object(json!({"code": "1", "language": name}))).unwrap();
            turn.language()
        };
        assert_eq!(language("ts").unwrap(), Language::Js);
        assert_eq!(language("python").unwrap(), Language::Python);
        assert!(language("ruby").unwrap_err().to_string().contains("python"));
    }

    #[test]
    fn a_file_that_is_no_component_is_not_read_any_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "hunter2").unwrap();
        let refused = component(&path).unwrap_err().to_string();
        assert!(refused.contains("no WebAssembly") && !refused.contains("hunter2"));
        std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!(component(&path).unwrap().len(), 8);
    }
}
