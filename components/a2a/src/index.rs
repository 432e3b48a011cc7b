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

/// The row of a list that counts its tasks: those that went by themselves are in it until it is counted anew.
const COUNT: &str = "n";
/// As many more than it has to be are removed from a list that is full, and an eighth of it at the most: counting anew is work.
const SPARE: usize = 64;
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
        let mut keys = store.keys(&self.0, most.saturating_add(1))?;
        keys.retain(|key| key != COUNT);
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

/// The list of its owner, where that is known.
fn of_owner(record: &Record) -> Option<List> {
    record.is_known.then(|| List::of_owner(&record.owner))
}

fn of_context(record: &Record) -> Option<List> {
    List::of_context(&record.owner, record.is_known, &record.task.context)
}

fn lists(record: &Record) -> impl Iterator<Item = List> {
    of_owner(record).into_iter().chain(of_context(record))
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

/// The lists in which a new task is counted. Nothing else is in the list of a context that begins with it.
fn counted(record: &Record, is_new_context: bool) -> impl Iterator<Item = List> {
    let context = of_context(record).filter(|_| !is_new_context);
    of_owner(record).into_iter().chain(context)
}

/// Counts a new task.
pub fn count(store: &impl Store, record: &Record, is_new_context: bool) -> Result<(), StoreError> {
    for list in counted(record, is_new_context) {
        store.increment(&list.0, COUNT)?;
    }
    Ok(())
}

/// Makes room for one more task beside those in the lists that it will be in: the oldest that are over go.
pub fn make_room(
    store: &impl Store,
    record: &Record,
    most: usize,
    is_new_context: bool,
) -> Result<(), A2aError> {
    for list in counted(record, is_new_context) {
        let row = store.get(&list.0, &[COUNT.to_owned()])?;
        let row = row.into_iter().flatten().next();
        let digits = row.and_then(|row| String::from_utf8(row).ok());
        let count = digits.and_then(|digits| digits.parse::<usize>().ok());
        if count.unwrap_or_default() >= most {
            list.thin(store, most)?;
        }
    }
    Ok(())
}

impl List {
    /// Removes the oldest that are over, until there is room for one more, and counts anew.
    fn thin(&self, store: &impl Store, most: usize) -> Result<(), A2aError> {
        let entries = self.entries(store, usize::MAX)?;
        let needed = entries.len().saturating_add(1).saturating_sub(most);
        let mut over: Vec<_> = entries
            .iter()
            .filter(|(_, entry)| entry.state.is_terminal())
            .collect();
        over.sort_by_key(|(_, entry)| entry.since);
        let spare = (most / 8).min(SPARE);
        let gone = match needed {
            0 => 0,
            needed => needed.max(spare).min(over.len()),
        };
        for (id, _) in over.iter().take(gone) {
            forget(store, id)?;
            store.delete(&self.0, std::slice::from_ref(id))?;
        }
        let left = entries.len().saturating_sub(gone);
        let row = (COUNT.to_owned(), left.to_string().into_bytes());
        store.set(&self.0, vec![row])?;
        match gone < needed {
            true => Err(A2aError::Busy(
                "as many tasks as are kept are under way".to_owned(),
                None,
            )),
            false => Ok(()),
        }
    }
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
