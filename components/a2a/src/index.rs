//! Which tasks a caller has: one row for each in the bucket of the caller at the agent, and in that of the context.
//!
//! A context is a caller's own: the same name of somebody else's is another context. Who is not known has nothing but the contexts whose
//! names it knows, and only where those can not be guessed.

use serde::{Deserialize, Serialize};

use crate::caller::digest;
use crate::clock;
use crate::error::{A2aError, StoreError};
use crate::ports::Store;
use crate::rows::{self, Record};
use crate::task::State;

/// As long has the name of a context to be for those who are not known.
const UNGUESSABLE: usize = 16;

/// What is said of a task in a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it stands.
    pub state: State,
    /// Since when, in milliseconds.
    pub since: u64,
}

/// A list of tasks.
pub struct List(String);

impl List {
    /// All of an owner's.
    pub fn of_owner(owner: &str) -> Self {
        Self(format!("o:{owner}"))
    }

    /// Those of a context; none where anybody could guess its name.
    pub fn of_context(owner: &str, is_known: bool, context: &str) -> Option<Self> {
        let is_secret = is_known || context.len() >= UNGUESSABLE;
        let digest = digest(&[owner.as_bytes(), context.as_bytes()]);
        is_secret.then(|| Self(format!("x:{}", const_hex::encode(digest))))
    }

    /// What is in it, at most so many, in no order.
    pub fn entries(
        &self,
        store: &impl Store,
        most: usize,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let mut keys = store.keys(&self.0, most)?;
        keys.truncate(most);
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(64) {
            let rows = store.get(&self.0, keys)?;
            for (key, row) in keys.iter().zip(rows) {
                let entry = row.and_then(|row| serde_json::from_slice(&row).ok());
                entries.extend(entry.map(|entry| (key.clone(), entry)));
            }
        }
        Ok(entries)
    }
}

fn lists(record: &Record) -> impl Iterator<Item = List> {
    let own = record.is_known.then(|| List::of_owner(&record.owner));
    let context = List::of_context(&record.owner, record.is_known, &record.task.context);
    own.into_iter().chain(context)
}

/// Writes where a task stands.
pub fn write(store: &impl Store, record: &Record) -> Result<(), StoreError> {
    let entry = Entry {
        state: record.task.state,
        since: clock::parse(&record.task.timestamp).unwrap_or_default(),
    };
    let entry = serde_json::to_vec(&entry).map_err(|_| StoreError::Broken)?;
    for list in lists(record) {
        store.set(&list.0, vec![(record.task.id.clone(), entry.clone())])?;
    }
    Ok(())
}

/// Makes room for one more task beside those in the lists that it will be in: the oldest that is over goes.
pub fn make_room(store: &impl Store, record: &Record, most: usize) -> Result<(), A2aError> {
    for list in lists(record) {
        let keys = store.keys(&list.0, most)?;
        if keys.len() < most {
            continue;
        }
        let entries = list.entries(store, keys.len())?;
        let over = entries
            .iter()
            .filter(|(_, entry)| entry.state.is_terminal());
        let oldest = over.min_by_key(|(_, entry)| entry.since);
        let Some((id, _)) = oldest else {
            return Err(A2aError::Busy(
                "as many tasks as are kept are under way".to_owned(),
                None,
            ));
        };
        forget(store, id)?;
        store.delete(&list.0, std::slice::from_ref(id))?;
    }
    Ok(())
}

/// Removes a task from all lists, and itself.
pub fn forget(store: &impl Store, id: &str) -> Result<(), StoreError> {
    if let Ok(Some(record)) = rows::load(store, id) {
        for list in lists(&record) {
            store.delete(&list.0, &[id.to_owned()])?;
        }
    }
    rows::remove(store, id)
}
