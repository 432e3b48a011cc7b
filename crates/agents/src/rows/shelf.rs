//! The rows of one component.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypervisor_runtime::{Chain, Rows, RowsError, Value};
use hypervisor_store::Change;
use zeroize::Zeroizing;

use super::kept::{Client, Held, Kept, NOBODY, prefixed};
use super::pending::{Fresh, Pending, Place};
use super::{Allowance, ROWS, Shared};

/// Keys that are listed together.
const KEYS: usize = 32;
/// Longest key, bytes.
const MAX_KEY: usize = 1024;
/// Largest value, bytes.
const MAX_VALUE: usize = 1 << 20;
/// Rows that are read or written together, and the bytes of all their values.
const MAX_ROWS: usize = 1024;
const MAX_BYTES: usize = 8 << 20;
/// When so much has gathered, bytes, whoever writes more waits for the disk.
const MAX_PENDING: usize = 8 << 20;

/// The rows of one component.
pub struct Shelf {
    shared: Arc<Shared>,
    name: String,
    allowance: Allowance,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Held,
    pending: Pending,
    /// Writes so far, and as many of them as have reached the disk.
    written: u64,
    saved: u64,
    /// Whether the last ones could not be brought to the disk.
    is_stuck: bool,
}

impl Shelf {
    pub(super) fn new(shared: Arc<Shared>, name: String, allowance: Allowance) -> Self {
        Self {
            shared,
            name,
            allowance,
            state: Mutex::default(),
        }
    }

    /// How long a row stays that nobody writes.
    pub(super) fn keep(&self) -> Duration {
        self.allowance.keep
    }

    /// Counts a row that is there from before.
    pub(super) fn count(&self, kept: &Kept<'_>) {
        self.state().held.add(kept.by, kept.bytes());
    }

    /// Deletes a row of the store that nobody wrote since it had this version.
    pub(super) fn expire(&self, key: &[u8], version: u64) -> Result<(), hypervisor_store::Error> {
        let Ok(place) = Place::try_from(key) else {
            return Ok(());
        };
        let mut state = self.state();
        if state.pending.find(&place).is_some() {
            return Ok(());
        }
        let row = self.shared.store.get(ROWS, key)?;
        let row = row.filter(|row| row.version == version);
        if let Some(kept) = row.as_ref().and_then(|row| Kept::read(&row.value)) {
            state.held.take(kept.by, kept.bytes());
            state.pending.put(place, None);
            state.written = state.written.saturating_add(1);
        }
        Ok(())
    }

