//! The rows of one component.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypervisor_runtime::{Chain, Rows, RowsError, Value};
use zeroize::Zeroizing;

use super::gathered::{Gathered, Place};
use super::kept::{Client, Held, Kept, NOBODY, prefixed};
use super::{Allowance, ClientOf, ROWS};

/// Keys that are listed together.
const KEYS: usize = 32;
/// Longest key, bytes.
const MAX_KEY: usize = 1024;
/// Largest value, bytes.
const MAX_VALUE: usize = 1 << 20;
/// Rows that are read or written together, and the bytes of all their values.
const MAX_ROWS: usize = 1024;
const MAX_BYTES: usize = 8 << 20;
/// How the names of buckets begin that are others for each client, as the account knows them.
const OF_CLIENTS: &str = "client:";

/// The rows of one component.
pub struct Shelf {
    rows: Arc<Gathered>,
    name: String,
    pub(super) allowance: Allowance,
    client_of: ClientOf,
    /// Held while it changes.
    held: Mutex<Held>,
}

impl Shelf {
    pub(super) fn new(
        rows: Arc<Gathered>,
        name: String,
        allowance: Allowance,
        client_of: ClientOf,
    ) -> Self {
        Self {
            rows,
            name,
            allowance,
            client_of,
            held: Mutex::default(),
        }
    }

    /// Counts a row that is there from before.
    pub(super) fn count(&self, kept: &Kept<'_>) {
        self.held().add(kept.by, kept.bytes());
    }

    /// Deletes a row of the store that nobody wrote since it had this version.
    pub(super) fn expire(&self, key: &[u8], version: u64) -> Result<(), hypervisor_store::Error> {
        let Ok(place) = Place::try_from(key) else {
            return Ok(());
        };
        let mut held = self.held();
        if self.rows.waiting(&place).is_some() {
            return Ok(());
        }
        let row = (self.rows.store().get(ROWS, key)?).filter(|row| row.version == version);
        if let Some(kept) = row.as_ref().and_then(|row| Kept::read(&row.value)) {
            held.take(kept.by, kept.bytes());
            self.rows.put(vec![(place, None)]);
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blinded(&self, bucket: &str) -> [u8; 16] {
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
        let whole = self.rows.store().blind(ROWS, &text);
        std::array::from_fn(|at| whole.get(at).copied().unwrap_or_default())
    }

    fn look<T>(
        &self,
        place: &Place,
        look: impl FnOnce(Option<Kept<'_>>) -> T,
    ) -> Result<T, RowsError> {
        self.rows.look(place, look).map_err(|error| failed(&error))
    }

    /// Writes all of these or none.
    fn change(
        &self,
        held: &mut Held,
        by: Client,
        rows: BTreeMap<Place, (String, Value)>,
    ) -> Result<(), RowsError> {
        let (mut before, mut after) = (Held::default(), Held::default());
        let mut entries = Vec::with_capacity(rows.len());
        for (place, (key, value)) in rows {
            let now = |kept: Option<Kept<'_>>| kept.map(|kept| (kept.by, kept.bytes()));
            let now = self.look(&place, now)?;
            if let Some((by, bytes)) = now {
                before.add(by, bytes);
            }
            let entry = value.map(|value| {
                let kept = Kept {
                    component: &self.name,
                    by: now.map_or(by, |(by, _)| by),
                    key: &key,
                    value: &value,
                };
                after.add(kept.by, kept.bytes());
                Zeroizing::new(kept.write())
            });
            entries.push((place, entry));
        }
        if after.all > before.all && self.rows.is_stuck() {
            return Err(RowsError::new("the host cannot write what is kept"));
        }
        held.fits(&before, &after, self.allowance.bytes)?;
        held.replace(&before, &after);
        self.rows.put(entries);
        Ok(())
    }
}

impl Rows for Shelf {
    fn bucket(&self, chain: &Chain, name: &Arc<str>) -> Arc<str> {
        match name.starts_with(OF_CLIENTS) {
            // No component names a bucket so: this would be another client's of that name.
            true => format!("{name}\0{:016x}", u64::from_be_bytes(self.client(chain))).into(),
            false => Arc::clone(name),
        }
    }

    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Value>, RowsError> {
        if keys.len() > MAX_ROWS {
            return Err(too_many());
        }
        let bucket = self.blinded(bucket);
        let mut room = MAX_BYTES;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let place = self.place(bucket, key)?;
            let value = |kept: Option<Kept<'_>>| kept.map(|kept| kept.value.to_vec());
            let value = self.look(&place, value)?;
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
        let bucket = self.blinded(bucket);
        // Those that begin like the last one were all given: there are no two but by chance.
        let after = after.map(|after| [&bucket[..], &after.to_be_bytes(), &[0xff; 8]].concat());
        let page = self.rows.page(&bucket, after.as_deref(), KEYS);
        let (keys, last) = page.map_err(|e| failed(&e))?;
        let place = last.and_then(|last| last.get(16..24)?.try_into().ok());
        Ok((keys, place.map(u64::from_be_bytes)))
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
        let bucket = self.blinded(bucket);
        let placed = rows
            .into_iter()
            .map(|(key, value)| Ok((self.place(bucket, &key)?, (key, value))));
        let placed = placed.collect::<Result<_, RowsError>>()?;
        let by = self.client(chain);
        self.change(&mut self.held(), by, placed)
    }

    fn increment(
        &self,
        chain: &Chain,
        bucket: &str,
        key: &str,
        delta: u64,
    ) -> Result<u64, RowsError> {
        let place = self.place(self.blinded(bucket), key)?;
        let by = self.client(chain);
        let mut held = self.held();
        let number = |kept: Option<Kept<'_>>| match kept {
            None => Some(0),
            Some(kept) => str::from_utf8(kept.value).ok()?.parse::<u64>().ok(),
        };
        let now = self.look(&place, number)?;
        let now = now.ok_or_else(|| RowsError::new("the value is not a number"))?;
        let sum = now.checked_add(delta);
        let sum = sum.ok_or_else(|| RowsError::new("the number would be too large"))?;
        let value = Some(sum.to_string().into_bytes());
        let rows = BTreeMap::from([(place, (key.to_owned(), value))]);
        self.change(&mut held, by, rows)?;
        Ok(sum)
    }

    fn is_behind(&self) -> bool {
        self.rows.is_behind()
    }

    fn sync(&self) -> Result<(), RowsError> {
        self.rows.flush().map_err(|error| failed(&error))
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
