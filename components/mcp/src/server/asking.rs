//! Clients with a handshake are asked for input on the way to a result: the front sends them requests ahead of it, and their answers come
//! as messages of their own, to another instance. An answer finds its request by an id that nobody can guess.

use front::error::WebError;
use front::json;
use front::words::words;
use serde_json::{Map, Value, json};

use super::input::Wanted;
use crate::error::{RpcError, Unkept};
use crate::ports::{Rows, World, fresh, is_fresh};
use crate::reply::Reply;

const BUCKET: &str = "asked";
/// The longest answer, in bytes.
const LONGEST: usize = 512 * 1024;
/// How long to wait before it is looked for again, in milliseconds: at first, and at the most.
const FIRST_WAIT: u64 = 20;
const LONGEST_WAIT: u64 = 500;

/// Asks for all of it, and waits for the answers: results by the names that the agent gave their requests.
pub fn ask<W: World>(
    world: &W,
    reply: &Reply<'_, W>,
    wanted: &Wanted,
) -> Result<Map<String, Value>, RpcError> {
    let mut ids = Vec::new();
    for (key, request) in &wanted.requests {
        let id = fresh(world);
        let mut message = json!({"jsonrpc": "2.0", "id": id});
        for part in ["method", "params"] {
            if let Some(part_of) = request.get(part) {
                message[part] = part_of.clone();
            }
        }
        // What stands there is asked for, and what is empty is not answered.
        world.set(BUCKET, &id, &[])?;
        ids.push((key, id));
        match reply.ahead(&message) {
            Ok(true) => {}
            Ok(false) => {
                forget(world, &ids);
                return Err(RpcError::Params(
                    "this asks for input, and `Accept` does not allow text/event-stream".to_owned(),
                ));
            }
            Err(error) => {
                forget(world, &ids);
                return Err(no_answer(error));
            }
        }
    }
    let answers = waited(world, &ids);
    forget(world, &ids);
    answers
}

fn waited(world: &impl World, ids: &[(&String, String)]) -> Result<Map<String, Value>, RpcError> {
    let mut answers = Map::new();
    for (key, id) in ids {
        let mut wait = FIRST_WAIT;
        let answer = loop {
            match world.get(BUCKET, id)? {
                Some(answer) if answer.is_empty() => {}
                Some(answer) => break answer,
                None => return Err(Unkept.into()),
            }
            if !world.pause(wait) {
                return Err(no_answer(WebError::Timeout));
            }
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        };
        let mut answer = json::object(&answer).map_err(|_| Unkept)?;
        match answer.remove("result") {
            Some(result @ Value::Object(_)) => {
                answers.insert((*key).clone(), result);
            }
            _ => {
                let error = answer.get("error").and_then(Value::as_object);
                let said = error.and_then(|error| json::text(error, "message"));
                let said = words(said.unwrap_or_default(), 200);
                return Err(RpcError::Internal(format!(
                    "the client refused what it was asked for: {said}"
                )));
            }
        }
    }
    Ok(answers)
}

fn no_answer(error: WebError) -> RpcError {
    RpcError::Internal(format!(
        "the client did not give what it was asked for: {error}"
    ))
}

fn forget(rows: &impl Rows, ids: &[(&String, String)]) {
    for (_, id) in ids {
        // What stays is deleted by the host some day.
        let _ = rows.delete(BUCKET, id);
    }
}

/// Takes a client's answer, to whatever it answers. One to nothing that was asked is dropped, and so is a second one.
pub fn answered(rows: &impl Rows, response: &Map<String, Value>) -> Result<(), RpcError> {
    let Some(id) = json::text(response, "id").filter(|id| is_fresh(id)) else {
        return Ok(());
    };
    if rows.get(BUCKET, id)?.is_none_or(|row| !row.is_empty()) {
        return Ok(());
    }
    let mut kept = Map::new();
    for part in ["result", "error"] {
        if let Some(part_of) = response.get(part) {
            kept.insert(part.to_owned(), part_of.clone());
        }
    }
    let mut text = Value::Object(kept).to_string();
    if text.len() > LONGEST {
        text = json!({"error": {"message": "its answer is longer than 512 KiB"}}).to_string();
    }
    Ok(rows.set(BUCKET, id, text.as_bytes())?)
}
