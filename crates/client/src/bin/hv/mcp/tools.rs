//! The tools as they are told to AI programs.

use hypervisor_client::protocol::{AgentInfo, AgentWorld};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// Most characters of an owner's words about an agent.
const MOST: usize = 600;

pub(super) const RUN_PYTHON: &str = "run_python";
pub(super) const RUN_JAVASCRIPT: &str = "run_javascript";
pub(super) const RUN_WASM: &str = "run_wasm";
pub(super) const SEARCH_AGENTS: &str = "search_agents";
pub(super) const CALL_AGENT: &str = "call_agent";
pub(super) const SESSION_EVALUATE: &str = "session_evaluate";

/// What is told to whoever connects.
pub(super) const INSTRUCTIONS: &str = "Runs code in fresh sandboxes of a confidential host, and calls agents there. Code, input and results travel sealed: \
the host's operator cannot read them. Sandboxes have no files, no network and no state; session_evaluate alone keeps state between calls. \
Results have `exit` (ok, code, trap, limit, denied, rejected), `stdout`, `stderr` and `truncated`; a limit is named with what was used and allowed.";

/// The tools that there always are, in their order.
pub(super) fn own(pays: bool) -> Vec<Tool> {
    // What costs something is no reading.
    let run = |tool: Tool, title: &str| {
        let hints = ToolAnnotations::with_title(title);
        tool.with_annotations(hints.read_only(!pays).destructive(false).open_world(false))
    };
    vec![
        run(
            Tool::new(
                RUN_PYTHON,
                "Runs a Python script (CPython with its standard library, no packages) in a fresh sandbox and gives what it printed. \
No files, no network, nothing is kept.",
                script("The script."),
            ),
            "Run Python",
        ),
        run(
            Tool::new(
                RUN_JAVASCRIPT,
                "Runs a script in JavaScript or TypeScript (an ES module in QuickJS; types are taken away, not checked; no Node.js modules) in a \
fresh sandbox and gives what it printed with console.log. No files, no network, nothing is kept.",
                script("The script."),
            ),
            "Run JavaScript or TypeScript",
        ),
        run(
            Tool::new(
                RUN_WASM,
                "Runs a WebAssembly program, a file of this machine: a wasm32-wasip2 component or a wasm32-wasip1 command. It is sealed, runs in a \
fresh sandbox, and nothing is kept.",
                schema(
                    json!({
                        "path": { "type": "string", "description": "The file, best as an absolute path." },
                        "stdin": stdin(),
                        "args": args(),
                    }),
                    &["path"],
                ),
            ),
            "Run WebAssembly",
        ),
        Tool::new(
            SESSION_EVALUATE,
            "Evaluates code in a session that keeps its state: variables, functions and imports of one call are there in the next one. Gives what \
was printed and the value of the last expression. One session for each language; code that traps or meets a limit changes nothing.",
            schema(
                json!({
                    "code": { "type": "string", "description": "What is evaluated." },
                    "language": {
                        "type": "string",
                        "enum": ["python", "javascript"],
                        "description": "python where it is left out; javascript takes TypeScript too.",
                    },
                }),
                &["code"],
            ),
        )
        .with_annotations(
            ToolAnnotations::with_title("Evaluate in a session")
                .read_only(false)
                .destructive(false)
                .open_world(false),
        ),
        Tool::new(
            SEARCH_AGENTS,
            "Finds agents of the host by what they do. The words of the query are not sealed: the host's operator can read them.",
            schema(
                json!({ "query": { "type": "string", "description": "What the agent should do." } }),
                &["query"],
            ),
        )
        .with_annotations(ToolAnnotations::with_title("Search agents").read_only(true)),
        Tool::new(
            CALL_AGENT,
            "Calls an agent of the host; what is sent and answered is sealed. Which agent is called is not. search_agents finds agents, and says what they cost.",
            schema(
                merged(json!({
                    "agent": { "type": "string", "description": "Its name, or its address NAME.OWNER." },
                    "args": { "type": "array", "items": { "type": "string" }, "description": "Arguments, of an agent that is a command." },
                }), request()),
                &["agent"],
            ),
        )
        .with_annotations(ToolAnnotations::with_title("Call an agent").read_only(false)),
    ]
}

/// The tool that stands for an agent. What its owner says of it is marked as that.
pub(super) fn agent(name: String, info: &AgentInfo) -> Tool {
    let price = match &info.price {
        Some(price) => format!(" A call costs {}.", cut(price)),
        None => String::new(),
    };
    let mut words = info.description.clone();
    if !info.skills.is_empty() {
        words.push_str(&format!(" Skills: {}.", info.skills.join(", ")));
    }
    let description = format!(
        "Calls the agent {} of the host, sealed.{price} Its owner says of it: {}",
        info.address,
        cut(&words)
    );
    let takes = match info.world {
        AgentWorld::Service => request(),
        AgentWorld::Command => json!({
            "input": { "type": "string", "description": "Its standard input." },
            "args": args(),
        }),
    };
    let hints = ToolAnnotations::with_title(cut(&info.name)).read_only(false);
    Tool::new(name, description, schema(takes, &[])).with_annotations(hints)
}

/// What a service is asked by.
fn request() -> Value {
    json!({
        "input": {
            "type": ["string", "object", "array", "number", "boolean"],
            "description": "What is sent: text, or a JSON value. The body of the request, or standard input of a command.",
        },
        "path": { "type": "string", "description": "Path and query, as /forecast?city=Oslo; / where it is left out." },
        "method": { "type": "string", "description": "HTTP method; POST where there is input, else GET." },
        "content_type": { "type": "string", "description": "Media type of the input; application/json for JSON, else text/plain." },
    })
}

fn script(what: &str) -> JsonObject {
    schema(
        json!({
            "code": { "type": "string", "description": what },
            "stdin": stdin(),
            "args": args(),
        }),
        &["code"],
    )
}

fn stdin() -> Value {
    json!({ "type": "string", "description": "Standard input; empty where it is left out." })
}

fn args() -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": "Command line arguments." })
}

fn schema(properties: Value, required: &[&str]) -> JsonObject {
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    match schema {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    }
}

fn merged(mut first: Value, second: Value) -> Value {
    if let (Value::Object(first), Value::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
}

/// Somebody's words on one line, and not too many of them.
fn cut(words: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = words.chars().take(MOST).map(plain).collect();
    if words.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_what_it_takes() {
        for tool in own(false) {
            let schema = tool.schema_as_json_value();
            for name in schema["required"].as_array().unwrap() {
                let property = &schema["properties"][name.as_str().unwrap()];
                assert!(property["description"].is_string(), "{}", tool.name);
            }
            assert!(tool.description.is_some(), "{}", tool.name);
        }
    }

    #[test]
    fn runs_only_read_unless_they_are_paid_for() {
        for pays in [false, true] {
            let tools = own(pays);
            let python = tools.iter().find(|tool| tool.name == RUN_PYTHON).unwrap();
            let hints = python.annotations.as_ref().unwrap();
            assert_eq!(hints.read_only_hint, Some(!pays));
        }
    }

    #[test]
    fn an_owners_words_are_one_line_and_cut() {
        assert_eq!(cut("a\nb\u{1b}[2J"), "a b [2J");
        assert_eq!(cut(&"é".repeat(MOST + 1)).chars().count(), MOST + 1);
    }
}
