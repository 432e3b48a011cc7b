//! Answers of agents that speak this protocol themselves: a stream of events (`text/event-stream` with `a2a-events: 1.0`) whose data are
//! StreamResponse objects, or one such object as `application/a2a+json`. The front writes the ids.

use front::json;
use serde_json::{Map, Value};

use crate::message::{self, Ids, Message};
use crate::task::State;

/// As many artifacts are taken out of one event.
const MOST_ARTIFACTS: usize = 64;

/// What an agent says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Some of an artifact.
    Artifact {
        /// The artifact.
        artifact: Map<String, Value>,
        /// Whether it goes on with the one of its id.
        is_append: bool,
        /// Whether it is the last of it.
        is_last: bool,
    },
    /// Where the task stands.
    Status(State, Option<Value>),
    /// A message in place of a task.
    Message(Value),
}

/// What one event says. An error says what is wrong with it.
pub fn said(event: &Map<String, Value>, ids: &Ids) -> Result<Vec<Said>, String> {
    let known = ["task", "message", "statusUpdate", "artifactUpdate"];
    let mut found = known
        .into_iter()
        .filter_map(|name| Some((name, event.get(name)?.as_object()?)));
    let (name, content) = match (found.next(), found.next()) {
        (Some(one), None) => one,
        _ => return Err(format!("it has not one of {}", known.join(", "))),
    };
    match name {
        "message" => {
            let value = Value::Object(content.clone());
            Ok(vec![Said::Message(Message::of_agent(&value, ids)?)])
        }
        "statusUpdate" => Ok(vec![status(content, ids)?]),
        "artifactUpdate" => {
            let flag = |name: &str| content.get(name) == Some(&Value::Bool(true));
            let artifact = content.get("artifact").unwrap_or(&Value::Null);
            Ok(vec![Said::Artifact {
                artifact: message::artifact(artifact, &ids.fresh)?,
                is_append: flag("append"),
                is_last: flag("lastChunk"),
            }])
        }
        _ => task(content, ids),
    }
}

/// A whole task is said as its artifacts and where it stands.
fn task(task: &Map<String, Value>, ids: &Ids) -> Result<Vec<Said>, String> {
    let artifacts = task.get("artifacts").and_then(Value::as_array);
    let artifacts = artifacts.map(Vec::as_slice).unwrap_or_default();
    if artifacts.len() > MOST_ARTIFACTS {
        return Err(format!("it has more than {MOST_ARTIFACTS} artifacts"));
    }
    let mut said = Vec::with_capacity(artifacts.len().saturating_add(1));
    for (at, artifact) in artifacts.iter().enumerate() {
        said.push(Said::Artifact {
            artifact: message::artifact(artifact, &format!("{}-{at}", ids.fresh))?,
            is_append: false,
            is_last: true,
        });
    }
    said.push(status(task, ids)?);
    Ok(said)
}

fn status(of: &Map<String, Value>, ids: &Ids) -> Result<Said, String> {
    let status = of.get("status").and_then(Value::as_object);
    let status = status.ok_or("it has no status")?;
    let state = json::text(status, "state").and_then(State::named);
    let state = state.ok_or("its state is none")?;
    let message = match status.get("message") {
        None | Some(Value::Null) => None,
        Some(message) => Some(Message::of_agent(message, ids)?),
    };
    Ok(Said::Status(state, message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ids() -> Ids {
        Ids {
            task: Some("t".to_owned()),
            context: "c".to_owned(),
            fresh: "f".to_owned(),
        }
    }

    fn read(event: Value) -> Result<Vec<Said>, String> {
        said(event.as_object().unwrap(), &ids())
    }

    #[test]
    fn what_an_agent_says_is_written_into_its_task() {
        let status = read(
            json!({"statusUpdate": {"taskId": "x", "status": {"state": "TASK_STATE_INPUT_REQUIRED",
            "message": {"parts": [{"text": "which?"}]}}}}),
        );
        let [Said::Status(State::InputRequired, Some(message))] = &*status.unwrap() else {
            panic!()
        };
        assert_eq!(
            (&message["taskId"], &message["role"]),
            (&json!("t"), &json!("ROLE_AGENT"))
        );
        let artifact = read(
            json!({"artifactUpdate": {"append": true, "artifact": {"parts": [{"text": "a"}]}}}),
        );
        let [
            Said::Artifact {
                artifact,
                is_append: true,
                is_last: false,
            },
        ] = &*artifact.unwrap()
        else {
            panic!()
        };
        assert_eq!(artifact["artifactId"], "f");
        let task = read(json!({"task": {"status": {"state": "TASK_STATE_COMPLETED"},
            "artifacts": [{"parts": [{"text": "a"}]}, {"parts": [{"text": "b"}]}]}}));
        assert_eq!(task.unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for event in [
            json!({}),
            json!({"task": {}, "message": {}}),
            json!({"statusUpdate": {"status": {"state": "working"}}}),
            json!({"artifactUpdate": {"artifact": {}}}),
            json!({"message": {"parts": []}}),
            json!({"task": {"status": {"state": "TASK_STATE_COMPLETED"}, "artifacts": vec![json!({}); 65]}}),
        ] {
            assert!(read(event.clone()).is_err(), "{event}");
        }
    }

    proptest! {
        #[test]
        fn any_object_is_judged(text in "\\{\"(task|message|statusUpdate|artifactUpdate)\":\\{\"(status|artifact|parts)\":[\\[\\]{}\",:a-z0-9]{0,30}\\}\\}") {
            if let Ok(Value::Object(event)) = serde_json::from_str(&text) {
                let _ = said(&event, &ids());
            }
        }
    }
}
