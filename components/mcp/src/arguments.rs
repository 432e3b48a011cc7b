//! The arguments of a tool. What is wrong with them is told to the model, which can ask again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use front::words::words;
use serde_json::{Map, Value};

use crate::error::Failure;
use crate::run::{Kind, Run};

/// The most arguments of a command line.
const MOST: usize = 1024;

/// Arguments that were not taken yet.
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// Those of a call.
    pub fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// All of them.
    pub fn into_members(self) -> Map<String, Value> {
        self.0
    }

    /// One of any kind; null counts as none.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Failure::Argument(format!("`{name}` has to be text"))),
        }
    }

    /// A text that has to be there.
    pub fn required_text(&mut self, name: &str) -> Result<String, Failure> {
        let text = self.text(name)?;
        text.ok_or_else(|| Failure::Argument(format!("`{name}` is missing")))
    }

    /// That nothing is left.
    pub fn end(&self) -> Result<(), Failure> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name = words(name, 64);
                Err(Failure::Argument(format!("there is no argument `{name}`")))
            }
        }
    }

    /// What is to be run.
    pub fn into_run(mut self, kind: Kind) -> Result<Run, Failure> {
        let program = match kind {
            Kind::Python | Kind::Javascript => self.required_text("code")?.into_bytes(),
            Kind::Wasm => {
                let text = self.required_text("component")?;
                let decoded = STANDARD.decode(text.trim_ascii());
                decoded.map_err(|_| Failure::Argument("`component` has to be base64".to_owned()))?
            }
        };
        let stdin = self.text("stdin")?.map(String::into_bytes);
        let wrong =
            || Failure::Argument(format!("`args` has to be a list of at most {MOST} texts"));
        let arguments = match self.take("args") {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() <= MOST => {
                let text = |item| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(wrong()),
                };
                items.into_iter().map(text).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong()),
        };
        self.end()?;
        Ok(Run {
            kind,
            program,
            stdin,
            arguments,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(kind: Kind, arguments: Value) -> Result<Run, String> {
        let arguments = Arguments::new(arguments.as_object().unwrap().clone());
        arguments.into_run(kind).map_err(|error| error.to_string())
    }

    #[test]
    fn a_run_has_a_program_and_perhaps_input_and_arguments() {
        let it = run(
            Kind::Python,
            json!({"code": "c", "stdin": "", "args": ["a", "b"]}),
        )
        .unwrap();
        assert_eq!(
            (&*it.program, it.stdin.as_deref()),
            (&b"c"[..], Some(&b""[..]))
        );
        assert_eq!(it.arguments, ["a", "b"]);
        let it = run(Kind::Wasm, json!({"component": "AGE=\n", "stdin": null})).unwrap();
        assert_eq!((&*it.program, it.stdin), (&b"\0a"[..], None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (kind, arguments, name) in [
            (Kind::Python, json!({}), "code"),
            (Kind::Javascript, json!({"code": 1}), "code"),
            (Kind::Wasm, json!({"component": "!"}), "component"),
            (Kind::Python, json!({"code": "", "stdin": 1}), "stdin"),
            (Kind::Python, json!({"code": "", "args": "a"}), "args"),
            (Kind::Python, json!({"code": "", "args": [1]}), "args"),
            (
                Kind::Python,
                json!({"code": "", "args": vec!["a"; MOST + 1]}),
                "args",
            ),
            (Kind::Python, json!({"code": "", "timeout": 1}), "timeout"),
        ] {
            let error = run(kind, arguments).err().unwrap();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
