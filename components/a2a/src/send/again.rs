//! Messages that come again.

use super::{Sent, run};
use crate::claims::Begun;
use crate::context::Context;
use crate::error::A2aError;
use crate::message::Message;
use crate::pay::Submitted;
use crate::ports::World;
use crate::reader::{self, Until, follow};
use crate::reply::Reply;
use crate::rows::{self, Record};
use crate::run::{Mode, result, shown};
use crate::writer::{self, Writer};

const WAIT_MS: u64 = 20;

/// A message that was seen before: what came of it, and not another run.
pub(super) fn again<W: World>(
    context: &Context<'_, W>,
    sent: &Sent,
    begun: &Begun,
    reply: &Reply<'_, W>,
) -> Result<(), A2aError> {
    let world = context.world;
    let record = rows::load(world, &begun.task)?;
    let record = record.filter(|record| record.owner == context.owner);
    let record = record.ok_or_else(gone)?;
    let paid = sent.submitted.as_ref().map(Submitted::digest);
    let is_same = record.sale.as_ref().is_some_and(|it| it.payment == paid);
    let is_left = record.is_settling() && is_same && paid.is_some();
    if is_left && (!record.is_running || writer::is_dead(world, &record)?) {
        return take_over(context, sent, record, reply);
    }
    let record = reader::settled(world, record)?;
    tell(context, sent, &record, begun.from, reply)
}

/// Tells of a task that somebody runs, or that is over.
pub(super) fn tell<W: World>(
    context: &Context<'_, W>,
    sent: &Sent,
    record: &Record,
    from: u64,
    reply: &Reply<'_, W>,
) -> Result<(), A2aError> {
    let (world, id) = (context.world, &*record.task.id);
    let mut headers = Vec::new();
    let response = record.sale.as_ref().and_then(|sale| sale.response.clone());
    headers.extend(response.map(|response| ("payment-response", response)));
    let was = |error| match error {
        A2aError::TaskNotFound => gone(),
        error => error,
    };
    match sent.mode {
        Mode::Streaming => {
            let followed = follow(world, id, from, Until::Rest, |event| {
                reply.event(shown(event.clone(), sent.history), headers.clone());
            });
            followed.map_err(was)?;
            reply.close();
        }
        Mode::Blocking if !record.is_at_rest() => {
            follow(world, id, from, Until::Rest, |_| {}).map_err(was)?;
            let record = rows::load(world, id)?.ok_or_else(gone)?;
            reply.result(result(&record, sent.history), headers);
        }
        Mode::Immediate if !record.is_announced && record.answer.is_none() => {
            let mut record = record.clone();
            while !record.is_announced && record.answer.is_none() && world.pause(WAIT_MS) {
                record = rows::load(world, id)?.ok_or_else(gone)?;
            }
            reply.result(result(&record, sent.history), headers);
        }
        Mode::Blocking | Mode::Immediate => {
            reply.result(result(record, sent.history), headers);
        }
    }
    Ok(())
}

fn gone() -> A2aError {
    A2aError::Busy("what this message began is gone".to_owned(), Some(1))
}

/// The payment of a message may have been settled when the host or the run ended: the same call is sent again, and the ledger answers it.
fn take_over<W: World>(
    context: &Context<'_, W>,
    sent: &Sent,
    record: Record,
    reply: &Reply<'_, W>,
) -> Result<(), A2aError> {
    let world = context.world;
    let from = record.seq;
    let id = record.task.id.clone();
    let Some(mut writer) = Writer::next(world, record)? else {
        let record = rows::load(world, &id)?.ok_or_else(gone)?;
        return tell(context, sent, &record, from, reply);
    };
    let before = writer.record.clone();
    writer.record.task.artifacts.clear();
    let sale = writer.record.sale.as_ref();
    let paid_for = sale.and_then(|sale| Message::kept(&sale.original));
    let sent = Sent {
        message: sent.message.clone(),
        submitted: sent.submitted.clone(),
        modes: sent.modes.clone(),
        mode: sent.mode,
        history: sent.history,
    };
    run(context, sent, None, reply, (writer, Some(before), paid_for))
}
