//! A task as clients see it: the fold of its events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The most messages that a task keeps of its history.
const MOST_HISTORY: usize = 100;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It was taken.
    #[serde(rename = "TASK_STATE_SUBMITTED")]
    Submitted,
    /// The agent works.
    #[serde(rename = "TASK_STATE_WORKING")]
    Working,
    /// The client has to say more, or to pay.
    #[serde(rename = "TASK_STATE_INPUT_REQUIRED")]
    InputRequired,
    /// The client has to prove something.
    #[serde(rename = "TASK_STATE_AUTH_REQUIRED")]
    AuthRequired,
    /// Done.
    #[serde(rename = "TASK_STATE_COMPLETED")]
    Completed,
    /// Not done.
    #[serde(rename = "TASK_STATE_FAILED")]
    Failed,
    /// Given up by the client.
    #[serde(rename = "TASK_STATE_CANCELED")]
    Canceled,
    /// Not taken by the agent.
    #[serde(rename = "TASK_STATE_REJECTED")]
    Rejected,
}

impl State {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    /// Whether nothing comes after it.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Canceled | Self::Rejected
        )
    }

    /// Whether the client is waited for.
    pub fn is_interrupted(self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The id.
    pub id: String,
    /// The conversation that it belongs to.
    pub context: String,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub timestamp: String,
    /// What the agent says of that.
    pub message: Option<Value>,
    /// What came of it.
    pub artifacts: Vec<Value>,
    /// What was said.
    pub history: Vec<Value>,
}

impl Task {
    /// One that was just taken.
    pub fn new(id: String, context: String, timestamp: String) -> Self {
        Self {
            id,
            context,
            state: State::Submitted,
            timestamp,
            message: None,
            artifacts: Vec::new(),
            history: Vec::new(),
        }
    }

    /// As clients see it, with the last `history` messages.
    pub fn to_value(&self, history: Option<usize>, has_artifacts: bool) -> Value {
        let mut task = Map::new();
        task.insert("id".to_owned(), self.id.clone().into());
        task.insert("contextId".to_owned(), self.context.clone().into());
        task.insert("status".to_owned(), self.status());
        if has_artifacts && !self.artifacts.is_empty() {
            task.insert("artifacts".to_owned(), self.artifacts.clone().into());
        }
        let all = self.history.len();
        let from = all.saturating_sub(history.unwrap_or(all));
        let shown = self.history.get(from..).unwrap_or_default();
        if !shown.is_empty() {
            task.insert("history".to_owned(), shown.to_vec().into());
        }
        Value::Object(task)
    }

    fn status(&self) -> Value {
        let mut status = json!({"state": self.state, "timestamp": self.timestamp});
        if let Some(message) = &self.message {
            status["message"] = message.clone();
        }
        status
    }

    /// What it is after an event of its own.
    pub fn fold(&mut self, event: &Value) {
        if let Some(update) = event.get("statusUpdate") {
            self.fold_status(update.get("status").unwrap_or(&Value::Null));
        } else if let Some(update) = event.get("artifactUpdate") {
            let is_append = update.get("append") == Some(&Value::Bool(true));
            if let Some(artifact) = update.get("artifact") {
                self.fold_artifact(artifact, is_append);
            }
        } else if let Some(task) = event.get("task") {
            let list = |name: &str| task.get(name).and_then(Value::as_array).cloned();
            self.artifacts = list("artifacts").unwrap_or_default();
            self.history = list("history").unwrap_or_default();
            self.message = None;
            self.fold_status(task.get("status").unwrap_or(&Value::Null));
        }
    }

    fn fold_status(&mut self, status: &Value) {
        let text = |name: &str| status.get(name).and_then(Value::as_str);
        if let Some(state) = text("state").and_then(State::named) {
            self.state = state;
        }
        if let Some(timestamp) = text("timestamp") {
            self.timestamp = timestamp.to_owned();
        }
        let before = self.message.take();
        self.message = status.get("message").cloned();
        if let Some(before) = before {
            self.say(before);
        }
    }

