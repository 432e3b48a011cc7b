//! What keeps rows once they are sealed.

use crate::error::Error;

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

/// A database of sealed rows. It sees no plaintext but tables' names, keys and versions.
pub trait Backend: Send + Sync {
    /// One row.
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error>;

    /// Rows whose keys begin with `prefix` and come after `after`, in the order of their keys, `limit` at most.
    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error>;

    /// Makes all the changes or none; [`Error::Conflict`] names the first row whose version is another. With `durable` they,
    /// and all before them, have reached the disk when this returns.
    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error>;

    /// Deletes a table with all its rows, and gives their room back.
    fn clear(&mut self, table: &str) -> Result<(), Error>;

    /// Whether what is written can reach the disk, as far as is known.
    fn is_well(&self) -> bool {
        true
    }
}
