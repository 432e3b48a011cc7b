//! GetTask, CancelTask, SubscribeToTask and ListTasks.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::context::Context;
use crate::error::A2aError;
use crate::index::{Entry, List};
use crate::params;
use crate::ports::World;
use crate::reader::{self, Until, find, follow};
use crate::reply::Reply;
use crate::rows;
use crate::task::State;
use crate::writer;

/// How long a runner has to give up a task that was canceled, in milliseconds.
const CANCEL_MS: u64 = 5_000;
const WAIT_MS: u64 = 20;
const PAGE: i64 = 50;
const MOST_PAGE: i64 = 100;
/// As many bytes of tasks are in one page, but one task in any case.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A task.
pub fn get<W: World>(
    context: &Context<'_, W>,
    params: &Map<String, Value>,
) -> Result<Value, A2aError> {
    let history = params::history(params)?;
    let record = find(context.world, &context.owner, params::id(params)?)?;
    Ok(record.task.to_value(history, true))
}

/// Has a task given up.
pub fn cancel<W: World>(
    context: &Context<'_, W>,
    params: &Map<String, Value>,
) -> Result<Value, A2aError> {
    let world = context.world;
    let id = params::id(params)?;
    let record = find(world, &context.owner, id)?;
    if record.task.state.is_terminal() {
        return Err(A2aError::TaskNotCancelable("it is over"));
    }
    if record.is_settling() {
        return Err(A2aError::TaskNotCancelable("a payment for it is under way"));
    }
    if record.task.state.is_interrupted() && !record.is_running {
        let record = reader::end(world, record, State::Canceled, "Canceled.")?;
        return match record.task.state {
            State::Canceled => Ok(record.task.to_value(None, true)),
            _ => Err(A2aError::TaskNotCancelable("it goes on")),
        };
    }
    let mark = (format!("cancel/{}", record.turn), vec![1]);
    world.set(&rows::bucket(id), vec![mark])?;
    let until = world.now().saturating_add(CANCEL_MS);
    loop {
        let record = find(world, &context.owner, id)?;
        match record.task.state {
            State::Canceled => return Ok(record.task.to_value(None, true)),
            state if state.is_terminal() => {
                return Err(A2aError::TaskNotCancelable("it is over"));
            }
            _ => {}
        }
        if world.now() >= until || !world.pause(WAIT_MS) {
            return Ok(record.task.to_value(None, true));
        }
    }
}

/// Sends the task as it stands, and then what becomes of it.
pub fn subscribe<W: World>(
    context: &Context<'_, W>,
    params: &Map<String, Value>,
    reply: &Reply<'_, W>,
) -> Result<(), A2aError> {
    let world = context.world;
    let record = find(world, &context.owner, params::id(params)?)?;
    if record.task.state.is_terminal() {
        return Err(A2aError::Unsupported("the task is over"));
    }
    reply.event(
        json!({"task": record.task.to_value(None, true)}),
        Vec::new(),
    );
    let is_left = record.is_settling() && writer::is_dead(world, &record)?;
    if !is_left {
        follow(world, &record.task.id, record.seq, Until::End, |event| {
            reply.event(event.clone(), Vec::new());
        })?;
    }
    reply.close();
    Ok(())
}

/// What a list is asked for.
struct Wanted<'a> {
    context: Option<&'a str>,
    state: Option<State>,
    after: u64,
    size: usize,
    token: Option<(u64, String)>,
    history: Option<usize>,
    has_artifacts: bool,
}

