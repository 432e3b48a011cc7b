//! What components that answer in the host's own name keep: rows in buckets of their own, in one store.
//!
//! ```text
//! key   = 16 bytes of a keyed hash of component and bucket ‖ 16 bytes of one of these and the key
//! value = lp(component) ‖ 8 bytes of a keyed hash of the client that caused it ‖ lp(key) ‖ value        lp: u32 BE length, then that
//! ```
//!
//! Everything that is kept counts twice: for the component, and for the client whose call wrote it first. A row that was not written for
//! as long as the operator says is deleted. Writes reach the disk within a tenth of a second, and before that where the component asks for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_runtime::{Chain, Rows, RowsError, Value};
use hypervisor_store::{Change, Expect, Store, Table, Under};
use tokio::sync::Notify;

/// The table.
const ROWS: Table = Table {
    name: "protocols",
    under: Under::Platform,
};
/// The tables of the store.
pub const ROW_TABLES: [Table; 1] = [ROWS];
/// Time in which writes gather.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause between two looks for rows that are too old.
const SWEEP: Duration = Duration::from_secs(60);
/// Rows that are looked at together, and keys that are listed together.
const PAGE: usize = 64;
const KEYS: usize = 32;
/// Longest key, bytes.
const MAX_KEY: usize = 1024;
/// Largest value, bytes.
const MAX_VALUE: usize = 1 << 20;
/// Rows that are read or written together, and the bytes of all their values.
const MAX_ROWS: usize = 1024;
const MAX_BYTES: usize = 8 << 20;
/// What a row counts for beside its key and value, bytes: about what it takes in the store.
const ROW_BYTES: u64 = 160;

/// What one component may keep.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Bytes in all. One client causes a quarter of it at the most.
    pub bytes: u64,
    /// How long a row stays that nobody writes.
    pub keep: Duration,
}

/// Which client a call is for, in the terms of the account.
pub type ClientOf = fn(&Chain) -> Option<String>;

/// The rows of all components.
pub struct Shelves {
    store: Arc<Store>,
    shelves: BTreeMap<String, Arc<Shelf>>,
    /// Told that something was written.
    wrote: Arc<Notify>,
}

/// The rows of one component.
pub struct Shelf {
    store: Arc<Store>,
    name: String,
    allowance: Allowance,
    client_of: ClientOf,
    /// Held while it changes.
    held: Mutex<Held>,
    wrote: Arc<Notify>,
}

type Client = [u8; 8];
/// Calls that no client sent.
const NOBODY: Client = [0; 8];

/// Bytes that are kept.
#[derive(Default)]
struct Held {
    all: u64,
    by: HashMap<Client, u64>,
}

/// A row as it was opened.
struct Kept<'a> {
    component: &'a str,
    by: Client,
    key: &'a str,
    value: &'a [u8],
}