    /// Returns when all that was written before has reached the disk.
    pub(super) fn flush(&self) -> Result<(), hypervisor_store::Error> {
        let upto = self.state().written;
        let _turn = self.shared.turn();
        let (leaving, written) = {
            let mut state = self.state();
            // Whoever had the turn before may have brought it there.
            if state.saved >= upto {
                return Ok(());
            }
            (state.pending.leave(), state.written)
        };
        let row = |fresh: &Fresh| Zeroizing::new(fresh.kept(&self.name).write());
        let rows: Vec<_> = leaving
            .iter()
            .map(|(place, entry)| (place, entry.as_ref().as_ref().map(row)))
            .collect();
        let changes: Vec<Change<'_>> = rows
            .iter()
            .map(|(place, row)| Change {
                value: row.as_ref().map(|row| row.as_slice()),
                ..Change::delete(ROWS, place.as_slice())
            })
            .collect();
        let done = self.shared.store.commit(&changes, true);
        let mut state = self.state();
        state.is_stuck = done.is_err();
        match &done {
            Ok(()) => {
                state.saved = written;
                state.pending.arrived();
            }
            Err(_) => state.pending.returned(),
        }
        done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bucket(&self, bucket: &str) -> [u8; 16] {
        self.blind(&[self.name.as_bytes(), bucket.as_bytes()])
    }

    fn place(&self, bucket: [u8; 16], key: &str) -> Result<Place, RowsError> {
        if !(1..=MAX_KEY).contains(&key.len()) {
            return Err(RowsError::new(format!("a key has 1 to {MAX_KEY} bytes")));
        }
        let mut whole = [0; 32];
        let (first, second) = whole.split_at_mut(16);
        first.copy_from_slice(&bucket);
        second.copy_from_slice(&self.blind(&[&bucket, key.as_bytes()]));
        Ok(whole)
    }

    fn client(&self, chain: &Chain) -> Client {
        let Some(client) = (self.shared.client_of)(chain) else {
            return NOBODY;
        };
        let [a, b, c, d, e, f, g, h, ..] = self.blind(&[b"client", client.as_bytes()]);
        [a, b, c, d, e, f, g, h]
    }

    /// 16 bytes of a keyed hash.
    fn blind(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut text = Vec::new();
        parts.iter().for_each(|part| prefixed(&mut text, part));
        let whole = self.shared.store.blind(ROWS, &text);
        std::array::from_fn(|at| whole.get(at).copied().unwrap_or_default())
    }

    /// Shows a row as it is now. One that does not open is none: whatever is written takes its place.
    fn look<T>(
        &self,
        state: &State,
        place: &Place,
        look: impl FnOnce(Option<Kept<'_>>) -> T,
    ) -> Result<T, RowsError> {
        if let Some(entry) = state.pending.find(place) {
            let fresh = entry.as_ref().as_ref();
            return Ok(look(fresh.map(|fresh| fresh.kept(&self.name))));
        }
        let row = match self.shared.store.get(ROWS, place) {
            Ok(row) => row,
            Err(hypervisor_store::Error::Authentication(_)) => None,
            Err(error) => return Err(failed(&error)),
        };
        Ok(look(row.as_ref().and_then(|row| Kept::read(&row.value))))
    }

    /// Writes all of these or none.
    fn change(
        &self,
        state: &mut State,
        by: Client,
        rows: BTreeMap<Place, (String, Value)>,
    ) -> Result<(), RowsError> {
        let (mut before, mut after) = (Held::default(), Held::default());
        let mut entries = Vec::with_capacity(rows.len());
        for (place, (key, value)) in rows {
            let now = |kept: Option<Kept<'_>>| kept.map(|kept| (kept.by, kept.bytes()));
            let now = self.look(state, &place, now)?;
            if let Some((by, bytes)) = now {
                before.add(by, bytes);
            }
            let entry = value.map(|value| Fresh {
                by: now.map_or(by, |(by, _)| by),
                key,
                value: Zeroizing::new(value),
            });
            if let Some(fresh) = &entry {
                after.add(fresh.by, fresh.kept(&self.name).bytes());
            }
            entries.push((place, entry));
        }
        if state.is_stuck && after.exceeds(&before) {
            return Err(RowsError::new("the host cannot write what is kept"));
        }
        (state.held).fits(&before, &after, self.allowance.bytes)?;
        state.held.replace(&before, &after);
        for (place, entry) in entries {
            state.pending.put(place, entry);
        }
        state.written = state.written.saturating_add(1);
        self.shared.wrote.notify_one();
        Ok(())
    }
}

impl Rows for Shelf {
    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Value>, RowsError> {
        if keys.len() > MAX_ROWS {
            return Err(too_many());
        }
        let bucket = self.bucket(bucket);
        let state = self.state();
        let mut room = MAX_BYTES;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let place = self.place(bucket, key)?;
            let value = |kept: Option<Kept<'_>>| kept.map(|kept| kept.value.to_vec());
            let value = self.look(&state, &place, value)?;
            let bytes = value.as_ref().map_or(0, Vec::len);
            room = room.checked_sub(bytes).ok_or_else(too_many)?;
            values.push(value);
        }
        Ok(values)
    }

    fn keys(
        &self,
        bucket: &str,
        after: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), RowsError> {
        let bucket = self.bucket(bucket);
        // Those that begin like the last one were all given: there are no two but by chance.
        let after = after.map(|after| [&bucket[..], &after.to_be_bytes(), &[0xff; 8]].concat());
        let behind = after.as_deref().unwrap_or(&[]);
        // What reaches the store between these two is in both.
        let pending = self.state().pending.keys(&bucket, behind);
        let page = (self.shared.store).scan(ROWS, &bucket, after.as_deref(), KEYS);
        let page = page.map_err(|e| failed(&e))?;
        // Behind a page that is full, the store has to be asked again first.
        let end = page.last().filter(|_| page.len() == KEYS);
        let end = end.map(|last| last.key.clone());
        let mut all: BTreeMap<Vec<u8>, Option<String>> = BTreeMap::new();
        for scanned in page {
            let row = scanned.row.ok();
            let kept = row.as_ref().and_then(|row| Kept::read(&row.value));
            let key = kept.map(|kept| kept.key.to_owned());
            all.insert(scanned.key, key);
        }
        let is_here = |place: &Place| end.as_ref().is_none_or(|end| place.as_slice() <= &**end);
        let here = pending.into_iter().filter(|(place, _)| is_here(place));
        all.extend(here.map(|(place, key)| (place.to_vec(), key)));
        let mut keys = Vec::new();
        let mut cursor = None;
        let mut all = all.into_iter().peekable();
        while let Some((place, key)) = all.next() {
            keys.extend(key);
            let is_end = all.peek().is_none();
            if (is_end && end.is_some()) || (!is_end && keys.len() == KEYS) {
                let at = place.get(16..24).and_then(|at| at.try_into().ok());
                cursor = at.map(u64::from_be_bytes);
                break;
            }
        }
        Ok((keys, cursor))
    }

    fn write(
        &self,
        chain: &Chain,
        bucket: &str,
        rows: Vec<(String, Value)>,
    ) -> Result<(), RowsError> {
        let sizes = rows
            .iter()
            .map(|(_, value)| value.as_ref().map_or(0, Vec::len));
        if sizes.clone().any(|size| size > MAX_VALUE) {
            return Err(RowsError::new(format!(
                "a value has {MAX_VALUE} bytes at the most"
            )));
        }
        if rows.len() > MAX_ROWS || sizes.sum::<usize>() > MAX_BYTES {
            return Err(too_many());
        }
        let bucket = self.bucket(bucket);
        let placed = rows
            .into_iter()
            .map(|(key, value)| Ok((self.place(bucket, &key)?, (key, value))));
        let placed = placed.collect::<Result<_, RowsError>>()?;
        let by = self.client(chain);
        self.change(&mut self.state(), by, placed)
    }

    fn increment(
        &self,
        chain: &Chain,
        bucket: &str,
        key: &str,
        delta: u64,
    ) -> Result<u64, RowsError> {
        let place = self.place(self.bucket(bucket), key)?;
        let by = self.client(chain);
        let mut state = self.state();
        let number = |kept: Option<Kept<'_>>| match kept {
            None => Some(0),
            Some(kept) => str::from_utf8(kept.value).ok()?.parse::<u64>().ok(),
        };
        let now = self.look(&state, &place, number)?;
        let now = now.ok_or_else(|| RowsError::new("the value is not a number"))?;
        let sum = now.checked_add(delta);
        let sum = sum.ok_or_else(|| RowsError::new("the number would be too large"))?;
        let value = Some(sum.to_string().into_bytes());
        let rows = BTreeMap::from([(place, (key.to_owned(), value))]);
        self.change(&mut state, by, rows)?;
        Ok(sum)
    }

    fn is_behind(&self) -> bool {
        self.state().pending.bytes() >= MAX_PENDING
    }

    fn sync(&self) -> Result<(), RowsError> {
        self.flush().map_err(|error| failed(&error))
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::error!(%error, component = %self.name, "what a protocol kept last is lost");
        }
    }
}

fn failed(error: &hypervisor_store::Error) -> RowsError {
    tracing::error!(%error, "what protocols keep cannot be read or written");
    RowsError::new("the host cannot read or write what is kept")
}

fn too_many() -> RowsError {
    RowsError::new(format!(
        "{MAX_ROWS} rows and {MAX_BYTES} bytes are read or written together at the most"
    ))
}
