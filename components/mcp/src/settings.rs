//! What the operator sets, by environment variables. All are optional.
//!
//! | | |
//! |---|---|
//! | `PUBLIC_URL` | where clients find the host: its origin may call, from a browser too |
//! | `MCP_ORIGINS` | further origins that may call from a browser, apart by spaces or commas |
//! | `MCP_TOOLS` | which of the five tools are offered, apart by spaces or commas; all where it is missing |
//! | `MCP_AGENT_TOOLS` | how many agents are listed as tools of their own, 0 to 256; 64 where it is missing |
//! | `MCP_TIMEOUT` | seconds that a request may take; 55 where it is missing |
//! | `MCP_INSTRUCTIONS` | what models are told of this host, in place of the usual words |
//! | `MCP_PATH` | where this front is: agents that are servers themselves are below it; `/mcp` where it is missing |

use front::agents::is_target;
use front::origin::Reach;
use front::variables::{Variables, words, wrong};

use crate::builtin::Builtin;
use crate::error::RpcError;

/// As many agents are listed as tools where the operator says nothing.
const AGENT_TOOLS: usize = 64;
/// The most.
const MOST_AGENT_TOOLS: usize = 256;
/// The longest instructions, in bytes.
const LONGEST_INSTRUCTIONS: usize = 8 * 1024;
const LONGEST_PATH: usize = 200;

const INSTRUCTIONS: &str = "Runs Python, JavaScript and WebAssembly in a fresh sandbox for each call, under limits, and calls the agents \
of this host. Nothing is kept between calls. A failed run is a result: read its exit, standard error and limit.";

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where requests may come from.
    pub reach: Reach,
    /// Tools that are offered, in their order.
    pub tools: Vec<Builtin>,
    /// How many agents are listed as tools.
    pub agent_tools: usize,
    /// Milliseconds that a request may take.
    pub timeout_ms: u64,
    /// What models are told.
    pub instructions: String,
    /// Where this front is, without a slash at the end.
    pub path: String,
}

impl Settings {
    /// Those of this component's environment.
    pub fn from_environment() -> Result<Self, RpcError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Those that `variable` gives. An error names the variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RpcError> {
        let variables = Variables(variable);
        let reach = variables.reach("MCP_ORIGINS")?;
        let tools = match variables.text("MCP_TOOLS") {
            None => Some(Builtin::ALL.to_vec()),
            Some(names) => words(&names).map(Builtin::named).collect(),
        };
        let mut tools =
            tools.ok_or_else(|| wrong("MCP_TOOLS", "names a tool that there is not"))?;
        tools.sort();
        tools.dedup();
        let agent_tools = variables.number(
            "MCP_AGENT_TOOLS",
            AGENT_TOOLS as u64,
            MOST_AGENT_TOOLS as u64,
        )?;
        let instructions = variables
            .text("MCP_INSTRUCTIONS")
            .unwrap_or_else(|| INSTRUCTIONS.to_owned());
        if instructions.len() > LONGEST_INSTRUCTIONS {
            return Err(wrong("MCP_INSTRUCTIONS", "is longer than 8 KiB").into());
        }
        let path = variables.text("MCP_PATH");
        let path = path.unwrap_or_else(|| "/mcp".to_owned());
        let path = path.trim().trim_end_matches('/').to_owned();
        if !is_target(&path, LONGEST_PATH) || path.contains('?') {
            return Err(wrong("MCP_PATH", "is no path").into());
        }
        Ok(Self {
            path,
            reach,
            tools,
            agent_tools: usize::try_from(agent_tools).unwrap_or(AGENT_TOOLS),
            timeout_ms: variables.timeout_ms("MCP_TIMEOUT")?,
            instructions,
        })
    }

    /// The agent that a request to this path and query is for; none where it is for this host itself.
    pub fn server<'a>(&self, target: &'a str) -> Option<&'a str> {
        let path = target.split('?').next()?;
        let rest = path.strip_prefix(&*self.path)?.strip_prefix('/')?;
        let name = rest.strip_suffix('/').unwrap_or(rest);
        (!name.is_empty()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, RpcError> {
        Settings::read(|name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn everything_has_a_default() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.tools, Builtin::ALL);
        assert_eq!((settings.agent_tools, settings.timeout_ms), (64, 55_000));
        assert!(settings.reach.public.is_none() && settings.reach.origins.is_empty());
        assert_eq!(read(&[("MCP_TOOLS", " "), ("PUBLIC_URL", "")]), read(&[]));
    }

    #[test]
    fn lists_are_apart_by_spaces_or_commas() {
        let settings = read(&[
            ("MCP_TOOLS", "search_agents, run_python run_python"),
            ("MCP_ORIGINS", "https://a.example,http://b.example:8080"),
            ("PUBLIC_URL", "https://host.example/x"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.tools, [Builtin::RunPython, Builtin::SearchAgents]);
        assert_eq!(settings.reach.origins.len(), 2);
        assert!(settings.reach.public.is_some());
    }

    #[test]
    fn what_is_below_the_path_is_an_agent() {
        let settings = read(&[]).unwrap();
        for target in ["/mcp", "/mcp/", "/mcp?a=/b", "/other", "/mcpx/a", "/"] {
            assert_eq!(settings.server(target), None, "{target}");
        }
        for target in ["/mcp/a", "/mcp/a/", "/mcp/a?b"] {
            assert_eq!(settings.server(target), Some("a"), "{target}");
        }
        assert_eq!(settings.server("/mcp/a/b"), Some("a/b"));
        let elsewhere = read(&[("MCP_PATH", "/tools/")]).unwrap();
        assert_eq!(elsewhere.server("/tools/a"), Some("a"));
    }

    #[test]
    fn a_mistake_names_its_variable_and_not_its_value() {
        for (name, value) in [
            ("MCP_TOOLS", "run_perl"),
            ("MCP_ORIGINS", "secret"),
            ("PUBLIC_URL", "secret"),
            ("MCP_AGENT_TOOLS", "257"),
            ("MCP_TIMEOUT", "-1"),
            ("MCP_PATH", "secret"),
            ("MCP_PATH", "/"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!((error.code(), error.status()), (-32603, 500));
            let text = error.to_string();
            assert!(text.contains(name) && !text.contains("secret"), "{text}");
        }
    }
}
