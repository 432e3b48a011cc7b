//! SendMessage and SendStreamingMessage.

mod again;

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::claims::Key;
use crate::clock;
use crate::context::{Context, extensions};
use crate::error::A2aError;
use crate::index;
use crate::input::{self, Told};
use crate::message::{Ids, Message};
use crate::params;
use crate::pay::{self, Submitted};
use crate::ports::World;
use crate::reader::{self, find};
use crate::reply::Reply;
use crate::rows::{Record, Sale, Stage};
use crate::run::{Mode, Order, Run};
use crate::task::{State, Task};
use crate::writer::Writer;
use again::{again, tell};

/// The client is told of a task after so long, whether the agent answered or not.
const HOLD_MS: u64 = 1_000;

/// What a client sends.
struct Sent {
    message: Message,
    submitted: Option<Submitted>,
    modes: Vec<String>,
    mode: Mode,
    history: Option<usize>,
}

/// Answers a message.
pub fn send<W: World>(
    context: &Context<'_, W>,
    params: &Map<String, Value>,
    is_streaming: bool,
    reply: &Reply<'_, W>,
) -> Result<(), A2aError> {
    let sent = read(context, params, is_streaming)?;
    let payment = sent.submitted.as_ref().map(|it| it.payment.bytes());
    let address = &context.agent.address;
    let key = Key::of(&context.caller, address, &sent.message, payment);
    let Some(key) = key else {
        return first(context, sent, None, reply);
    };
    if let Some(begun) = key.claim(context.world)? {
        return again(context, &sent, &begun, reply);
    }
    let done = first(context, sent, Some(&key), reply);
    if done.is_err() {
        key.release(context.world);
    }
    done
}

fn read<W: World>(
    context: &Context<'_, W>,
    params: &Map<String, Value>,
    is_streaming: bool,
) -> Result<Sent, A2aError> {
    let message = params.get("message").unwrap_or(&Value::Null);
    let message = Message::of_client(message).map_err(A2aError::Params)?;
    let none = Map::new();
    let configuration = match params.get("configuration") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(configuration)) => configuration,
        Some(_) => {
            return Err(A2aError::Params(
                "`configuration` has to be an object".to_owned(),
            ));
        }
    };
    let push = configuration.get("taskPushNotificationConfig");
    if push.is_some_and(|it| !it.is_null()) {
        return Err(A2aError::PushNotSupported);
    }
    let modes = input::modes(configuration.get("acceptedOutputModes"));
    let is_immediate = params::flag(configuration, "returnImmediately")?;
    Ok(Sent {
        submitted: Submitted::read(&message, context.fields)?,
        modes: modes.map_err(A2aError::Params)?,
        mode: match (is_streaming, is_immediate) {
            (true, _) => Mode::Streaming,
            (false, true) => Mode::Immediate,
            (false, false) => Mode::Blocking,
        },
        history: params::history(configuration)?,
        message,
    })
}

/// A message that was not seen before.
fn first<W: World>(
    context: &Context<'_, W>,
    sent: Sent,
    key: Option<&Key>,
    reply: &Reply<'_, W>,
) -> Result<(), A2aError> {
    let (writer, before, paid_for) = match sent.message.text("taskId") {
        Some(id) => {
            let record = waiting(context, id, &sent)?;
            if pay::is_declined(&sent.message) {
                let why = "The client does not pay.";
                let record = reader::end(context.world, record, State::Canceled, why)?;
                let from = record.seq.saturating_sub(1);
                if let Some(key) = key {
                    key.begin(context.world, id, from)?;
                }
                return tell(context, &sent, &record, from, reply);
            }
            turn(context, record, &sent)?
        }
        None => (new(context, &sent)?, None, None),
    };
    run(context, sent, key, reply, (writer, before, paid_for))
}

type Turn<'a, W> = (Writer<'a, W>, Option<Record>, Option<Message>);

fn run<W: World>(
    context: &Context<'_, W>,
    sent: Sent,
    key: Option<&Key>,
    reply: &Reply<'_, W>,
    (mut writer, before, paid_for): Turn<'_, W>,
) -> Result<(), A2aError> {
    let (world, settings) = (context.world, context.settings);
    let known = extensions(context.fields);
    let is_activated = known.iter().any(|uri| pay::URIS.contains(uri));
    let was_in_band = writer.record.sale.as_ref().is_some_and(|it| it.is_in_band);
    let is_in_band =
        was_in_band || is_activated || sent.submitted.as_ref().is_some_and(|it| it.is_in_band);
    let is_sold = context.agent.price.is_some();
    let message = paid_for.unwrap_or_else(|| sent.message.without_payment());
    if is_sold {
        sell(context, &mut writer.record, &sent, &message, is_in_band)?;
    }
    let told = Told {
        task: &writer.record.task.id,
        context: &writer.record.task.context,
        modes: &sent.modes,
    };
    let mut asked = input::request(context.agent, &message, &told);
    // One without a price would be given the money.
    let submitted = sent.submitted.filter(|_| is_sold);
    if let Some(submitted) = &submitted {
        asked = front::x402::Payment::on(Some(&submitted.payment), asked);
    }
    // The host answers a sold call without a payment at once, and nothing runs: there is nothing to keep before.
    let is_question = is_sold && submitted.is_none();
    let from = writer.record.seq;
    let is_claimed = Cell::new(false);
    let begins = |record: &Record| match key {
        Some(key) if !is_claimed.replace(true) => key.begin(world, &record.task.id, from),
        _ => Ok(()),
    };
    if !is_question {
        writer.save()?;
        begins(&writer.record)?;
    }
    if submitted.is_some() {
        // A payment does not outlive the task that it is for: whoever sends it again finds what it bought.
        world.sync()?;
    }
    let now = world.now();
    let hold = match sent.mode {
        _ if is_question => None,
        Mode::Immediate => Some(now),
        _ if is_sold && !is_in_band => None,
        _ => Some(now.saturating_add(HOLD_MS)),
    };
    let size = kept_size(&writer.record);
    let run = Run {
        world,
        settings,
        reply,
        writer,
        order: Order {
            mode: sent.mode,
            submitted,
            is_in_band,
            url: context.url.clone(),
            history: sent.history,
        },
        hold,
        before,
        begins: &begins,
        is_begun: false,
        text_id: None,
        size,
        looked: now,
        headers: Vec::new(),
    };
    run.go(&asked)
}

