//! Input that an agent asks for: what it may want of whom, and what comes of it.

use front::json;
use serde_json::{Map, Value, json};

use super::{MAY_ASK, odd, state};
use crate::error::RpcError;
use crate::ports::Seals;
use crate::version::Era;

/// As much is asked for at once.
const MOST: usize = 16;
/// The longest name of it, in bytes.
const LONGEST_KEY: usize = 256;

/// What an agent wants before it goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Requests to the client by names of the agent's own: `method` and `params`.
    pub requests: Map<String, Value>,
    state: Option<String>,
}

impl Wanted {
    /// What a result asks for, taken out of it. An error says what the agent may not ask.
    pub fn read(result: &mut Map<String, Value>) -> Result<Self, &'static str> {
        let state = match result.remove("requestState") {
            None => None,
            Some(Value::String(state)) => Some(state),
            Some(_) => return Err("its state is no text"),
        };
        let requests = match result.remove("inputRequests") {
            None => Map::new(),
            Some(Value::Object(requests)) => requests,
            Some(_) => return Err("what it asks for is no object"),
        };
        if requests.is_empty() && state.is_none() {
            return Err("it asks for nothing");
        }
        if requests.len() > MOST || requests.keys().any(|key| key.len() > LONGEST_KEY) {
            return Err("it asks for too much");
        }
        let is_known = |request: &Value| {
            let members = request.as_object();
            let has_params =
                members.is_some_and(|it| it.get("params").is_none_or(Value::is_object));
            has_params && Capability::of(request).is_some()
        };
        match requests.values().all(is_known) {
            true => Ok(Self { requests, state }),
            false => Err("it asks for what no client has"),
        }
    }

    /// The agent's state, for an agent that is asked again by the front itself.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The capabilities that a client with these does not have and that this takes.
    pub fn missing(&self, capabilities: &Map<String, Value>) -> Map<String, Value> {
        let needed = self.requests.values().filter_map(Capability::of);
        let mut missing = Map::new();
        for capability in needed.filter(|it| !it.is_in(capabilities)) {
            let entry = missing.entry(capability.name).or_insert_with(|| json!({}));
            if let (Some(mode), Some(entry)) = (capability.mode, entry.as_object_mut()) {
                entry.insert(mode.to_owned(), json!({}));
            }
        }
        missing
    }

    /// The result that asks a client for it, with the state sealed for the client to carry.
    pub fn into_result(
        self,
        seals: &impl Seals,
        bound: &state::Bound<'_>,
        mut result: Map<String, Value>,
    ) -> Result<Map<String, Value>, RpcError> {
        if !self.requests.is_empty() {
            result.insert("inputRequests".to_owned(), self.requests.into());
        }
        if let Some(state) = self.state {
            let sealed = state::sealed(seals, bound, &state).map_err(odd)?;
            result.insert("requestState".to_owned(), sealed.into());
        }
        Ok(result)
    }
}

/// What a client needs to be asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Capability {
    name: &'static str,
    mode: Option<&'static str>,
}

impl Capability {
    fn of(request: &Value) -> Option<Self> {
        let request = request.as_object()?;
        let mode = || {
            let params = request.get("params").and_then(Value::as_object)?;
            json::text(params, "mode")
        };
        let (name, mode) = match json::text(request, "method")? {
            "elicitation/create" => match mode().unwrap_or("form") {
                "form" => ("elicitation", Some("form")),
                "url" => ("elicitation", Some("url")),
                _ => return None,
            },
            "sampling/createMessage" => ("sampling", None),
            "roots/list" => ("roots", None),
            _ => return None,
        };
        Some(Self { name, mode })
    }

    fn is_in(self, capabilities: &Map<String, Value>) -> bool {
        declares(capabilities, self.name, self.mode)
    }
}

/// Whether a client that declared these capabilities has this one, in this of its modes.
pub fn declares(capabilities: &Map<String, Value>, name: &str, mode: Option<&str>) -> bool {
    let declared = capabilities.get(name).and_then(Value::as_object);
    declared.is_some_and(|declared| match mode {
        None => true,
        // A client that names no way of being asked fills in forms.
        Some("form") if declared.is_empty() => true,
        Some(mode) => declared.get(mode).is_some_and(Value::is_object),
    })
}

