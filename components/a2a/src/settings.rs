//! What the operator sets, by environment variables. All are optional.
//!
//! | | |
//! |---|---|
//! | `PUBLIC_URL` | where clients find the host: URLs in cards begin so |
//! | `A2A_ORIGINS` | further origins that may call from a browser, apart by spaces or commas |
//! | `A2A_DEFAULT_AGENT` | the agent whose card is at `/.well-known/agent-card.json` |
//! | `A2A_PROVIDER`, `A2A_PROVIDER_URL` | who runs the host, in every card |
//! | `A2A_TASK_BYTES` | what is kept of one task; 1 MiB where it is missing |
//! | `A2A_TASKS_PER_CALLER` | tasks that are kept of one caller at one agent; 500 where it is missing |
//! | `A2A_TIMEOUT` | seconds that a request may take; 55 where it is missing |

use front::names;
use front::origin::Reach;
use front::variables::{Variables, wrong};

use crate::error::A2aError;

const TASK_BYTES: u64 = 1024 * 1024;
/// The least and the most that is kept of a task.
const LEAST_TASK_BYTES: u64 = 16 * 1024;
const MOST_TASK_BYTES: u64 = 8 * 1024 * 1024;
const TASKS: u64 = 500;
const MOST_TASKS: u64 = 10_000;
const LONGEST_PROVIDER: usize = 200;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where requests may come from.
    pub reach: Reach,
    /// Where clients find the host, without a slash at the end.
    pub public_url: Option<String>,
    /// The agent whose card is the host's.
    pub default_agent: Option<String>,
    /// Who runs the host, and where to read about that.
    pub provider: Option<(String, String)>,
    /// Bytes that are kept of a task.
    pub task_bytes: usize,
    /// Tasks that are kept of one caller at one agent.
    pub tasks: usize,
    /// Milliseconds that a request may take.
    pub timeout_ms: u64,
}

impl Settings {
    /// Those of this component's environment.
    pub fn from_environment() -> Result<Self, A2aError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Those that `variable` gives. An error names the variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, A2aError> {
        let variables = Variables(variable);
        let reach = variables.reach("A2A_ORIGINS")?;
        let public_url = variables.text("PUBLIC_URL");
        let public_url = public_url.map(|url| url.trim().trim_end_matches('/').to_owned());
        let default_agent = variables.text("A2A_DEFAULT_AGENT");
        let default_agent = default_agent.map(|name| name.trim().to_owned());
        if default_agent
            .as_ref()
            .is_some_and(|it| !names::is_reference(it))
        {
            return Err(wrong("A2A_DEFAULT_AGENT", "is no name of an agent").into());
        }
        let provider = match (
            variables.text("A2A_PROVIDER"),
            variables.text("A2A_PROVIDER_URL"),
        ) {
            (None, None) => None,
            (Some(name), Some(url)) if name.len() <= LONGEST_PROVIDER && is_url(&url) => {
                Some((name.trim().to_owned(), url.trim().to_owned()))
            }
            (Some(_), Some(_)) => {
                return Err(
                    wrong("A2A_PROVIDER_URL", "is no URL, or A2A_PROVIDER too long").into(),
                );
            }
            _ => return Err(wrong("A2A_PROVIDER", "and A2A_PROVIDER_URL go together").into()),
        };
        let task_bytes = variables.number("A2A_TASK_BYTES", TASK_BYTES, MOST_TASK_BYTES)?;
        let tasks = variables.number("A2A_TASKS_PER_CALLER", TASKS, MOST_TASKS)?;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            reach,
            public_url,
            default_agent,
            provider,
            task_bytes: size(task_bytes.max(LEAST_TASK_BYTES)),
            tasks: size(tasks.max(1)),
            timeout_ms: variables.timeout_ms("A2A_TIMEOUT")?,
        })
    }
}

fn is_url(text: &str) -> bool {
    front::origin::Origin::of_url(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, A2aError> {
        Settings::read(|name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn everything_has_a_default() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.task_bytes, settings.tasks), (1024 * 1024, 500));
        assert_eq!(settings.timeout_ms, 55_000);
        assert_eq!((settings.public_url, settings.provider), (None, None));
    }

    #[test]
    fn a_public_url_ends_without_a_slash() {
        let settings = read(&[("PUBLIC_URL", "https://host.example/")]).unwrap();
        assert_eq!(settings.public_url.as_deref(), Some("https://host.example"));
    }

    #[test]
    fn a_mistake_names_its_variable_and_not_its_value() {
        for (name, value) in [
            ("PUBLIC_URL", "secret"),
            ("A2A_ORIGINS", "secret"),
            ("A2A_DEFAULT_AGENT", "Secret!"),
            ("A2A_TASK_BYTES", "secret"),
            ("A2A_TASKS_PER_CALLER", "-1"),
            ("A2A_TIMEOUT", "1.5"),
            ("A2A_PROVIDER", "secret"),
        ] {
            let text = read(&[(name, value)]).unwrap_err().to_string();
            assert!(text.contains(name) && !text.contains("ecret"), "{text}");
        }
    }
}