/// A new task for a message.
fn new<'a, W: World>(context: &Context<'a, W>, sent: &Sent) -> Result<Writer<'a, W>, A2aError> {
    let world = context.world;
    let fresh = || const_hex::encode(world.random());
    let named = sent.message.text("contextId");
    let conversation = named.map_or_else(fresh, str::to_owned);
    let mut task = Task::new(fresh(), conversation, clock::stamp(world.now()));
    let ids = ids(&task);
    let said = sent.message.without_payment().in_task(&ids);
    task.say(kept(context, said));
    let is_known = context.caller.is_known();
    let record = Record {
        task,
        owner: context.owner.clone(),
        is_known,
        client: match is_known {
            true => None,
            false => Some(index::client(world)?),
        },
        agent: context.agent.address.clone(),
        turn: 1,
        seq: 0,
        version: 0,
        is_running: true,
        start: world.start(),
        is_announced: false,
        answer: None,
        is_cut: false,
        sale: None,
    };
    let is_new_context = named.is_none();
    index::make_room(world, &record, context.settings.tasks, is_new_context)?;
    Ok(Writer::new(world, record, is_new_context))
}

/// The task that waits for this message.
fn waiting<W: World>(context: &Context<'_, W>, id: &str, sent: &Sent) -> Result<Record, A2aError> {
    let record = find(context.world, &context.owner, id)?;
    let said = sent.message.text("contextId");
    if said.is_some_and(|said| said != record.task.context) {
        let what = "`contextId` is not that of the task";
        return Err(A2aError::Params(what.to_owned()));
    }
    let state = record.task.state;
    if state.is_terminal() {
        return Err(A2aError::Unsupported("the task is over"));
    }
    if !state.is_interrupted() {
        return Err(A2aError::Unsupported("the agent works on the task"));
    }
    let room = context
        .settings
        .task_bytes
        .saturating_sub(kept_size(&record));
    if sent.message.as_value().to_string().len() > room {
        let what = "the task has no room for this message";
        return Err(A2aError::Params(what.to_owned()));
    }
    Ok(record)
}

/// The next turn of a task.
fn turn<'a, W: World>(
    context: &Context<'a, W>,
    record: Record,
    sent: &Sent,
) -> Result<Turn<'a, W>, A2aError> {
    let world = context.world;
    let busy = A2aError::Unsupported("the agent works on the task");
    let mut writer = Writer::next(world, record)?.ok_or(busy)?;
    let before = writer.record.clone();
    let record = &mut writer.record;
    let sale = record.sale.as_ref();
    let sale = sale.filter(|sale| sale.stage == Stage::Required);
    let paid_for = sale.and_then(|sale| Message::kept(&sale.original));
    let task = &mut record.task;
    if let Some(asked) = task.message.take() {
        task.say(asked);
    }
    let ids = ids(task);
    task.say(sent.message.without_payment().in_task(&ids));
    task.state = State::Working;
    task.timestamp = clock::stamp(world.now());
    Ok((writer, Some(before), paid_for))
}

/// Writes down that the call is sold.
fn sell<W: World>(
    context: &Context<'_, W>,
    record: &mut Record,
    sent: &Sent,
    message: &Message,
    is_in_band: bool,
) -> Result<(), A2aError> {
    let original = message.as_value();
    let is_long = original.to_string().len() > context.settings.task_bytes / 2;
    // Who pays by HTTP sends the message again; who pays by a message does not.
    if is_long && is_in_band {
        let what = "the message is too long to be kept until it is paid for";
        return Err(A2aError::Params(what.to_owned()));
    }
    let before = record.sale.take();
    let digest = sent.submitted.as_ref().map(Submitted::digest);
    record.sale = Some(Sale {
        is_in_band,
        original: if is_long { Value::Null } else { original },
        challenge: before.as_ref().and_then(|sale| sale.challenge.clone()),
        stage: match digest {
            Some(_) => Stage::Submitted,
            None => Stage::Required,
        },
        payment: digest,
        receipts: before.map(|sale| sale.receipts).unwrap_or_default(),
        response: None,
    });
    Ok(())
}

fn ids(task: &Task) -> Ids {
    Ids {
        task: Some(task.id.clone()),
        context: task.context.clone(),
        fresh: String::new(),
    }
}

/// A message as the history keeps it.
fn kept<W: World>(context: &Context<'_, W>, message: Value) -> Value {
    let length = message.to_string().len();
    let room = context.settings.task_bytes / 2;
    if length <= room {
        return message;
    }
    let mut kept = message;
    if let Value::Object(members) = &mut kept {
        let note = format!("[left out: a message of {length} bytes is longer than what is kept]");
        members.insert("parts".to_owned(), serde_json::json!([{"text": note}]));
        members.insert(
            "metadata".to_owned(),
            serde_json::json!({"truncated": true}),
        );
    }
    kept
}

/// Bytes that a task takes already.
fn kept_size(record: &Record) -> usize {
    let task = &record.task;
    let all = task.artifacts.iter().chain(&task.history);
    all.map(|value| value.to_string().len()).sum()
}
