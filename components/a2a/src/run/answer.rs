//! What an agent's answer becomes: text, events of its own, or one part.

use front::events::{MOST_EVENT, TooLong};
use front::json;
use front::ports::Answer;
use front::problem;
use serde_json::{Map, Value, json};

use super::{After, Run};
use crate::error::A2aError;
use crate::events::{self, Said};
use crate::output::{self, Outcome, Output, Text};
use crate::ports::World;
use crate::reader::{said, status_with};
use crate::task::State;

/// As many events has a task; what comes behind that goes out in long pieces, or not at all.
const MOST_EVENTS: u64 = 10_000;

impl<W: World> Run<'_, W> {
    /// Takes in some of the answer. Whether that ends it.
    pub(super) fn piece(&mut self, output: &mut Output, bytes: &[u8]) -> Result<bool, A2aError> {
        match output {
            Output::Text(text) => {
                // What is over the bound is read and not kept: it is the agent's run, and that is not to be held up.
                if !self.writer.record.is_cut {
                    text.push(bytes, self.world.now());
                }
                Ok(false)
            }
            Output::Whole { answer, most } => {
                let room = most.saturating_sub(answer.body.len());
                answer.is_cut |= bytes.len() > room;
                let here = bytes.get(..room).unwrap_or(bytes);
                answer.body.extend(here);
                Ok(false)
            }
            Output::Events(reader) => {
                let events = match reader.push(bytes) {
                    Ok(events) => events,
                    Err(TooLong) => {
                        let what = format!("it is longer than {MOST_EVENT} bytes");
                        return self.no_event(&what).map(|()| true);
                    }
                };
                for data in events {
                    let event = json::object(&data).map_err(str::to_owned);
                    if self.event(event)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Takes in an event of the agent's own. Whether that ends it.
    fn event(&mut self, event: Result<Map<String, Value>, String>) -> Result<bool, A2aError> {
        let said = event.and_then(|event| events::said(&event, &self.ids()));
        let said = match said {
            Ok(said) => said,
            Err(what) => return self.no_event(&what).map(|()| true),
        };
        for said in said {
            if self.say(said)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn say(&mut self, said: Said) -> Result<bool, A2aError> {
        match said {
            Said::Artifact {
                artifact,
                is_append,
                is_last,
            } => {
                self.artifact(artifact, is_append, is_last)?;
                Ok(false)
            }
            Said::Status(state, message) => {
                let message = message.map(|message| self.fitting(message));
                if state.is_terminal() || state.is_interrupted() {
                    return self.finish(state, message).map(|()| true);
                }
                if self.is_full() {
                    self.writer.record.is_cut = true;
                    return Ok(false);
                }
                self.size = self.size.saturating_add(length(message.as_ref()));
                let event = status_with(self.world, &self.writer.record, state, message);
                self.emit(event)?;
                Ok(false)
            }
            Said::Message(mut message) => {
                let is_answer = !self.is_begun && self.before.is_none() && !self.order.is_in_band;
                if !is_answer || message.to_string().len() > self.room() {
                    let message = self.fitting(message);
                    return self.finish(State::Completed, Some(message)).map(|()| true);
                }
                if let Value::Object(members) = &mut message {
                    members.remove("taskId");
                }
                self.is_begun = true;
                self.writer.record.is_running = false;
                self.sale_ends(State::Completed);
                (self.begins)(&self.writer.record)?;
                self.append(json!({"message": message}))?;
                Ok(true)
            }
        }
    }

    fn no_event(&mut self, what: &str) -> Result<(), A2aError> {
        self.finish_saying(
            State::Failed,
            &format!("The agent's answer is no event of A2A: {what}."),
        )
    }

    /// The answer is whole.
    pub(super) fn whole(&mut self, output: Option<Output>) -> Result<After, A2aError> {
        match output {
            None => self.finish_saying(State::Failed, "The agent did not answer.")?,
            Some(Output::Text(mut text)) => {
                let piece = text.take(true);
                self.text(&text, &piece, true)?;
                self.finish(State::Completed, None)?;
            }
            Some(Output::Events(_)) => self.finish(State::Completed, None)?,
            Some(Output::Whole { answer, .. }) => {
                if self.writer.record.sale.is_some()
                    && let Some(after) = self.sold(&answer)?
                {
                    return Ok(after);
                }
                self.answered(&answer)?;
            }
        }
        Ok(After::Over)
    }

    fn answered(&mut self, answer: &Answer) -> Result<(), A2aError> {
        let is_refused = matches!(answer.status, 429 | 503) && problem::of(answer).is_some();
        if is_refused && !self.is_begun {
            let seconds = problem::retry_after(answer);
            return Err(A2aError::Busy(problem::refusal(answer), seconds));
        }
        if answer.status == 404 && problem::is(answer, "agent-not-found") && !self.is_begun {
            return Err(A2aError::NoAgent);
        }
        self.writer.record.is_cut |= answer.is_cut;
        match output::outcome(answer) {
            Outcome::Part(part) => {
                self.part(part)?;
                self.finish(State::Completed, None)
            }
            Outcome::Said(value) => {
                let event = match value {
                    Value::Object(event) => Ok(event),
                    _ => Err("it is no object".to_owned()),
                };
                match self.event(event)? {
                    true => Ok(()),
                    false => self.finish(State::Completed, None),
                }
            }
            Outcome::Failed(text, part) => {
                self.part(part)?;
                self.finish_saying(State::Failed, &text)
            }
        }
    }

    fn part(&mut self, part: Option<Value>) -> Result<(), A2aError> {
        let Some(part) = part else { return Ok(()) };
        let mut artifact = Map::new();
        artifact.insert("parts".to_owned(), json!([part]));
        if self.writer.record.is_cut {
            artifact.insert("metadata".to_owned(), json!({"truncated": true}));
        }
        artifact.insert("artifactId".to_owned(), self.fresh().into());
        let event = self.artifact_event(artifact, false, true);
        self.emit(event)
    }

    /// Some of a text. What is over the bound is left out, and that is said.
    pub(super) fn text(&mut self, text: &Text, piece: &str, is_last: bool) -> Result<(), A2aError> {
        let room = self.room();
        let mut end = piece.len().min(room);
        while !piece.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let kept = piece.get(..end).unwrap_or_default();
        let is_cut = kept.len() < piece.len();
        self.writer.record.is_cut |= is_cut;
        let is_append = self.text_id.is_some();
        if kept.is_empty() && !(is_append && is_last) && !is_cut {
            return Ok(());
        }
        let id = self.text_id.take().unwrap_or_else(|| self.fresh());
        self.text_id = Some(id.clone());
        let mut artifact = Map::new();
        artifact.insert("artifactId".to_owned(), id.into());
        artifact.insert("parts".to_owned(), json!([text.part(kept)]));
        if self.writer.record.is_cut {
            artifact.insert("metadata".to_owned(), json!({"truncated": true}));
        }
        self.size = self.size.saturating_add(kept.len());
        let event = self.artifact_event(artifact, is_append, is_last);
        self.emit(event)
    }

    fn artifact(
        &mut self,
        artifact: Map<String, Value>,
        is_append: bool,
        is_last: bool,
    ) -> Result<(), A2aError> {
        let known = self.writer.record.task.artifacts.iter();
        let is_known = known
            .into_iter()
            .any(|it| it.get("artifactId") == artifact.get("artifactId"));
        let event = self.artifact_event(artifact, is_append && is_known, is_last);
        let length = event.to_string().len();
        if length > self.room() || self.is_full() {
            self.writer.record.is_cut = true;
            return Ok(());
        }
        self.size = self.size.saturating_add(length);
        self.emit(event)
    }

    fn artifact_event(&self, artifact: Map<String, Value>, append: bool, last: bool) -> Value {
        let task = &self.writer.record.task;
        json!({"artifactUpdate": {
            "taskId": task.id, "contextId": task.context, "artifact": artifact, "append": append, "lastChunk": last,
        }})
    }

    /// A message of the agent's, or that it was too long.
    fn fitting(&mut self, message: Value) -> Value {
        let length = message.to_string().len();
        if length <= self.room() {
            return message;
        }
        self.writer.record.is_cut = true;
        said(
            self.world,
            &self.writer.record,
            &format!(
                "[a message of {length} bytes was left out: it is longer than what is kept of a task]"
            ),
        )
    }

    /// Whether there are as many events as a task has.
    pub(super) fn is_full(&self) -> bool {
        self.writer.record.seq >= MOST_EVENTS
    }

    /// Bytes that there is room for.
    pub(super) fn room(&self) -> usize {
        self.settings.task_bytes.saturating_sub(self.size)
    }
}

fn length(message: Option<&Value>) -> usize {
    message.map_or(0, |message| message.to_string().len())
}
