//! The agents of the host, as everybody sees them.

use serde::de::DeserializeSeed;
use serde_json::{Map, Value};

use crate::error::HostError;
use crate::list::List;
use crate::ports::{Answer, Asked, Ports};
use crate::words::words;
use crate::{json, names, problem};

/// As much of a list of agents is read, and of one agent.
const MOST_LIST: usize = 32 * 1024 * 1024;
const MOST_AGENT: usize = 256 * 1024;

/// An agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The shortest name that means it.
    pub reference: String,
    /// The name that nobody else can have.
    pub address: String,
    /// Whether it is called by arguments and standard input.
    pub is_command: bool,
    /// What a call costs.
    pub price: Option<String>,
    /// Its owner's words.
    pub description: String,
    /// Its owner's version of it.
    pub version: Option<String>,
    /// Words that it is found by.
    pub skills: Vec<String>,
    /// What models are told of it.
    pub tool: Option<Map<String, Value>>,
}

impl Listed {
    /// The one that the host describes so.
    pub fn read(agent: &Map<String, Value>) -> Option<Self> {
        let address = json::text(agent, "address").filter(|it| names::is_reference(it))?;
        let path = json::text(agent, "path").unwrap_or_default();
        let reference = path.strip_prefix("/agents/");
        let reference = reference.and_then(|rest| rest.strip_suffix('/'));
        let reference = reference.filter(|it| names::is_reference(it));
        let skills = agent.get("skills").and_then(Value::as_array);
        let skills = skills.into_iter().flatten().filter_map(Value::as_str);
        Some(Self {
            reference: reference.unwrap_or(address).to_owned(),
            address: address.to_owned(),
            is_command: json::text(agent, "world") == Some("command"),
            price: json::text(agent, "price").map(|it| words(it, 100)),
            description: json::text(agent, "description")
                .unwrap_or_default()
                .to_owned(),
            version: json::text(agent, "version").map(str::to_owned),
            skills: skills.map(str::to_owned).collect(),
            tool: agent.get("tool").and_then(Value::as_object).cloned(),
        })
    }

    /// Where its tool is asked, if it says what arguments that takes.
    pub fn tool_path(&self) -> Option<&str> {
        let tool = self.tool.as_ref()?;
        tool.get("input_schema").filter(|it| it.is_object())?;
        Some(json::text(tool, "path").unwrap_or("/"))
    }
}

/// Whether a text can be the path and query of a request to an agent, at most so long.
pub fn is_target(target: &str, longest: usize) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() && b != b'#';
    target.starts_with('/')
        && !target.starts_with("//")
        && target.len() <= longest
        && target.bytes().all(is_plain)
}

/// The first public agents that `wants`, in the order of their addresses, `most` at most.
pub fn some(
    ports: &impl Ports,
    most: usize,
    wants: impl FnMut(&Listed) -> bool,
) -> Result<Vec<Listed>, HostError> {
    let answer = get(ports, "/agents".to_owned(), MOST_LIST)?;
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(&answer.body);
    let read = List {
        found: &mut found,
        most,
        wants,
    }
    .deserialize(&mut reader);
    let read = read.and_then(|()| reader.end());
    read.map_err(|_| HostError::Unreadable("it is no list of agents"))?;
    Ok(found)
}

/// The public agent with this reference.
pub fn one(ports: &impl Ports, reference: &str) -> Result<Listed, HostError> {
    let unknown = || HostError::NoAgent(words(reference, 128));
    if !names::is_reference(reference) {
        return Err(unknown());
    }
    let asked = Asked::host("GET", format!("/agents/{reference}"), MOST_AGENT);
    let answer = ports.send(&asked).map_err(HostError::Web)?;
    match answer.status {
        200 if answer.is_cut => Err(HostError::TooLong(MOST_AGENT)),
        200 => {
            let agent = json::object(&answer.body).ok();
            let agent = agent.as_ref().and_then(Listed::read);
            agent.ok_or(HostError::Unreadable("it is no agent"))
        }
        404 => Err(unknown()),
        _ => Err(HostError::Problem(problem::refusal(&answer))),
    }
}

fn get(ports: &impl Ports, target: String, limit: usize) -> Result<Answer, HostError> {
    let asked = Asked::host("GET", target, limit);
    let answer = ports.send(&asked).map_err(HostError::Web)?;
    match answer.status {
        200 if answer.is_cut => Err(HostError::TooLong(limit)),
        200 => Ok(answer),
        _ => Err(HostError::Problem(problem::refusal(&answer))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::World;

    fn listed(agent: &Value) -> Option<Listed> {
        Listed::read(agent.as_object().unwrap())
    }

    #[test]
    fn an_agent_has_what_the_host_says_of_it() {
        let agent = json!({"name": "weather", "address": "weather.operator", "path": "/agents/weather/",
            "description": "Tells the weather.", "world": "command", "price": "0.01 USDC", "version": "1.2",
            "skills": ["weather", 1]});
        let agent = listed(&agent).unwrap();
        assert!(agent.is_command);
        assert_eq!(agent.reference, "weather");
        assert_eq!(agent.version.as_deref(), Some("1.2"));
        assert_eq!(agent.skills, ["weather"]);
        assert_eq!(agent.tool_path(), None);
    }

    #[test]
    fn what_has_no_address_is_no_agent() {
        for agent in [json!({}), json!({"address": 1}), json!({"address": "a/b"})] {
            assert_eq!(listed(&agent), None);
        }
        let odd = json!({"address": "a.operator", "path": "/agents/../x/"});
        assert_eq!(listed(&odd).unwrap().reference, "a.operator");
    }

    #[test]
    fn only_a_path_of_visible_characters_is_a_target() {
        assert!(is_target("/a?b=%20", 20));
        for text in ["", "a", "//a", "/a b", "/a#b", "/\r\n", "/é"] {
            assert!(!is_target(text, 20), "{text}");
        }
        assert!(!is_target("/aaaa", 4));
    }

    #[test]
    fn what_is_no_reference_is_not_asked_for() {
        let world = World::answering(|_, _| Answer::default());
        let error = one(&world, "../a").unwrap_err();
        assert_eq!(error, HostError::NoAgent("../a".to_owned()));
        assert!(world.sent().is_empty());
    }
}
