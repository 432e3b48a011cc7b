//! What a client with a handshake says once, for all its requests to an agent: what it can do, and which messages it wants.
//!
//! What it can do stands in the session's id, which the client sends with each request, so that nothing is kept for those that come once.
//! Only the level of messages is kept, where a client sets one.

use front::fields::Fields;
use front::json;
use serde_json::{Map, Value, json};

use super::input::declares;
use super::said::LEVELS;
use crate::error::RpcError;
use crate::ports::{Rows, Seals, fresh, is_fresh};

/// The header with the id.
pub const HEADER: &str = "mcp-session-id";

const BUCKET: &str = "level";
/// From which level on messages are told to a client that sets none.
const LEVEL: &str = "info";
/// What a client can do, as letters of the id.
const LETTERS: [(char, &str, Option<&str>); 4] = [
    ('e', "elicitation", Some("form")),
    ('u', "elicitation", Some("url")),
    ('s', "sampling", None),
    ('r', "roots", None),
];

/// A session. It has no id where a client sends none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    id: String,
}

impl Session {
    /// The one that is opened by `initialize` with these parameters.
    pub fn new(seals: &impl Seals, params: &Map<String, Value>) -> Self {
        let can = params.get("capabilities").and_then(Value::as_object);
        let has = |name, mode| can.is_some_and(|can| declares(can, name, mode));
        let letters = LETTERS.iter().filter(|(_, name, mode)| has(name, *mode));
        let letters: String = letters.map(|(letter, ..)| letter).collect();
        Self {
            id: format!("{letters}-{}", fresh(seals)),
        }
    }

    /// The one that a request belongs to.
    pub fn of(fields: &Fields) -> Option<Self> {
        let id = fields.one(HEADER).ok()??;
        let (letters, random) = id.split_once('-')?;
        let is_letter = |letter| LETTERS.iter().any(|(own, ..)| *own == letter);
        let is_one = letters.len() <= LETTERS.len() && letters.chars().all(is_letter);
        (is_one && is_fresh(random)).then(|| Self { id: id.to_owned() })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What its client can do, as a request of a client without a handshake says it.
    pub fn capabilities(&self) -> Map<String, Value> {
        let letters = self.id.split('-').next().unwrap_or_default();
        let mut can = Map::new();
        for (letter, name, mode) in LETTERS {
            if !letters.contains(letter) {
                continue;
            }
            let declared = can.entry(name).or_insert_with(|| json!({}));
            if let (Some(mode), Some(declared)) = (mode, declared.as_object_mut()) {
                declared.insert(mode.to_owned(), json!({}));
            }
        }
        can
    }

    /// Keeps the level that `logging/setLevel` has as its parameter.
    pub fn set_level(&self, rows: &impl Rows, params: &Map<String, Value>) -> Result<(), RpcError> {
        let level = json::text(params, "level").filter(|level| LEVELS.contains(level));
        let level = level.ok_or_else(|| RpcError::Params("there is no such level".to_owned()))?;
        if self.id.is_empty() {
            return Err(RpcError::Request("there is no session to set it for"));
        }
        Ok(rows.set(BUCKET, &self.id, level.as_bytes())?)
    }

    /// From which level on its client wants messages.
    pub fn level(&self, rows: &impl Rows) -> Result<&'static str, RpcError> {
        if self.id.is_empty() {
            return Ok(LEVEL);
        }
        let kept = rows.get(BUCKET, &self.id)?.unwrap_or_default();
        let level = LEVELS.into_iter().find(|level| level.as_bytes() == kept);
        Ok(level.unwrap_or(LEVEL))
    }
}