impl Shelves {
    /// Those of the components that are named, as they were kept.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(
        store: Store,
        allowed: impl IntoIterator<Item = (String, Allowance)>,
        client_of: ClientOf,
    ) -> Result<Self, hypervisor_store::Error> {
        let (store, wrote) = (Arc::new(store), Arc::new(Notify::new()));
        let shelf = |(name, allowance): (String, Allowance)| {
            let shelf = Shelf {
                store: Arc::clone(&store),
                name: name.clone(),
                allowance,
                client_of,
                held: Mutex::default(),
                wrote: Arc::clone(&wrote),
            };
            (name, Arc::new(shelf))
        };
        let shelves = Self {
            shelves: allowed.into_iter().map(shelf).collect(),
            store,
            wrote,
        };
        shelves.each(|shelf, row, _| {
            if let (Some(shelf), Some(kept)) = (shelf, row) {
                shelf.held().add(kept.by, kept.bytes());
            }
            false
        })?;
        Ok(shelves)
    }

    /// That of a component; none for one that was not named.
    pub fn of(&self, name: &str) -> Option<Arc<Shelf>> {
        self.shelves.get(name).cloned()
    }

    /// Brings to the disk what is written, and deletes what is too old, for as long as it is polled.
    pub async fn maintain(self: Arc<Self>) {
        let mut sweeping = tokio::time::interval(SWEEP);
        loop {
            let is_time = tokio::select! {
                () = self.wrote.notified() => {
                    tokio::time::sleep(PAUSE).await;
                    false
                }
                _ = sweeping.tick() => true,
            };
            let this = Arc::clone(&self);
            let work = move || match is_time {
                true => this.sweep(SystemTime::now()),
                false => this.flush(),
            };
            if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
                tracing::error!(%error, "what protocols keep cannot be written");
            }
        }
    }

    /// Returns when all that was written has reached the disk.
    ///
    /// # Errors
    /// What the store says.
    pub fn flush(&self) -> Result<(), hypervisor_store::Error> {
        self.store.commit(&[], true)
    }

    /// Deletes what was not written for too long, and what cannot be read.
    ///
    /// # Errors
    /// What the store says.
    pub fn sweep(&self, now: SystemTime) -> Result<(), hypervisor_store::Error> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // What a component left that is not there any more goes by the longest time that any has.
        let longest = self.shelves.values().map(|it| it.allowance.keep).max();
        let longest = longest.unwrap_or_default();
        self.each(|shelf, row, version| {
            let keep = shelf.map_or(longest, |shelf| shelf.allowance.keep);
            let written = Duration::from_micros(version);
            row.is_none() || now.saturating_sub(written) > keep
        })?;
        self.flush()
    }

    /// Shows each row to `is_over`, which says whether it is to go; a row that does not open is none.
    fn each(
        &self,
        mut is_over: impl FnMut(Option<&Shelf>, Option<&Kept<'_>>, u64) -> bool,
    ) -> Result<(), hypervisor_store::Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(ROWS, &[], after.as_deref(), PAGE)?;
            for scanned in &page {
                let opened = scanned.row.as_ref().ok();
                let row = opened.and_then(|row| Some((Kept::read(&row.value)?, row.version)));
                let shelf = row
                    .as_ref()
                    .and_then(|(kept, _)| self.shelves.get(kept.component));
                let version = row.as_ref().map_or(0, |(_, version)| *version);
                let kept = row.as_ref().map(|(kept, _)| kept);
                if !is_over(shelf.map(Arc::as_ref), kept, version) {
                    continue;
                }
                let expect = match version {
                    0 => Expect::Any,
                    version => Expect::Version(version),
                };
                let gone = Change {
                    expect,
                    ..Change::delete(ROWS, &scanned.key)
                };
                match self.store.commit(&[gone], false) {
                    Ok(()) => {
                        if let (Some(shelf), Some(kept)) = (shelf, kept) {
                            shelf.held().take(kept.by, kept.bytes());
                        }
                    }
                    // It was just written again.
                    Err(hypervisor_store::Error::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            after = match page.last() {
                Some(last) => Some(last.key.clone()),
                None => return Ok(()),
            };
        }
    }
}

impl Shelf {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bucket(&self, bucket: &str) -> [u8; 16] {
        self.blind(&[self.name.as_bytes(), bucket.as_bytes()])
    }

    fn key(&self, bucket: [u8; 16], key: &str) -> Result<[u8; 32], RowsError> {
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
        let Some(client) = (self.client_of)(chain) else {
            return NOBODY;
        };
        let [a, b, c, d, e, f, g, h, ..] = self.blind(&[b"client", client.as_bytes()]);
        [a, b, c, d, e, f, g, h]
    }

    /// 16 bytes of a keyed hash.
    fn blind(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut text = Vec::new();
        parts.iter().for_each(|part| prefixed(&mut text, part));
        let whole = self.store.blind(ROWS, &text);
        std::array::from_fn(|at| whole.get(at).copied().unwrap_or_default())
    }

    /// A row as it is now. One that does not open is none: whatever is written takes its place.
    fn now(&self, key: &[u8]) -> Result<Option<(Client, u64, Vec<u8>)>, RowsError> {
        let row = match self.store.get(ROWS, key) {
            Ok(row) => row,
            Err(hypervisor_store::Error::Authentication(_)) => None,
            Err(error) => return Err(failed(&error)),
        };
        let Some(row) = row else { return Ok(None) };
        let kept = Kept::read(&row.value);
        Ok(kept.map(|kept| (kept.by, kept.bytes(), kept.value.to_vec())))
    }

    /// Writes under the lock.
    fn change(
        &self,
        held: &mut Held,
        by: Client,
        rows: &BTreeMap<[u8; 32], (String, Value)>,
    ) -> Result<(), RowsError> {
        let mut after = Held::default();
        let mut before = Held::default();
        let mut values = Vec::with_capacity(rows.len());
        for (place, (key, value)) in rows {
            let now = self.now(place)?;
            if let Some((by, bytes, _)) = &now {
                before.add(*by, *bytes);
            }
            let by = now.map_or(by, |(by, ..)| by);
            let value = value.as_ref().map(|value| {
                let kept = Kept {
                    component: &self.name,
                    by,
                    key,
                    value,
                };
                after.add(by, kept.bytes());
                kept.write()
            });
            values.push((place, value));
        }
        held.fits(&before, &after, self.allowance.bytes)?;
        let changes: Vec<Change<'_>> = values
            .iter()
            .map(|(key, value)| Change {
                value: value.as_deref(),
                ..Change::delete(ROWS, key.as_slice())
            })
            .collect();
        self.store.commit(&changes, false).map_err(|e| failed(&e))?;
        before
            .by
            .iter()
            .for_each(|(by, bytes)| held.take(*by, *bytes));
        after
            .by
            .iter()
            .for_each(|(by, bytes)| held.add(*by, *bytes));
        self.wrote.notify_one();
        Ok(())
    }
}

impl Rows for Shelf {
    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Value>, RowsError> {
        if keys.len() > MAX_ROWS {
            return Err(too_many());
        }
        let bucket = self.bucket(bucket);
        let mut room = MAX_BYTES;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let now = self.now(&self.key(bucket, key)?)?;
            let value = now.map(|(_, _, value)| value);
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
        let page = self.store.scan(ROWS, &bucket, after.as_deref(), KEYS);
        let page = page.map_err(|e| failed(&e))?;
        let cursor = page.last().filter(|_| page.len() == KEYS).and_then(|last| {
            let place = last.key.get(16..24)?;
            Some(u64::from_be_bytes(place.try_into().ok()?))
        });
        let opened = page.iter().filter_map(|scanned| scanned.row.as_ref().ok());
        let keys = opened.filter_map(|row| Some(Kept::read(&row.value)?.key.to_owned()));
        Ok((keys.collect(), cursor))
    }

    fn write(
        &self,
        chain: &Chain,
        bucket: &str,
        rows: Vec<(String, Value)>,
    ) -> Result<(), RowsError> {
        if rows.is_empty() {
            return self.store.commit(&[], true).map_err(|e| failed(&e));
        }
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
            .map(|(key, value)| Ok((self.key(bucket, &key)?, (key, value))));
        let placed = placed.collect::<Result<_, RowsError>>()?;
        let by = self.client(chain);
        self.change(&mut self.held(), by, &placed)
    }

    fn increment(
        &self,
        chain: &Chain,
        bucket: &str,
        key: &str,
        delta: u64,
    ) -> Result<u64, RowsError> {
        let place = self.key(self.bucket(bucket), key)?;
        let by = self.client(chain);
        let mut held = self.held();
        let now = match self.now(&place)? {
            None => 0,
            Some((_, _, value)) => {
                let digits = str::from_utf8(&value).ok();
                let number = digits.and_then(|digits| digits.parse::<u64>().ok());
                number.ok_or_else(|| RowsError::new("the value is not a number"))?
            }
        };
        let sum = now.checked_add(delta);
        let sum = sum.ok_or_else(|| RowsError::new("the number would be too large"))?;
        let value = Some(sum.to_string().into_bytes());
        let rows = BTreeMap::from([(place, (key.to_owned(), value))]);
        self.change(&mut held, by, &rows)?;
        Ok(sum)
    }
}

impl Held {
    fn add(&mut self, by: Client, bytes: u64) {
        self.all = self.all.saturating_add(bytes);
        let own = self.by.entry(by).or_default();
        *own = own.saturating_add(bytes);
    }

    fn take(&mut self, by: Client, bytes: u64) {
        self.all = self.all.saturating_sub(bytes);
        if let Some(own) = self.by.get_mut(&by) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.by.remove(&by);
            }
        }
    }

    /// Whether what comes in the place of `before` fits. What makes less of it always does.
    fn fits(&self, before: &Self, after: &Self, most: u64) -> Result<(), RowsError> {
        let sum = |held: u64, before: u64, after: u64| {
            let sum = held.saturating_sub(before).saturating_add(after);
            (sum, after > before)
        };
        let (all, grows) = sum(self.all, before.all, after.all);
        if grows && all > most {
            return Err(RowsError::new("what this component may keep is used up"));
        }
        for (by, after) in after.by.iter().filter(|(by, _)| **by != NOBODY) {
            let of = |held: &Self| held.by.get(by).copied().unwrap_or_default();
            let (own, grows) = sum(of(self), of(before), *after);
            if grows && own > most / 4 {
                return Err(RowsError::new("what one client may have kept is used up"));
            }
        }
        Ok(())
    }
}

impl<'a> Kept<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (component, rest) = text(bytes)?;
        let (by, rest) = rest.split_first_chunk::<8>()?;
        let (key, value) = text(rest)?;
        Some(Self {
            component,
            by: *by,
            key,
            value,
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.value.len().saturating_add(128));
        prefixed(&mut bytes, self.component.as_bytes());
        bytes.extend(self.by);
        prefixed(&mut bytes, self.key.as_bytes());
        bytes.extend(self.value);
        bytes
    }

    fn bytes(&self) -> u64 {
        let length = self.key.len().saturating_add(self.value.len());
        u64::try_from(length)
            .unwrap_or(u64::MAX)
            .saturating_add(ROW_BYTES)
    }
}

fn prefixed(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(part);
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((str::from_utf8(text).ok()?, rest))
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
