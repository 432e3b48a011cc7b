//! What is kept of a task, and where: one bucket for each, with its events one after the other and a record that is their fold up to some
//! of them. One instance writes, the others read along.
//!
//! | key | |
//! |---|---|
//! | `r` | the [`Record`] |
//! | `e/N` | event N, from 1 |
//! | `beat` | when its runner was last at it |
//! | `run/N` | counts who wants to run turn N: the first does |
//! | `cancel/N` | that somebody wants turn N canceled |

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StoreError;
use crate::ports::Store;
use crate::task::Task;

/// Bytes of one value; longer ones are divided.
const PIECE: usize = 240 * 1024;
/// What stands before the bytes of a piece: how many follow, and the version that it belongs to.
const HEAD: usize = 9;
/// How often a value that is being replaced is read anew.
const TIMES: u32 = 4;

/// What is known of a task besides what clients see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// As clients see it.
    pub task: Task,
    /// Whose it is at which agent.
    pub owner: String,
    /// Whether the owner is known: then it is listed for it.
    pub is_known: bool,
    /// Otherwise what the [client](crate::index::client) is called that began it.
    #[serde(default)]
    pub client: Option<String>,
    /// The agent's address.
    pub agent: String,
    /// How often an agent was asked for it: who ran it last is the winner of this turn.
    pub turn: u64,
    /// The last event that is in it.
    pub seq: u64,
    /// How often it was written.
    pub version: u64,
    /// Whether somebody is at it.
    pub is_running: bool,
    /// The start of the host that this somebody belongs to.
    pub start: String,
    /// Whether clients know of it.
    pub is_announced: bool,
    /// The message that the agent answered with in place of a task.
    pub answer: Option<Value>,
    /// Whether something was left out for its length.
    pub is_cut: bool,
    /// What is paid for it.
    pub sale: Option<Sale>,
}

/// A sale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sale {
    /// Whether the client pays by messages, and not by headers of HTTP.
    pub is_in_band: bool,
    /// The message that is paid for.
    pub original: Value,
    /// What the host asked for last.
    pub challenge: Option<Value>,
    /// The digest of the payment that was sent last.
    pub payment: Option<String>,
    /// How it stands.
    pub stage: Stage,
    /// What became of payments.
    pub receipts: Vec<Value>,
    /// The header that says what became of the last.
    pub response: Option<String>,
}

/// How a sale stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The client is asked to pay.
    Required,
    /// A payment was sent, and may be settled whatever happens here.
    Submitted,
    /// Nothing of it is open.
    Over,
}

impl Record {
    /// Whether a payment of it may be settling: then the ledger decides what became of it, when the same payment is sent again.
    pub fn is_settling(&self) -> bool {
        let stage = self.sale.as_ref().map(|sale| sale.stage);
        stage == Some(Stage::Submitted)
    }

    /// Whether nobody will write to it unasked.
    pub fn is_at_rest(&self) -> bool {
        let state = self.task.state;
        self.answer.is_some() || state.is_terminal() || state.is_interrupted()
    }

    /// Takes in an event, the next.
    pub fn fold(&mut self, event: &Value) {
        self.seq = self.seq.saturating_add(1);
        match event.get("message") {
            Some(answer) => self.answer = Some(answer.clone()),
            None => self.task.fold(event),
        }
    }
}

/// The bucket of a task.
pub fn bucket(id: &str) -> String {
    format!("t:{id}")
}

/// Whether a text may be the id of a task.
pub fn is_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Rows for a value, which may be long.
pub fn pieces(key: &str, version: u64, value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut chunks: Vec<&[u8]> = value.chunks(PIECE).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let more = u8::try_from(chunks.len().saturating_sub(1)).unwrap_or(u8::MAX);
    let row = |(at, chunk): (usize, &&[u8])| {
        let key = match at {
            0 => key.to_owned(),
            at => format!("{key}/{at}"),
        };
        let mut row = Vec::with_capacity(chunk.len().saturating_add(HEAD));
        row.push(more);
        row.extend(version.to_be_bytes());
        row.extend(*chunk);
        (key, row)
    };
    chunks.iter().enumerate().map(row).collect()
}

