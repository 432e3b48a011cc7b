//! `[[protocols]]`: components that answer HTTP in the host's own name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use hypervisor_agents::{Allowance, Name};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use hypervisor_runtime::Source;

/// The longest that an instance may go on.
const MOST_BACKGROUND: Duration = Duration::from_secs(24 * 3600);

/// First parts of the paths that are the host's own.
const OWN: [&str; 12] = [
    "agent",
    "agents",
    "attestation",
    "discovery",
    "encrypt",
    "environments",
    "fleet",
    "openapi.json",
    "ping",
    "search",
    "test",
    "verifiable",
];

/// `[[protocols]]`: a component that answers HTTP in the host's own name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protocol {
    /// What it is called in the log of components: a name as agents have.
    pub name: String,
    /// A component that exports `wasi:http/incoming-handler`.
    pub component: PathBuf,
    /// Its machine code, made by `hypervisor-ctl compile`; none compiles at every start.
    pub compiled: PathBuf,
    /// SHA-384 of that file, hex.
    pub compiled_sha384: String,
    /// Paths that it answers: `/mcp` that one, `/a2a/` all that begin with it.
    pub paths: Vec<String>,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// How long an instance may go on, whether its client waits or not: then this is its wall-clock limit. Zero: it ends with its client,
    /// by the limits of everybody.
    #[serde(with = "humantime_serde")]
    pub background: Duration,
    /// What it may keep, bytes; one client causes a quarter of it at the most.
    pub storage: ByteSize,
    /// How long something is kept that it does not write again.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            name: String::new(),
            component: PathBuf::new(),
            compiled: PathBuf::new(),
            compiled_sha384: String::new(),
            paths: Vec::new(),
            environment: BTreeMap::new(),
            background: Duration::ZERO,
            storage: ByteSize::mib(64),
            keep: Duration::from_secs(24 * 3600),
        }
    }
}

impl Protocol {
    /// Where the component comes from; none where none is named.
    pub fn source(&self) -> Option<Source> {
        Source::new(&self.component, &self.compiled, &self.compiled_sha384)
    }

    /// What it may keep.
    pub fn allowance(&self) -> Allowance {
        Allowance {
            bytes: self.storage.as_u64(),
            keep: self.keep,
        }
    }

    /// Whether it answers a path.
    pub fn answers(&self, path: &str) -> bool {
        self.paths.iter().any(|own| is_below(own, path))
    }

    /// Checks all of them.
    pub(crate) fn validate(all: &[Self]) -> Result<(), Error> {
        let wrong = |message: String| {
            Err(Error::Value {
                key: "protocols",
                message,
            })
        };
        for (index, protocol) in all.iter().enumerate() {
            let name = &protocol.name;
            if let Err(error) = name.parse::<Name>() {
                return wrong(format!("`name` is `{name}`: {error}"));
            }
            if protocol.source().is_none() || protocol.paths.is_empty() {
                return wrong(format!("`{name}` needs `component` and `paths`"));
            }
            if protocol.background > MOST_BACKGROUND {
                return wrong(format!("`background` of `{name}` is longer than a day"));
            }
            let before = all.get(..index).unwrap_or_default();
            if before.iter().any(|it| it.name == *name) {
                return wrong(format!("two are called `{name}`"));
            }
            for path in &protocol.paths {
                let first = path.trim_start_matches('/').split('/').next();
                let first = first.unwrap_or_default();
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
                if !path.starts_with('/') || first.is_empty() || !path.bytes().all(is_plain) {
                    return wrong(format!(
                        "`{path}` of `{name}` is not a path: `/mcp`, or `/a2a/`"
                    ));
                }
                let is_own = OWN.contains(&first)
                    || first.starts_with("x402")
                    || path == "/.well-known/x402"
                    || path == "/.well-known/";
                if is_own {
                    return wrong(format!("`{path}` of `{name}` is the host's own"));
                }
                if before.iter().any(|it| {
                    it.paths
                        .iter()
                        .any(|own| is_below(own, path) || is_below(path, own))
                }) {
                    return wrong(format!("`{path}` is answered by two"));
                }
            }
        }
        Ok(())
    }
}

fn is_below(own: &str, path: &str) -> bool {
    own == path || (own.ends_with('/') && path.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(name: &str, path: &str) -> Protocol {
        Protocol {
            name: name.to_owned(),
            component: "mcp.wasm".into(),
            paths: vec![path.to_owned()],
            ..Protocol::default()
        }
    }

    #[test]
    fn a_path_is_that_one_and_a_folder_all_below_it() {
        let (one, all) = (protocol("mcp", "/mcp"), protocol("a2a", "/a2a/"));
        assert!(one.answers("/mcp") && !one.answers("/mcp/") && !one.answers("/mcpx"));
        assert!(all.answers("/a2a/") && all.answers("/a2a/weather/x") && !all.answers("/a2a"));
    }

    #[test]
    fn paths_that_are_the_hosts_or_anothers_are_refused() {
        let fits = |path: &str| Protocol::validate(&[protocol("mcp", path)]).is_ok();
        for path in ["/mcp", "/a2a/", "/.well-known/agent-card.json"] {
            assert!(fits(path), "{path}");
        }
        for path in [
            "",
            "/",
            "mcp",
            "//",
            "/agents",
            "/agents/a/",
            "/x402_policy/",
            "/search",
            "/.well-known/",
            "/.well-known/x402",
            "/mcp?a",
            "/%61",
        ] {
            assert!(!fits(path), "{path}");
        }
        let two =
            |a: &str, b: &str| Protocol::validate(&[protocol("a", a), protocol("b", b)]).is_ok();
        assert!(two("/mcp", "/a2a/"));
        assert!(!two("/a2a/", "/a2a/x") && !two("/a2a/x", "/a2a/") && !two("/mcp", "/mcp"));
        assert!(Protocol::validate(&[protocol("a", "/b"), protocol("a", "/c")]).is_err());
        assert!(Protocol::validate(&[protocol("A b", "/b")]).is_err());
        assert!(Protocol::validate(&[Protocol::default()]).is_err());
    }
}
