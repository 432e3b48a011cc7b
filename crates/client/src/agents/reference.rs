//! Names of agents as they are written.

use std::fmt;
use std::str::FromStr;

use hypervisor_protocol::ComponentDigest;
use hypervisor_protocol::owner::ID_LENGTH;

use crate::error::Error;

/// Longest name: that of a label of the DNS.
const MAX_NAME: usize = 63;
/// What stands for the owner of the agents of a host's registry.
const OPERATOR: &str = "operator";
/// What stands for all that answers in the host's own name. No agent has such a name.
const FRONTS: &str = "_.protocol";
/// Most characters of what was given that a message repeats.
const QUOTED: usize = 100;

/// An agent: `name`, or `name.owner` with the owner's id (32 hex digits) or `operator`. Safe in a path and a host name.
///
/// A name is 1 to 63 of `a`–`z`, `0`–`9` and `-`, first a letter, last not a hyphen.
///
/// It may be pinned to a component ([`Self::pinned`]): what the host finds under a name is the host's and the owners' affair, and may
/// change between looking and calling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    text: String,
    pin: Option<ComponentDigest>,
}

impl Reference {
    /// What answers in the host's own name, by the path that a request asks for.
    pub fn of_fronts() -> Self {
        Self {
            text: FRONTS.to_owned(),
            pin: None,
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the owner.
    pub fn name(&self) -> &str {
        self.text.split('.').next().unwrap_or_default()
    }

    /// The same agent, which is called only if its component has this digest: the host refuses the call otherwise, before
    /// anything runs or is charged. The digest travels sealed.
    #[must_use]
    pub fn pinned(self, digest: ComponentDigest) -> Self {
        Self {
            pin: Some(digest),
            ..self
        }
    }

    /// What is sealed as the name of a call.
    pub(super) fn sealed(&self) -> String {
        match &self.pin {
            Some(digest) => format!("{}@{digest}", self.text),
            None => self.text.clone(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Setting {
            what: "an agent",
            text: text.chars().take(QUOTED).collect(),
            reason,
        };
        let (name, owner) = match text.split_once('.') {
            Some((name, owner)) => (name, Some(owner)),
            None => (text, None),
        };
        if !is_name(name) {
            return Err(wrong(format!(
                "a name is 1 to {MAX_NAME} of a-z, 0-9 and -, first a letter, last not a hyphen"
            )));
        }
        if owner.is_some_and(|owner| !is_owner(owner)) {
            return Err(wrong(format!(
                "what follows the dot is the owner's id, {} lower-case hex digits, or `{OPERATOR}`",
                2 * ID_LENGTH
            )));
        }
        Ok(Self {
            text: text.to_owned(),
            pin: None,
        })
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_owner(owner: &str) -> bool {
    let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    owner == OPERATOR || (owner.len() == 2 * ID_LENGTH && owner.bytes().all(digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_addresses_are_references() {
        let owner = "0123456789abcdef0123456789abcdef";
        for text in [
            "a",
            "weather",
            "a-1",
            "x2",
            &"a".repeat(63),
            "weather.operator",
            &format!("weather.{owner}"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.as_str(), text);
            assert_eq!(Some(reference.name()), text.split('.').next());
        }
    }

    #[test]
    fn no_agent_is_taken_for_what_answers_in_the_hosts_own_name() {
        let fronts = Reference::of_fronts();
        assert_eq!(fronts.to_string(), "_.protocol");
        assert!(fronts.as_str().parse::<Reference>().is_err());
    }

    #[test]
    fn what_could_leave_its_place_in_a_path_is_refused() {
        let upper = format!("weather.{}", "A".repeat(32));
        let short = format!("weather.{}", "a".repeat(31));
        for text in [
            "",
            ".",
            "..",
            "-a",
            "a-",
            "1a",
            "Weather",
            "wéather",
            "a/b",
            "a%2fb",
            "a?b",
            "a b",
            "a\n",
            "weather.",
            "weather.me",
            "weather.operator.",
            "weather.operator.operator",
            &upper,
            &short,
            &"a".repeat(64),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains("is not an agent"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe_or_refused(text in "[a-z0-9.-]{0,70}|.{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let safe = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
                prop_assert!(reference.as_str().bytes().all(safe));
                prop_assert_eq!(reference.as_str(), text);
            }
        }
    }
}
