//! What is known of a request when its method is answered.

use front::agents::Listed;
use front::fields::Fields;

use crate::caller::Caller;
use crate::pay;
use crate::settings::Settings;

/// A request to an agent.
pub struct Context<'a, W> {
    /// The world.
    pub world: &'a W,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// The agent.
    pub agent: &'a Listed,
    /// Who asks.
    pub caller: Caller,
    /// The same at this agent, under which tasks are kept.
    pub owner: String,
    /// Header fields.
    pub fields: &'a Fields,
    /// Where the agent is, as clients know it, with a slash at the end.
    pub url: String,
}

/// Header fields that name extensions, of 1.0 and of those who were there before.
const EXTENSIONS: [&str; 2] = ["a2a-extensions", "x-a2a-extensions"];

/// The extensions of this front's that a client activates.
pub fn extensions(fields: &Fields) -> Vec<&'static str> {
    let asked: Vec<&str> = EXTENSIONS
        .iter()
        .flat_map(|name| fields.all(name))
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let known = pay::URIS.into_iter().chain([crate::card::EVIDENCE]);
    known.filter(|uri| asked.contains(uri)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_activated_by_either_header() {
        let [new, old] = pay::URIS;
        let both = format!("https://other.example, {new}");
        let fields = Fields::of(&[("A2A-Extensions", &both), ("X-A2A-Extensions", old)]);
        assert_eq!(extensions(&fields), [new, old]);
        assert!(extensions(&Fields::of(&[])).is_empty());
    }
}
