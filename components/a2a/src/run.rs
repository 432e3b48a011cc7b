//! Running an agent for a message: its answer becomes events of the task, which are written, and sent to the client as far as it reads.
//!
//! The client is told of the task when something of it is known, or a little later: an agent may answer with a message in place of a task,
//! and the host may ask for a payment in place of an answer.

mod answer;

use front::error::WebError;
use front::fields::Fields;
use front::ports::{Answer, Asked};
use serde_json::{Value, json};

use crate::error::A2aError;
use crate::message::Ids;
use crate::output::Output;
use crate::pay::Submitted;
use crate::ports::{Call, Step, World};
use crate::reader::{said, status_with};
use crate::reply::Reply;
use crate::rows::{self, Record};
use crate::settings::Settings;
use crate::task::State;
use crate::writer::Writer;

/// How often it is asked whether the task was canceled, and the longest wait for the agent, in milliseconds.
const LOOK_MS: u64 = 100;
/// So long before its time is up a run ends itself, so that there is time to say so.
const MARGIN_MS: u64 = 1_000;
/// How often a paid call is sent again after it broke off.
const TIMES: u32 = 3;
const WAIT_MS: u64 = 1_000;
/// The longest wait for room to write that a run is over.
const ROOM_MS: u64 = 2_000;

/// When a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the task rests.
    Blocking,
    /// At once.
    Immediate,
    /// All the time.
    Streaming,
}

/// What is asked of an agent.
pub struct Order {
    /// When the client is answered.
    pub mode: Mode,
    /// The payment that came with it.
    pub submitted: Option<Submitted>,
    /// Whether the client pays by messages.
    pub is_in_band: bool,
    /// What is paid for, as the client knows it.
    pub url: String,
    /// How much of the history the client wants.
    pub history: Option<usize>,
}

/// A run.
pub struct Run<'a, W: World> {
    pub(crate) world: &'a W,
    pub(crate) settings: &'a Settings,
    pub(crate) reply: &'a Reply<'a, W>,
    pub(crate) writer: Writer<'a, W>,
    pub(crate) order: Order,
    /// When the client is told of the task at the latest; none where it takes the agent's answer.
    pub(crate) hold: Option<u64>,
    /// The record to go back to where nothing comes of it; none for a new task.
    pub(crate) before: Option<Record>,
    pub(crate) begins: &'a dyn Fn(&Record) -> Result<(), A2aError>,
    pub(crate) is_begun: bool,
    /// The artifact that text goes into.
    pub(crate) text_id: Option<String>,
    pub(crate) size: usize,
    pub(crate) looked: u64,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// What to do after an exchange.
pub(crate) enum After {
    /// Nothing.
    Over,
    /// The same again, after so many milliseconds.
    Again(u64),
}

enum Tick {
    Go,
    Canceled,
    Late,
    Lost,
}

