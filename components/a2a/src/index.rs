//! Which tasks a caller has: one row for each in the bucket of the caller at the agent, and in that of the context.
//!
//! Those who are not known are told apart by the host alone, for which each address is a client: theirs are in a list of the client's, at all
//! agents together, that nobody can ask for. It says whose oldest tasks make room for new ones.
//!
//! A context is a caller's own: the same name of somebody else's is another context. Who is not known has nothing but the contexts whose
//! names it knows, and only where those can not be guessed.

use front::ports::Ports;
use serde::{Deserialize, Serialize};

use crate::caller::digest;
use crate::clock;
use crate::error::{A2aError, StoreError};
use crate::ports::{Clock, Store};
use crate::rows::{self, Record};
use crate::task::State;

/// The row of a list that counts its tasks: those that went by themselves are in it until it is counted anew.
const COUNT: &str = "n";
/// As many more than it has to be are removed from a list that is full, and an eighth of it at the most: counting anew is work.
const SPARE: usize = 64;
/// As long has the name of a context to be for those who are not known.
const UNGUESSABLE: usize = 16;
/// A bucket of which the host has one for each client, and the row in it that says how the client's list is called.
const OWN: &str = "client:tasks";
const NAME: &str = "name";
/// Counts the requests that found no name: the first gives it.
const NAMING: &str = "naming";
/// The longest of the pauses in which the others wait for it, in milliseconds.
const LONGEST_MS: u64 = 512;

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

/// What the host's client is called here that asks, and is not known otherwise. It is written each time, so that it is kept as long as what
/// is in its list. Of requests that come first together one gives the name, and the others wait for it: tasks in the list of another name
/// would make room for no later ones.
pub fn client(world: &(impl Store + Clock + Ports)) -> Result<String, StoreError> {
    let mut name = named(world)?;
    if name.is_none() && world.increment(OWN, NAMING)? > 1 {
        let mut wait = 1;
        // Who was to give it may be gone.
        while name.is_none() && wait <= LONGEST_MS && world.pause(wait) {
            name = named(world)?;
            wait = wait.saturating_mul(2);
        }
    }
    let name = name.unwrap_or_else(|| const_hex::encode(world.random()));
    world.set(OWN, vec![(NAME.to_owned(), name.clone().into_bytes())])?;
    Ok(name)
}

fn named(store: &impl Store) -> Result<Option<String>, StoreError> {
    let row = store.get(OWN, &[NAME.to_owned()])?;
    let name = row.into_iter().flatten().next();
    let name = name.and_then(|name| String::from_utf8(name).ok());
    Ok(name.filter(|name| rows::is_id(name)))
}

/// The list of all that its owner has; of who is not known, of all that the same client has.
fn of_owner(record: &Record) -> Option<List> {
    match record.is_known {
        true => Some(List::of_owner(&record.owner)),
        false => record.client.as_ref().map(|name| List(format!("a:{name}"))),
    }
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
        if count.unwrap_or_default() < most {
            continue;
        }
        let entries = list.entries(store, usize::MAX)?;
        let needed = entries.len().saturating_add(1).saturating_sub(most);
        let wanted = match needed {
            0 => 0,
            needed => needed.max((most / 8).min(SPARE)),
        };
        if list.thin(store, &entries, record.is_known, u64::MAX, wanted)? < needed {
            return Err(A2aError::Busy(
                "as many tasks as are kept are under way".to_owned(),
                None,
            ));
        }
    }
    Ok(())
}

/// Makes room where the host has none for more of this caller's: some of the oldest go that were over before the task began. Whether any did.
pub fn give_way(store: &impl Store, record: &Record, began: u64) -> Result<bool, StoreError> {
    let Some(list) = of_owner(record) else {
        return Ok(false);
    };
    let entries = list.entries(store, usize::MAX)?;
    let some = (entries.len() / 8).clamp(1, SPARE);
    Ok(list.thin(store, &entries, record.is_known, began, some)? > 0)
}

impl List {
    /// Removes so many, the oldest that are over first, and counts anew; gives how many went. Of those who are not known also goes what waits
    /// for a word of theirs: it may never come.
    fn thin(
        &self,
        store: &impl Store,
        entries: &[(String, Entry)],
        is_known: bool,
        before: u64,
        wanted: usize,
    ) -> Result<usize, StoreError> {
        let is_over = |entry: &Entry| entry.state.is_terminal();
        let may_go = |entry: &Entry| is_over(entry) || (!is_known && entry.state.is_interrupted());
        let mut going: Vec<_> = entries
            .iter()
            .filter(|(_, entry)| entry.since < before && may_go(entry))
            .collect();
        going.sort_by_key(|(_, entry)| (!is_over(entry), entry.since));
        let mut gone = 0_usize;
        for (id, entry) in going {
            if gone == wanted {
                break;
            }
            if is_over(entry) || is_left(store, id)? {
                forget(store, id)?;
                store.delete(&self.0, std::slice::from_ref(id))?;
                gone = gone.saturating_add(1);
            }
        }
        let left = entries.len().saturating_sub(gone);
        let row = (COUNT.to_owned(), left.to_string().into_bytes());
        store.set(&self.0, vec![row])?;
        Ok(gone)
    }
}

/// Whether nobody is at a task that is not over, and no payment of it is under way.
fn is_left(store: &impl Store, id: &str) -> Result<bool, StoreError> {
    let record = rows::load(store, id)?;
    Ok(record.is_none_or(|record| !record.is_running && !record.is_settling()))
}

/// Removes a task from all lists, and itself; and the list of a context that has nothing more in it.
fn forget(store: &impl Store, id: &str) -> Result<(), StoreError> {
    if let Ok(Some(record)) = rows::load(store, id) {
        for list in lists(&record) {
            store.delete(&list.0, &[id.to_owned()])?;
        }
        if let Some(context) = of_context(&record)
            && store.keys(&context.0, 2)? == [COUNT]
        {
            store.delete(&context.0, &[COUNT.to_owned()])?;
        }
    }
    rows::remove(store, id)
}