    /// Adds to what was said; the oldest goes where there is too much, but the first message, which began it, stays.
    pub fn say(&mut self, message: Value) {
        if self.history.len() >= MOST_HISTORY {
            self.history.remove(1);
        }
        self.history.push(message);
    }

    fn fold_artifact(&mut self, artifact: &Value, is_append: bool) {
        let id = artifact.get("artifactId");
        let known = self.artifacts.iter_mut();
        let known = known.into_iter().find(|it| it.get("artifactId") == id);
        let Some(known) = known else {
            self.artifacts.push(artifact.clone());
            return;
        };
        if !is_append {
            *known = artifact.clone();
            return;
        }
        if let Some(metadata) = artifact.get("metadata") {
            known["metadata"] = metadata.clone();
        }
        let added = artifact.get("parts").and_then(Value::as_array);
        let Some(parts) = known.get_mut("parts").and_then(Value::as_array_mut) else {
            return;
        };
        for part in added.into_iter().flatten() {
            match parts.last_mut() {
                Some(last) if is_more_text(last, part) => {
                    let text = part.get("text").and_then(Value::as_str);
                    if let (Some(Value::String(before)), Some(text)) = (last.get_mut("text"), text)
                    {
                        before.push_str(text);
                    }
                }
                _ => parts.push(part.clone()),
            }
        }
    }
}

/// Whether a part is the text that goes on where the last one ended.
fn is_more_text(last: &Value, part: &Value) -> bool {
    let same = |name: &str| last.get(name) == part.get(name);
    let is_text = |part: &Value| part.get("text").is_some_and(Value::is_string);
    is_text(last) && is_text(part) && same("mediaType") && same("filename") && same("metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        Task::new("t".to_owned(), "c".to_owned(), "0".to_owned())
    }

    fn chunk(text: &str, append: bool) -> Value {
        json!({"artifactUpdate": {"taskId": "t", "contextId": "c", "append": append,
            "artifact": {"artifactId": "a", "parts": [{"text": text}]}}})
    }

    #[test]
    fn chunks_of_text_become_one_text() {
        let mut task = task();
        for event in [chunk("a", false), chunk("b", true), chunk("c", true)] {
            task.fold(&event);
        }
        assert_eq!(
            task.artifacts,
            [json!({"artifactId": "a", "parts": [{"text": "abc"}]})]
        );
        task.fold(&chunk("new", false));
        assert_eq!(task.artifacts[0]["parts"][0]["text"], "new");
    }

    #[test]
    fn what_was_said_of_a_state_is_history_when_the_next_comes() {
        let mut task = task();
        let status = |state: &str, text: &str| json!({"statusUpdate": {"status": {"state": state, "timestamp": text, "message": {"messageId": text}}}});
        task.fold(&status("TASK_STATE_WORKING", "1"));
        task.fold(&status("TASK_STATE_COMPLETED", "2"));
        assert_eq!(task.history, [json!({"messageId": "1"})]);
        assert_eq!(task.message, Some(json!({"messageId": "2"})));
        assert!(task.state.is_terminal());
    }

    #[test]
    fn a_history_has_the_last_messages_and_is_left_out_where_it_is_empty() {
        let mut task = task();
        for id in 0..MOST_HISTORY + 5 {
            task.say(json!(id));
        }
        assert_eq!(
            (task.history.len(), &task.history[0]),
            (MOST_HISTORY, &json!(0))
        );
        let value = task.to_value(Some(2), true);
        assert_eq!(value["history"], json!([103, 104]));
        assert!(task.to_value(Some(0), true).get("history").is_none());
        assert!(task.to_value(None, true).get("artifacts").is_none());
    }

    #[test]
    fn a_task_is_what_its_own_event_says() {
        let mut task = task();
        task.say(json!({"messageId": "m"}));
        task.fold(&chunk("a", false));
        let mut copy = super::Task::new("t".to_owned(), "c".to_owned(), String::new());
        copy.fold(&json!({"task": task.to_value(None, true)}));
        assert_eq!(copy, task);
    }
}
