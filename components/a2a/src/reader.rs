//! Reading tasks that others run, and what is done where nobody runs them any more.

use serde_json::{Value, json};

use crate::clock;
use crate::error::A2aError;
use crate::ports::World;
use crate::rows::{self, Record};
use crate::task::State;
use crate::writer::{self, Writer};

/// The first wait for a further event, and the longest, in milliseconds.
const FIRST_WAIT: u64 = 20;
const LONGEST_WAIT: u64 = 100;
/// How often it is asked whether the runner lives.
const LOOK_MS: u64 = 1_000;
/// As many events are read at once.
const EVENTS: u64 = 8;

const RESTARTED: &str = "The host was restarted while the agent worked.";
const CUT_OFF: &str = "The run was cut off.";

/// The task of this id, if it is this owner's. That of anybody else's is as if it never was.
pub fn find(world: &impl World, owner: &str, id: &str) -> Result<Record, A2aError> {
    if !rows::is_id(id) {
        return Err(A2aError::TaskNotFound);
    }
    let record = rows::load(world, id)?;
    let record = record.filter(|record| record.owner == owner);
    let record = record.filter(|record| record.is_announced && record.answer.is_none());
    let record = record.ok_or(A2aError::TaskNotFound)?;
    settled(world, record)
}

/// The record as it is, or failed where its runner is dead and no payment of it may be settling.
pub fn settled(world: &impl World, record: Record) -> Result<Record, A2aError> {
    if record.is_at_rest() || record.is_settling() || !writer::is_dead(world, &record)? {
        return Ok(record);
    }
    let why = match record.start == world.start() {
        true => CUT_OFF,
        false => RESTARTED,
    };
    let ended = match end(world, record.clone(), State::Failed, why) {
        Err(A2aError::Busy(..)) => None,
        ended => Some(ended?),
    };
    if let Some(ended) = ended
        && (ended.is_at_rest() || !writer::is_dead(world, &ended)?)
    {
        return Ok(ended);
    }
    // There is no room to write that it is over, or who was about to write it is gone, too.
    let mut record = record;
    record.is_running = false;
    let mut event = status(world, &record, State::Failed, Some(why));
    event["statusUpdate"]["status"]["timestamp"] = record.task.timestamp.clone().into();
    record.fold(&event);
    Ok(record)
}

/// Ends a task that nobody is at. Where somebody else was first, it is as that one left it.
pub fn end(
    world: &impl World,
    record: Record,
    state: State,
    why: &str,
) -> Result<Record, A2aError> {
    let id = record.task.id.clone();
    let Some(mut writer) = Writer::next(world, record)? else {
        world.pause(LONGEST_WAIT);
        return rows::load(world, &id)?.ok_or(A2aError::TaskNotFound);
    };
    writer.record.is_running = false;
    let event = status(world, &writer.record, state, Some(why));
    writer.append(&event)?;
    writer.flush()?;
    Ok(writer.record)
}

/// The event that a task stands so now.
pub fn status(world: &impl World, record: &Record, state: State, text: Option<&str>) -> Value {
    let message = text.map(|text| said(world, record, text));
    status_with(world, record, state, message)
}

/// The same with a message that is made already.
pub fn status_with(
    world: &impl World,
    record: &Record,
    state: State,
    message: Option<Value>,
) -> Value {
    let mut status = json!({"state": state, "timestamp": clock::stamp(world.now())});
    if let Some(message) = message {
        status["message"] = message;
    }
    json!({"statusUpdate": {"taskId": record.task.id, "contextId": record.task.context, "status": status}})
}

/// The event that a task stands as it does, where those that led there had no room.
fn standing(record: &Record) -> Value {
    let task = record.task.to_value(Some(0), false);
    json!({"statusUpdate": {
        "taskId": record.task.id, "contextId": record.task.context, "status": task.get("status"),
    }})
}

/// A message of the front's in a task.
pub fn said(world: &impl World, record: &Record, text: &str) -> Value {
    json!({
        "messageId": const_hex::encode(world.random()),
        "contextId": record.task.context,
        "taskId": record.task.id,
        "role": "ROLE_AGENT",
        "parts": [{"text": text}],
    })
}

/// Until when a task is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the client is waited for, or it is over.
    Rest,
    /// Until it is over.
    End,
}

/// How following it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was to.
    There,
    /// The time was up, or the client left.
    Early,
    /// Nobody is at it, and the ledger alone knows what became of its payment.
    Settling,
}

/// Gives each event of a task behind the one of this number, as they come.
pub fn follow(
    world: &impl World,
    id: &str,
    from: u64,
    until: Until,
    mut each: impl FnMut(&Value),
) -> Result<Ended, A2aError> {
    let (mut at, mut wait, mut looked) = (from, FIRST_WAIT, 0);
    loop {
        let events = rows::events(world, id, at.saturating_add(1), EVENTS)?;
        for event in &events {
            at = at.saturating_add(1);
            each(event);
            if is_last(event, until) {
                return Ok(Ended::There);
            }
        }
        if !events.is_empty() {
            wait = FIRST_WAIT;
            continue;
        }
        if world.is_gone() {
            return Ok(Ended::Early);
        }
        if world.now().saturating_sub(looked) >= LOOK_MS {
            looked = world.now();
            let record = rows::load(world, id)?.ok_or(A2aError::TaskNotFound)?;
            if record.is_settling() && writer::is_dead(world, &record)? {
                return Ok(Ended::Settling);
            }
            let record = settled(world, record)?;
            if record.seq > at {
                let is_over = record.task.state.is_terminal();
                if is_over && rows::events(world, id, at.saturating_add(1), 1)?.is_empty() {
                    each(&standing(&record));
                    return Ok(Ended::There);
                }
                continue;
            }
            if record.is_settling() && !record.is_running {
                return Ok(Ended::Settling);
            }
        }
        if !world.pause(wait) {
            return Ok(Ended::Early);
        }
        wait = wait.saturating_mul(2).min(LONGEST_WAIT);
    }
}

fn is_last(event: &Value, until: Until) -> bool {
    if event.get("message").is_some() {
        return true;
    }
    let status = event.get("statusUpdate").or_else(|| event.get("task"));
    let state = status.and_then(|it| it.get("status")?.get("state")?.as_str());
    let state = state.and_then(State::named);
    state.is_some_and(|state| {
        state.is_terminal() || (until == Until::Rest && state.is_interrupted())
    })
}
