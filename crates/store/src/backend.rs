//! What keeps rows once they are sealed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::seal::KeyId;

/// Rows that are read at once where a whole table is.
const PAGE: usize = 256;

/// A sealed row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawRow {
    /// Its version: higher with each change.
    pub version: u64,
    /// Its sealed value.
    pub sealed: Vec<u8>,
}

/// One change of one row.
#[derive(Clone, Debug)]
pub struct RawChange {
    /// The row's table.
    pub table: String,
    /// Its key.
    pub key: Vec<u8>,
    /// The version that it has now; none where it must not be there.
    pub expected: Option<u64>,
    /// What it becomes; none deletes it.
    pub row: Option<RawRow>,
}

/// What is seen of a row without its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its table, as the backend calls it.
    pub table: String,
    /// Its key.
    pub key: Vec<u8>,
    /// Its version.
    pub version: u64,
    /// What its value begins with, 8 bytes at most: where hosts share rows, which key it is under.
    pub begins: Vec<u8>,
}

/// A database of sealed rows. It sees no plaintext but tables' names, keys and versions.
pub trait Backend: Send + Sync {
    /// One row.
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error>;

    /// Several rows, each of a table and with a key, in the order in which they are asked for.
    fn get_all(&self, rows: &[(String, &[u8])]) -> Result<Vec<Option<RawRow>>, Error> {
        let rows = rows.iter();
        rows.map(|(table, key)| self.get(table, key)).collect()
    }

    /// Rows whose keys begin with `prefix` and come after `after`, in the order of their keys, `limit` at most.
    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error>;

    /// Makes all the changes or none; [`Error::Conflict`] names the first row whose version is another, and
    /// [`Error::Behind`] says how high the version of a new row has to be where the backend knows. With `durable` they,
    /// and all before them, have reached the disk when this returns.
    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error>;

    /// Heads of rows of all tables that come after this one, in the order of tables and keys, `limit` at most.
    ///
    /// # Errors
    /// Where they cannot be looked through.
    fn heads(&self, _after: (&str, &[u8]), _limit: usize) -> Result<Vec<Head>, Error> {
        let reason = "its rows cannot be looked through";
        Err(Error::Database("of rows".into(), reason.to_owned()))
    }

    /// Takes no change from here on whose value begins so: once this returns, none that came before is still being made, and what
    /// comes later is [`Error::Retired`]. It has reached the disk. One process alone has nobody to keep from writing.
    ///
    /// # Errors
    /// Where it cannot be said.
    fn retire(&self, _key: KeyId) -> Result<(), Error> {
        Ok(())
    }

    /// Deletes a table with all its rows, and gives their room back.
    fn clear(&mut self, table: &str) -> Result<(), Error>;

    /// Whether what is written can reach the disk, as far as is known.
    fn is_well(&self) -> bool {
        true
    }

    /// Whether other hosts read and write the same rows.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether there is any row of any table, where that is known.
    ///
    /// # Errors
    /// Where it cannot be asked.
    fn is_used(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// How often the connection to the database was lost: what was not durable may be gone since.
    fn losses(&self) -> u64 {
        0
    }

    /// The time by the database's clock, which is one for all who share it: Unix time, microseconds.
    ///
    /// # Errors
    /// Where it cannot be asked.
    fn now(&self) -> Result<u64, Error> {
        Ok(micros())
    }

    /// A number that is another one after any row of a table changed, appeared or went: how many rows there are, and the sum of
    /// their versions.
    ///
    /// # Errors
    /// Where it cannot be asked.
    fn fingerprint(&self, table: &str) -> Result<Fingerprint, Error> {
        let mut sum = Fingerprint::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan(table, b"", after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else {
                return Ok(sum);
            };
            after = Some(last.clone());
            for (_, row) in &page {
                sum.rows += 1;
                sum.versions += u128::from(row.version);
            }
        }
    }
}

/// What tells whether a table has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Rows.
    pub rows: u64,
    /// The sum of their versions.
    pub versions: u128,
    /// How often the keys changed here: rows that could not be read may be from then on.
    pub keys: u64,
}

/// Several stores over one database.
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error> {
        (**self).get(table, key)
    }

    fn get_all(&self, rows: &[(String, &[u8])]) -> Result<Vec<Option<RawRow>>, Error> {
        (**self).get_all(rows)
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error> {
        (**self).scan(table, prefix, after, limit)
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error> {
        (**self).commit(changes, durable)
    }

    fn heads(&self, after: (&str, &[u8]), limit: usize) -> Result<Vec<Head>, Error> {
        (**self).heads(after, limit)
    }

    fn retire(&self, key: KeyId) -> Result<(), Error> {
        (**self).retire(key)
    }

    fn clear(&mut self, table: &str) -> Result<(), Error> {
        match Arc::get_mut(self) {
            Some(backend) => backend.clear(table),
            None => Ok(()),
        }
    }

    fn is_well(&self) -> bool {
        (**self).is_well()
    }

    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }

    fn is_used(&self) -> Result<bool, Error> {
        (**self).is_used()
    }

    fn losses(&self) -> u64 {
        (**self).losses()
    }

    fn now(&self) -> Result<u64, Error> {
        (**self).now()
    }

    fn fingerprint(&self, table: &str) -> Result<Fingerprint, Error> {
        (**self).fingerprint(table)
    }
}

/// Unix time by this machine's clock, microseconds.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
}