impl<W: World> Run<'_, W> {
    /// Sends the request and sees to what comes of it. An error says that nothing was begun.
    pub fn go(mut self, asked: &Asked) -> Result<(), A2aError> {
        let worked = self.work(asked);
        match worked.and_then(|()| Ok(self.writer.flush()?)) {
            Ok(()) => {}
            Err(error) if !self.is_begun => {
                self.undo();
                return Err(error);
            }
            // What can not be written is still told, and that it could not be is kept.
            Err(error) => {
                let artifacts = self.writer.give_room();
                let _ = self.finish_saying(State::Failed, &error.to_string());
                // Other tasks of the client's may have taken the room; they come to their ends as well.
                let mut wait = LOOK_MS;
                while self.writer.flush().is_err() && wait < ROOM_MS && self.world.pause(wait) {
                    wait = wait.saturating_mul(2);
                }
                self.writer.record.task.artifacts = artifacts;
            }
        }
        let record = &self.writer.record;
        // It is no task, and no message leads to it.
        if record.answer.is_some() && !record.is_known && self.order.submitted.is_none() {
            let _ = rows::remove(self.world, &record.task.id);
        }
        self.conclude();
        Ok(())
    }

    fn work(&mut self, asked: &Asked) -> Result<(), A2aError> {
        let mut broken = 0;
        loop {
            match self.exchange(asked, &mut broken)? {
                After::Over => return Ok(()),
                After::Again(wait) if !self.rest(wait)? => return Ok(()),
                After::Again(_) => {}
            }
        }
    }

    /// Waits before the same is sent again; false where it is not to be.
    fn rest(&mut self, milliseconds: u64) -> Result<bool, A2aError> {
        let until = self.world.now().saturating_add(milliseconds);
        loop {
            match self.tick()? {
                Tick::Go => {}
                Tick::Late => return self.late().map(|()| false),
                Tick::Lost => return self.lost().map(|()| false),
                Tick::Canceled => return self.canceled().map(|()| false),
            }
            let left = until.saturating_sub(self.world.now());
            if left == 0 || !self.world.pause(left.min(LOOK_MS)) {
                return Ok(left == 0);
            }
        }
    }

    fn exchange(&mut self, asked: &Asked, broken: &mut u32) -> Result<After, A2aError> {
        let mut call = match self.world.call(asked.clone()) {
            Ok(call) => call,
            Err(error) => return self.unreached(error, broken),
        };
        let mut output: Option<Output> = None;
        loop {
            match self.tick()? {
                Tick::Go => {}
                Tick::Late => return self.late().map(|()| After::Over),
                Tick::Lost => return self.lost().map(|()| After::Over),
                Tick::Canceled => {
                    drop(call);
                    return self.canceled().map(|()| After::Over);
                }
            }
            let now = self.world.now();
            let due = match &output {
                Some(Output::Text(text)) => {
                    text.wait(now).filter(|_| !self.is_full() || text.is_long())
                }
                _ => None,
            };
            if due == Some(0)
                && let Some(Output::Text(text)) = &mut output
            {
                let piece = text.take(false);
                self.text(text, &piece, false)?;
            }
            match call.next(due.filter(|due| *due > 0).unwrap_or(LOOK_MS).min(LOOK_MS)) {
                Step::Waiting => {}
                Step::Head(status, fields) => {
                    if status < 400 {
                        self.paid(&fields);
                    }
                    output = Some(Output::of(status, fields, self.room()));
                }
                Step::Piece(bytes) => {
                    let Some(output) = &mut output else { continue };
                    if self.piece(output, &bytes)? {
                        return Ok(After::Over);
                    }
                }
                Step::End => return self.whole(output),
                Step::Failed(error) => return self.broken_off(output, error, broken),
            }
        }
    }

    /// Ends the turn with words of the front's.
    pub(crate) fn finish_saying(&mut self, state: State, text: &str) -> Result<(), A2aError> {
        let message = said(self.world, &self.writer.record, text);
        self.finish(state, Some(message))
    }

    /// Ends the turn.
    pub(crate) fn finish(&mut self, state: State, message: Option<Value>) -> Result<(), A2aError> {
        if !self.is_begun {
            self.begin()?;
        }
        let mut message = message;
        if message.is_none() && self.writer.record.is_cut {
            let text = format!(
                "The answer is longer than the {} bytes that are kept of a task: what is over was left out.",
                self.settings.task_bytes
            );
            message = Some(said(self.world, &self.writer.record, &text));
        }
        self.writer.record.is_running = false;
        self.sale_ends(state);
        let message = self.with_receipts(state, message);
        let event = status_with(self.world, &self.writer.record, state, message);
        self.append(event)
    }

    /// Writes an event and sends it.
    pub(crate) fn emit(&mut self, event: Value) -> Result<(), A2aError> {
        if !self.is_begun {
            self.begin()?;
        }
        self.append(event)
    }

    fn append(&mut self, event: Value) -> Result<(), A2aError> {
        let mut written = self.writer.append(&event);
        if self.order.mode == Mode::Streaming {
            // Whoever has seen it finds it when it comes back.
            written = written.and_then(|()| self.writer.flush());
            self.reply
                .event(shown(event, self.order.history), self.headers.clone());
        }
        Ok(written?)
    }

    /// Tells the client of the task.
    fn begin(&mut self) -> Result<(), A2aError> {
        self.is_begun = true;
        self.writer.record.is_announced = true;
        let task = self.writer.record.task.to_value(None, true);
        let mut written = self.append(json!({"task": task}));
        // Whoever is told of the task finds it.
        if self.order.mode == Mode::Immediate || !self.writer.is_stored() {
            written = written.and_then(|()| Ok(self.writer.flush()?));
        }
        if self.order.mode == Mode::Immediate {
            let record = &self.writer.record;
            let result = result(record, self.order.history);
            self.reply.result(result, self.headers.clone());
        }
        written?;
        (self.begins)(&self.writer.record)
    }

    fn tick(&mut self) -> Result<Tick, A2aError> {
        if self.world.left() < MARGIN_MS {
            return Ok(Tick::Late);
        }
        let now = self.world.now();
        if !self.is_begun && self.hold.is_some_and(|hold| now >= hold) {
            self.begin()?;
            let state = State::Working;
            let event = status_with(self.world, &self.writer.record, state, None);
            self.append(event)?;
        }
        self.writer.flush()?;
        if !self.writer.beat()? {
            return Ok(Tick::Lost);
        }
        if now.saturating_sub(self.looked) >= LOOK_MS {
            self.looked = now;
            if !self.writer.record.is_settling() && self.writer.is_canceled()? {
                return Ok(Tick::Canceled);
            }
        }
        Ok(Tick::Go)
    }

    fn canceled(&mut self) -> Result<(), A2aError> {
        self.finish_saying(State::Canceled, "Canceled.")
    }

    /// The time is up.
    fn late(&mut self) -> Result<(), A2aError> {
        if self.writer.record.is_settling() {
            self.unsettled()?;
            self.writer.record.is_running = false;
            return Ok(self.writer.save()?);
        }
        self.finish_saying(State::Failed, "The time was up.")
    }

    /// Somebody else took the task over, because this run was taken for dead.
    fn lost(&mut self) -> Result<(), A2aError> {
        self.is_begun = true;
        if let Some(record) = rows::load(self.world, &self.writer.record.task.id)? {
            self.writer.record = record;
        }
        Ok(())
    }

    fn unreached(&mut self, error: WebError, broken: &mut u32) -> Result<After, A2aError> {
        match error {
            WebError::Busy if !self.is_begun => Err(A2aError::Busy(error.to_string(), Some(1))),
            WebError::NotFound if !self.is_begun => Err(A2aError::NoAgent),
            error => self.broken_off(None, error, broken),
        }
    }

    fn broken_off(
        &mut self,
        output: Option<Output>,
        error: WebError,
        broken: &mut u32,
    ) -> Result<After, A2aError> {
        *broken = broken.saturating_add(1);
        let may_settle = self.writer.record.is_settling();
        if may_settle && output.is_none() && *broken <= TIMES {
            return Ok(After::Again(WAIT_MS));
        }
        if output.is_none() && !self.is_begun && !may_settle {
            match error {
                WebError::Busy => return Err(A2aError::Busy(error.to_string(), Some(1))),
                WebError::NotFound => return Err(A2aError::NoAgent),
                _ => {}
            }
        }
        if may_settle {
            return self.late().map(|()| After::Over);
        }
        if let Some(Output::Text(mut text)) = output {
            let piece = text.take(true);
            self.text(&text, &piece, true)?;
        }
        self.finish_saying(State::Failed, &format!("The agent failed: {error}."))?;
        Ok(After::Over)
    }

    /// What a sale says where a call is answered well.
    fn paid(&mut self, fields: &Fields) {
        let answer = Answer {
            fields: fields.clone(),
            ..Answer::default()
        };
        self.receipt(&answer);
    }

    /// Answers the client, where it was not yet.
    fn conclude(&mut self) {
        match self.order.mode {
            Mode::Blocking => {
                let result = result(&self.writer.record, self.order.history);
                self.reply.result(result, self.headers.clone());
            }
            Mode::Streaming => self.reply.close(),
            Mode::Immediate if !self.is_begun => {}
            Mode::Immediate => {
                // It was answered when it began, unless the answer is a message.
                let result = result(&self.writer.record, self.order.history);
                self.reply.result(result, self.headers.clone());
            }
        }
    }

    /// Leaves everything as it was.
    fn undo(&mut self) {
        let id = self.writer.record.task.id.clone();
        match self.before.take() {
            None if self.writer.is_stored() => {
                let _ = rows::remove(self.world, &id);
            }
            None => {}
            Some(before) => {
                let now = &self.writer.record;
                self.writer.record = Record {
                    turn: now.turn,
                    version: now.version,
                    is_running: false,
                    ..before
                };
                let _ = self.writer.save();
            }
        }
    }

    fn ids(&self) -> Ids {
        Ids {
            task: Some(self.writer.record.task.id.clone()),
            context: self.writer.record.task.context.clone(),
            fresh: self.fresh(),
        }
    }

    fn fresh(&self) -> String {
        const_hex::encode(self.world.random())
    }
}

/// An event as a client wants it that wants so much of the history.
pub fn shown(mut event: Value, history: Option<usize>) -> Value {
    let Some(most) = history else { return event };
    if let Some(Value::Object(task)) = event.get_mut("task")
        && let Some(Value::Array(messages)) = task.get_mut("history")
    {
        let over = messages.len().saturating_sub(most);
        messages.drain(..over);
        if messages.is_empty() {
            task.remove("history");
        }
    }
    event
}

/// What a message is answered with.
pub fn result(record: &Record, history: Option<usize>) -> Value {
    match &record.answer {
        Some(message) => json!({"message": message}),
        None => json!({"task": record.task.to_value(history, true)}),
    }
}