/// Judges what a request brings of an earlier one, and opens its state. A client that is asked on the way brings nothing.
pub fn judge(
    seals: &impl Seals,
    bound: &state::Bound<'_>,
    era: Era,
    params: &mut Map<String, Value>,
) -> Result<(), RpcError> {
    let wrong = |what: &str| RpcError::Params(what.to_owned());
    let state = params.remove("requestState");
    let responses = params.remove("inputResponses");
    if era == Era::Legacy || !MAY_ASK.contains(&bound.method) {
        return Ok(());
    }
    match responses {
        None => {}
        Some(Value::Object(responses)) if responses.values().all(Value::is_object) => {
            params.insert("inputResponses".to_owned(), responses.into());
        }
        Some(_) => return Err(wrong("`inputResponses` has to be an object of objects")),
    }
    match state {
        None => {}
        Some(Value::String(state)) => {
            let opened = state::opened(seals, bound, &state);
            let opened = opened.ok_or_else(|| wrong("`requestState` was not given for this"))?;
            params.insert("requestState".to_owned(), opened.into());
        }
        Some(_) => return Err(wrong("`requestState` has to be text")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(result: Value) -> Result<Wanted, &'static str> {
        Wanted::read(&mut result.as_object().unwrap().clone())
    }

    fn asking(method: &str, params: Value) -> Wanted {
        wanted(json!({"inputRequests": {"a": {"method": method, "params": params}}})).unwrap()
    }

    #[test]
    fn what_no_client_has_is_not_asked_for() {
        for result in [
            json!({}),
            json!({"requestState": 1}),
            json!({"inputRequests": []}),
            json!({"inputRequests": {}}),
            json!({"inputRequests": {"a": 1}}),
            json!({"inputRequests": {"a": {"method": "tools/call"}}}),
            json!({"inputRequests": {"a": {"method": "roots/list", "params": []}}}),
            json!({"inputRequests": {"a": {"method": "elicitation/create", "params": {"mode": "mind"}}}}),
            json!({"inputRequests": {"a".repeat(257): {"method": "roots/list"}}}),
        ] {
            assert!(wanted(result.clone()).is_err(), "{result}");
        }
        let many = (0..17).map(|it| (it.to_string(), json!({"method": "roots/list"})));
        assert!(wanted(json!({"inputRequests": many.collect::<Map<_, _>>()})).is_err());
        assert!(wanted(json!({"requestState": "a"})).is_ok());
    }

    #[test]
    fn a_client_is_asked_for_what_it_said_it_can_do() {
        let form = asking("elicitation/create", json!({"message": "?"}));
        let url = asking("elicitation/create", json!({"mode": "url"}));
        let sampling = asking("sampling/createMessage", json!({}));
        let missing =
            |wanted: &Wanted, can: Value| Value::Object(wanted.missing(can.as_object().unwrap()));
        for can in [
            json!({"elicitation": {}}),
            json!({"elicitation": {"form": {}}}),
        ] {
            assert_eq!(missing(&form, can), json!({}));
        }
        let none = json!({"elicitation": 1});
        assert_eq!(missing(&form, none), json!({"elicitation": {"form": {}}}));
        let links = json!({"elicitation": {"url": {}}});
        assert_eq!(missing(&url, links.clone()), json!({}));
        assert_eq!(
            missing(&form, links.clone()),
            json!({"elicitation": {"form": {}}})
        );
        assert_eq!(missing(&sampling, links), json!({"sampling": {}}));
    }

    proptest! {
        #[test]
        fn any_result_asks_or_is_refused(text in "\\{\"(inputRequests|requestState)\":[\\[\\]{}\",:a-z/0-9]{0,40}\\}") {
            if let Ok(result) = serde_json::from_str::<Value>(&text) {
                let _ = wanted(result).map(|it| it.missing(&Map::new()));
            }
        }
    }
}