fn wanted(params: &Map<String, Value>) -> Result<Wanted<'_>, A2aError> {
    let wrong = |what: &str| A2aError::Params(what.to_owned());
    let state = match params::text(params, "status")? {
        None | Some("TASK_STATE_UNSPECIFIED") => None,
        Some(name) => {
            let state = State::named(name);
            Some(state.ok_or_else(|| wrong("`status` is no state of a task"))?)
        }
    };
    let size = params::number(params, "pageSize")?.unwrap_or(PAGE);
    if !(1..=MOST_PAGE).contains(&size) {
        return Err(wrong("`pageSize` has to be from 1 to 100"));
    }
    let after = match params::text(params, "statusTimestampAfter")? {
        None => 0,
        Some(text) => {
            let at = clock::parse(text);
            at.ok_or_else(|| wrong("`statusTimestampAfter` has to be a time of RFC 3339"))?
        }
    };
    let token = match params::text(params, "pageToken")? {
        None => None,
        Some(text) => {
            Some(from_token(text).ok_or_else(|| wrong("`pageToken` is none of this list"))?)
        }
    };
    Ok(Wanted {
        context: params::text(params, "contextId")?,
        state,
        after,
        size: usize::try_from(size).unwrap_or(1),
        token,
        history: params::history(params)?,
        has_artifacts: params::flag(params, "includeArtifacts")?,
    })
}

/// The caller's tasks, that of the newest status first.
pub fn list<W: World>(
    context: &Context<'_, W>,
    params: &Map<String, Value>,
) -> Result<Value, A2aError> {
    let wanted = wanted(params)?;
    let is_known = context.caller.is_known();
    let list = match wanted.context {
        Some(name) => List::of_context(&context.owner, is_known, name),
        None => is_known.then(|| List::of_owner(&context.owner)),
    };
    let mut found: Vec<(u64, String)> = Vec::new();
    if let Some(list) = list {
        // A list may be a little longer than its bound: several may have made room for one at the same time.
        let most = context.settings.tasks.saturating_mul(2);
        for (id, entry) in list.entries(context.world, most)? {
            let entry = current(context, &id, entry)?;
            let entry = entry.filter(|entry| {
                wanted.state.is_none_or(|state| state == entry.state) && entry.since >= wanted.after
            });
            found.extend(entry.map(|entry| (entry.since, id)));
        }
    }
    found.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
    let total = found.len();
    let mut rest = found.into_iter().filter(|(since, id)| match &wanted.token {
        None => true,
        Some((last, before)) => since < last || (since == last && id > before),
    });
    let (mut tasks, mut bytes, mut last) = (Vec::new(), 0_usize, None);
    while tasks.len() < wanted.size && bytes < MOST_BYTES {
        let Some((since, id)) = rest.next() else {
            break;
        };
        if let Ok(record) = find(context.world, &context.owner, &id) {
            let task = record.task.to_value(wanted.history, wanted.has_artifacts);
            bytes = bytes.saturating_add(task.to_string().len());
            tasks.push(task);
        }
        last = Some((since, id));
    }
    let next = rest.next().and(last);
    let next = next.map(|(since, id)| to_token(since, &id));
    Ok(json!({
        "tasks": tasks,
        "nextPageToken": next.unwrap_or_default(),
        "pageSize": wanted.size,
        "totalSize": total,
    }))
}

/// Where a task stands that was listed; none where it is gone. What was under way may have ended with the host.
fn current<W: World>(
    context: &Context<'_, W>,
    id: &str,
    entry: Entry,
) -> Result<Option<Entry>, A2aError> {
    if entry.state.is_terminal() {
        return Ok(Some(entry));
    }
    match find(context.world, &context.owner, id) {
        Ok(record) => Ok(Some(Entry {
            state: record.task.state,
            since: clock::parse(&record.task.timestamp).unwrap_or_default(),
        })),
        Err(A2aError::TaskNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_token(since: u64, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{since}:{id}"))
}

fn from_token(text: &str) -> Option<(u64, String)> {
    let text = URL_SAFE_NO_PAD
        .decode(text.as_bytes().get(..text.len().min(100))?)
        .ok()?;
    let text = String::from_utf8(text).ok()?;
    let (since, id) = text.split_once(':')?;
    rows::is_id(id).then_some((since.parse().ok()?, id.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_leads_to_where_it_was_made(since: u64) {
            let id = "0f".repeat(16);
            prop_assert_eq!(from_token(&to_token(since, &id)), Some((since, id)));
        }

        #[test]
        fn any_token_is_judged(text in ".{0,60}") {
            let _ = from_token(&text);
        }
    }
}