/// A value that may be long.
pub fn read(store: &impl Store, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let first = store.get(bucket, &[key.to_owned()])?;
    let Some(Some(mut first)) = first.into_iter().next() else {
        return Ok(None);
    };
    for _ in 0..TIMES {
        let (head, data) = first.split_at_checked(HEAD).ok_or(StoreError::Broken)?;
        let more = head.first().copied().unwrap_or_default();
        if more == 0 {
            return Ok(Some(data.to_vec()));
        }
        let keys: Vec<String> = std::iter::once(key.to_owned())
            .chain((1..=more).map(|at| format!("{key}/{at}")))
            .collect();
        let rows = store.get(bucket, &keys)?;
        let rows: Option<Vec<Vec<u8>>> = rows.into_iter().collect();
        let rows = rows.ok_or(StoreError::Broken)?;
        let head = rows.first().and_then(|row| row.get(..HEAD));
        let head = head.ok_or(StoreError::Broken)?;
        if head.first() == Some(&more) && rows.iter().all(|row| row.get(..HEAD) == Some(head)) {
            let data = rows.iter().filter_map(|row| row.get(HEAD..));
            return Ok(Some(data.flatten().copied().collect()));
        }
        // It was replaced meanwhile.
        first = rows.into_iter().next().unwrap_or_default();
    }
    Err(StoreError::Broken)
}

/// The key of an event.
pub fn event_key(seq: u64) -> String {
    format!("e/{seq}")
}

/// Events from one on, at most so many: none where there are no more yet.
pub fn events(
    store: &impl Store,
    id: &str,
    from: u64,
    most: u64,
) -> Result<Vec<Value>, StoreError> {
    let bucket = bucket(id);
    let keys: Vec<String> = (from..from.saturating_add(most)).map(event_key).collect();
    let rows = store.get(&bucket, &keys)?;
    let mut events = Vec::new();
    for (key, row) in keys.iter().zip(rows) {
        let Some(row) = row else { break };
        let is_whole = row.first() == Some(&0);
        let value = match is_whole {
            true => row.get(HEAD..).unwrap_or_default().to_vec(),
            false => read(store, &bucket, key)?.ok_or(StoreError::Broken)?,
        };
        events.push(serde_json::from_slice(&value).map_err(|_| StoreError::Broken)?);
    }
    Ok(events)
}

/// The record of a task, with all events that there are.
pub fn load(store: &impl Store, id: &str) -> Result<Option<Record>, StoreError> {
    let Some(value) = read(store, &bucket(id), "r")? else {
        return Ok(None);
    };
    let record = serde_json::from_slice(&value);
    let mut record: Record = record.map_err(|_| StoreError::Broken)?;
    loop {
        let events = events(store, id, record.seq.saturating_add(1), 16)?;
        if events.is_empty() {
            return Ok(Some(record));
        }
        events.iter().for_each(|event| record.fold(event));
    }
}

/// Removes all of a task.
pub fn remove(store: &impl Store, id: &str) -> Result<(), StoreError> {
    let bucket = bucket(id);
    let keys = store.keys(&bucket, usize::MAX)?;
    store.delete(&bucket, &keys)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::store::Rows;

    #[test]
    fn a_long_value_is_divided_and_read_whole() {
        let store = Rows::default();
        for length in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
            let value = vec![7; length];
            store.set("b", pieces("k", 1, &value)).unwrap();
            assert_eq!(read(&store, "b", "k").unwrap(), Some(value));
        }
        assert_eq!(read(&store, "b", "other").unwrap(), None);
    }

    #[test]
    fn pieces_of_two_versions_are_not_taken_for_one_value() {
        let store = Rows::default();
        store.set("b", pieces("k", 1, &vec![1; PIECE * 2])).unwrap();
        let second = pieces("k", 2, &vec![2; PIECE * 2]);
        store
            .set("b", second.into_iter().take(1).collect())
            .unwrap();
        assert_eq!(read(&store, "b", "k"), Err(StoreError::Broken));
    }

    #[test]
    fn an_id_is_32_hex_digits() {
        assert!(is_id(&"0f".repeat(16)));
        for text in [
            "",
            "0F",
            &"0F".repeat(16),
            &"0f".repeat(17),
            &"../".repeat(11),
        ] {
            assert!(!is_id(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_the_store_are_read_or_refused(row in proptest::collection::vec(any::<u8>(), 0..40)) {
            let store = Rows::default();
            store.set("t:i", vec![("r".to_owned(), row.clone()), ("e/1".to_owned(), row)]).unwrap();
            let _ = (load(&store, "i"), events(&store, "i", 1, 4));
        }
    }
}
