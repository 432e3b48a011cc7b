//! The tools that are there whatever agents there are, as they are listed.

use serde_json::{Value, json};

/// A tool of the front's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Builtin {
    /// Runs a script in Python.
    RunPython,
    /// Runs a script in JavaScript or TypeScript.
    RunJavascript,
    /// Runs a component.
    RunWasm,
    /// Finds agents.
    SearchAgents,
    /// Calls one.
    CallAgent,
}

impl Builtin {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 5] = [
        Self::RunPython,
        Self::RunJavascript,
        Self::RunWasm,
        Self::SearchAgents,
        Self::CallAgent,
    ];

    /// The name. An agent's tool never has it: its name has `_` before an owner's id alone.
    pub fn name(self) -> &'static str {
        match self {
            Self::RunPython => "run_python",
            Self::RunJavascript => "run_javascript",
            Self::RunWasm => "run_wasm",
            Self::SearchAgents => "search_agents",
            Self::CallAgent => "call_agent",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// As `tools/list` has it. There is no `outputSchema`: what asks for a payment is a result too, and would be none of it.
    pub fn listed(self) -> Value {
        let (title, description) = match self {
            Self::RunPython => (
                "Run Python",
                "Runs a Python script in a fresh sandbox and returns its exit, standard output and standard error. There is no network \
                 and no file system; the standard library is there. Print what you want to see.",
            ),
            Self::RunJavascript => (
                "Run JavaScript or TypeScript",
                "Runs a script in JavaScript or TypeScript in a fresh sandbox and returns its exit, standard output and standard error. \
                 There is no network and no file system. Print with console.log what you want to see.",
            ),
            Self::RunWasm => (
                "Run WebAssembly",
                "Runs a WebAssembly command (a WASI 0.2 component that exports wasi:cli/run, or a WASI preview 1 module) in a fresh \
                 sandbox and returns its exit, standard output and standard error.",
            ),
            Self::SearchAgents => (
                "Search agents",
                "Finds agents of this host by what they do. Call what it finds with call_agent.",
            ),
            Self::CallAgent => (
                "Call an agent",
                "Sends a request to an agent of this host and returns its answer. An agent that is a command reads `input` as its \
                 standard input; its arguments stand in the path: /?arg=one&arg=two.",
            ),
        };
        json!({
            "name": self.name(),
            "title": title,
            "description": description,
            "inputSchema": self.schema(),
            "annotations": self.annotations(),
        })
    }

    fn schema(self) -> Value {
        let stdin = json!({"type": "string", "description": "Standard input"});
        let args = json!({
            "type": "array", "items": {"type": "string"}, "description": "Arguments of the command line",
        });
        let (properties, required) = match self {
            Self::RunPython | Self::RunJavascript => (
                json!({
                    "code": {"type": "string", "description": "The source of the script"},
                    "stdin": stdin,
                    "args": args,
                }),
                json!(["code"]),
            ),
            Self::RunWasm => (
                json!({
                    "component": {"type": "string", "contentEncoding": "base64", "description": "The component, base64"},
                    "stdin": stdin,
                    "args": args,
                }),
                json!(["component"]),
            ),
            Self::SearchAgents => (
                json!({"query": {"type": "string", "description": "What is looked for, in words"}}),
                json!(["query"]),
            ),
            Self::CallAgent => (
                json!({
                    "agent": {"type": "string", "description": "Its name, or name.owner, as search_agents gives it"},
                    "input": {
                        "type": ["string", "object", "array"],
                        "description": "The body of the request; an object or array is sent as JSON",
                    },
                    "path": {"type": "string", "description": "Path and query; / where it is missing"},
                    "method": {
                        "type": "string", "enum": METHODS,
                        "description": "POST where there is input and GET where there is none",
                    },
                    "content_type": {"type": "string", "description": "The media type of the input; text/plain for text"},
                }),
                json!(["agent"]),
            ),
        };
        json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        })
    }

    fn annotations(self) -> Value {
        match self {
            Self::CallAgent => json!({"openWorldHint": true}),
            _ => json!({"readOnlyHint": true, "openWorldHint": false}),
        }
    }
}

/// Methods that an agent is called by.
pub const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name_and_declares_what_it_takes() {
        for tool in Builtin::ALL {
            assert_eq!(Builtin::named(tool.name()), Some(tool));
            let listed = tool.listed();
            assert!(listed.get("outputSchema").is_none());
            for required in listed["inputSchema"]["required"].as_array().unwrap() {
                let name = required.as_str().unwrap();
                assert!(listed["inputSchema"]["properties"].get(name).is_some());
            }
        }
        assert_eq!(Builtin::named("run_perl"), None);
    }
}
