//! What a path asks for.

use http::Uri;
use http::uri::PathAndQuery;
use hypervisor_client::agents::Reference;

use super::problem::Refusal;

const AGENTS: &str = "/agents";

/// What a request is for, and the path that it sees.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// None: what answers in the host's own name, by its path.
    pub(super) agent: Option<Reference>,
    pub(super) path: PathAndQuery,
}

impl Target {
    /// `/agents/REFERENCE/PATH`, where `@DIGEST` may follow the reference, or any other path.
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let wrong = |reason: String| Refusal::malformed(reason);
        let whole = uri
            .path_and_query()
            .filter(|it| it.as_str().starts_with('/'));
        let whole = whole.ok_or_else(|| wrong("its target is no path".to_owned()))?;
        let rest = match whole.as_str().strip_prefix(AGENTS) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => rest,
            _ => {
                return Ok(Self {
                    agent: None,
                    path: whole.clone(),
                });
            }
        };
        let rest = rest.strip_prefix('/').unwrap_or_default();
        let Some((name, _)) = rest.split_once('/') else {
            return Err(Refusal::not_found(
                "an agent is called at /agents/NAME/, with the slash; `hv agents list` lists those of the host",
            ));
        };
        let path = rest.get(name.len()..).unwrap_or("/");
        let path = PathAndQuery::try_from(path).map_err(|error| wrong(error.to_string()))?;
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (name, None),
        };
        let agent: Reference = name.parse().map_err(|_| {
            Refusal::not_found(
                "the part of its path behind /agents/ is no name or address of an agent",
            )
        })?;
        let agent = match digest {
            None => agent,
            Some(digest) => agent.pinned(digest.parse().map_err(|_| {
                wrong(
                    "what follows @ is no digest: sha256: or sha384: and lower-case hex".to_owned(),
                )
            })?),
        };
        Ok(Self {
            agent: Some(agent),
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(path: &str) -> Result<Target, u16> {
        Target::of(&path.parse().unwrap()).map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn an_agent_sees_what_follows_its_name() {
        for (asked, seen) in [
            ("/agents/weather/", "/"),
            ("/agents/weather/a%20b?city=Oslo", "/a%20b?city=Oslo"),
            ("/agents/weather//x/../y", "//x/../y"),
            ("http://127.0.0.1:8090/agents/weather/a", "/a"),
        ] {
            let target = of(asked).unwrap();
            assert_eq!(target.agent.unwrap().as_str(), "weather");
            assert_eq!(target.path, seen);
        }
    }

    #[test]
    fn a_digest_may_be_asked_for() {
        let digest = "sha256:".to_owned() + &"ab".repeat(32);
        let target = of(&format!("/agents/weather@{digest}/")).unwrap();
        let pinned = "weather"
            .parse::<Reference>()
            .unwrap()
            .pinned(digest.parse().unwrap());
        assert_eq!(target.agent, Some(pinned));
        assert_eq!(of("/agents/weather@sha1:00/"), Err(400));
    }

    #[test]
    fn every_other_path_is_the_hosts_own() {
        for path in [
            "/",
            "/mcp",
            "/a2a/weather/?a=b",
            "/agentsx/a/",
            "/.well-known/agent-card.json",
        ] {
            let target = of(path).unwrap();
            assert_eq!((target.agent, target.path.as_str()), (None, path));
        }
    }

    #[test]
    fn what_names_no_agent_is_not_sent() {
        for path in [
            "/agents",
            "/agents/",
            "/agents/weather",
            "/agents?x=/a/",
            "/agents//a",
            "/agents/_.protocol/a",
            "/agents/We/a",
        ] {
            assert_eq!(of(path), Err(404), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "/(agents)?/?[a-zA-Z0-9@:._/%?-]{0,80}") {
            if let Ok(uri) = path.parse::<Uri>() && let Ok(target) = Target::of(&uri) {
                prop_assert!(path.ends_with(target.path.as_str()));
            }
        }
    }
}
