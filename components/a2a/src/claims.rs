//! One message, one run: who sends a message again gets what came of the first.
//!
//! A message is named by its caller and its `messageId`. Who is not known has no name of its own: anybody may send the same id, and would get
//! somebody else's task. There a payment names the message, which is its payer's own; one without is a new one each time.

use serde::{Deserialize, Serialize};

use crate::caller::{Caller, digest};
use crate::error::A2aError;
use crate::message::Message;
use crate::ports::World;

/// How long the first is waited for to begin, in milliseconds.
const PATIENCE_MS: u64 = 10_000;
const WAIT_MS: u64 = 20;

/// What names a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    bucket: String,
    name: String,
    content: String,
}

/// What the first run of a message began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The task.
    pub task: String,
    /// The last event before those of this message.
    pub from: u64,
    content: String,
}

impl Key {
    /// That of a message of a caller's to an agent.
    pub fn of(
        caller: &Caller,
        agent: &str,
        message: &Message,
        payment: Option<&[u8]>,
    ) -> Option<Self> {
        let id = message.id().as_bytes();
        let name = match (caller.is_known(), payment) {
            (true, _) => digest(&[b"message", id]),
            (false, Some(payment)) => digest(&[b"payment", id, payment]),
            (false, None) => return None,
        };
        let content = message.as_value().to_string();
        Some(Self {
            bucket: format!("c:{}", caller.owner(agent)),
            name: const_hex::encode(name),
            content: const_hex::encode(digest(&[content.as_bytes()])),
        })
    }

    /// Counts those who would be the first, anew with each start of the host: a first that a restart cut off holds up nobody.
    fn counter(&self, world: &impl World) -> String {
        format!("n/{}/{}", self.name, world.start())
    }

    fn row(&self) -> String {
        format!("m/{}", self.name)
    }

    /// What this message began; none where the one who asks is the first, and has to begin or [`release`](Self::release) it.
    pub fn claim(&self, world: &impl World) -> Result<Option<Begun>, A2aError> {
        let mut waited = 0;
        loop {
            if let Some(begun) = self.begun(world)? {
                return Ok(Some(begun));
            }
            let counter = world.get(&self.bucket, &[self.counter(world)])?;
            let is_free = counter.iter().all(Option::is_none);
            if is_free && world.increment(&self.bucket, &self.counter(world))? == 1 {
                return Ok(None);
            }
            if waited >= PATIENCE_MS || !world.pause(WAIT_MS) {
                return Err(A2aError::Busy(
                    "the first message of this id has not begun yet".to_owned(),
                    Some(1),
                ));
            }
            waited = waited.saturating_add(WAIT_MS);
        }
    }

    fn begun(&self, world: &impl World) -> Result<Option<Begun>, A2aError> {
        let row = world.get(&self.bucket, &[self.row()])?;
        let Some(row) = row.into_iter().flatten().next() else {
            return Ok(None);
        };
        let begun: Result<Begun, _> = serde_json::from_slice(&row);
        let begun = begun.map_err(|_| crate::error::StoreError::Broken)?;
        match begun.content == self.content {
            true => Ok(Some(begun)),
            false => Err(A2aError::Params(
                "`messageId` was used for another message".to_owned(),
            )),
        }
    }

    /// Says what the message began.
    pub fn begin(&self, world: &impl World, task: &str, from: u64) -> Result<(), A2aError> {
        let begun = Begun {
            task: task.to_owned(),
            from,
            content: self.content.clone(),
        };
        let row = serde_json::to_vec(&begun).map_err(|_| crate::error::StoreError::Broken)?;
        world.set(&self.bucket, vec![(self.row(), row)])?;
        Ok(())
    }

    /// Says that it began nothing: the next one is the first.
    pub fn release(&self, world: &impl World) {
        let _ = world.delete(&self.bucket, &[self.row(), self.counter(world)]);
    }
}
