//! The backend: one redb file.

use std::fmt::Display;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use crate::backend::{Backend, RawChange, RawRow};
use crate::error::Error;
use crate::private::{private_file, private_folder};

/// Bytes of the file that are kept in memory.
const CACHE: usize = 16 << 20;

type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
type ReadTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A file of sealed rows; one process at a time uses it.
pub struct Disk {
    database: Database,
    path: PathBuf,
}

impl Disk {
    /// Opens a file, or makes it; nobody else can read it, or enter its folder.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Database`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        private_folder(path.parent().unwrap_or(Path::new(".")))?;
        let database = FileBackend::new(private_file(path)?)
            .and_then(|file| {
                let mut builder = Database::builder();
                builder.set_cache_size(CACHE).create_with_backend(file)
            })
            .map_err(|error| Error::Database(path.to_owned(), error.to_string()))?;
        let path = path.to_owned();
        Ok(Self { database, path })
    }

    fn failed(&self, error: impl Display) -> Error {
        Error::Database(self.path.clone(), error.to_string())
    }

    /// A table; none where nothing was ever put into it.
    fn table(&self, name: &str) -> Result<Option<ReadTable>, redb::Error> {
        match self
            .database
            .begin_read()?
            .open_table(Definition::new(name))
        {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn rows(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, redb::Error> {
        let mut rows = Vec::new();
        let Some(table) = self.table(table)? else {
            return Ok(rows);
        };
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = table.range::<&[u8]>((from, Bound::Unbounded))?;
        for entry in range.take(limit) {
            let (key, bytes) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            rows.push((key.value().to_vec(), row(bytes.value())));
        }
        Ok(rows)
    }

    /// Makes the changes; the index of the first that expected another version, and nothing is made then.
    fn change(
        &self,
        changes: &[RawChange<'_>],
        durable: bool,
    ) -> Result<Option<usize>, redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(if durable {
            Durability::Immediate
        } else {
            Durability::None
        })?;
        for (index, change) in changes.iter().enumerate() {
            let mut table = write.open_table(Definition::new(change.table))?;
            let version = table.get(change.key)?.map(|it| row(it.value()).version);
            if version != change.expected {
                return Ok(Some(index));
            }
            match &change.row {
                Some(row) => {
                    let bytes = [&row.version.to_be_bytes(), row.sealed.as_slice()].concat();
                    table.insert(change.key, bytes.as_slice())?;
                }
                None => drop(table.remove(change.key)?),
            }
        }
        write.commit()?;
        Ok(None)
    }
}

impl Backend for Disk {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error> {
        let Some(table) = self.table(table).map_err(|e| self.failed(e))? else {
            return Ok(None);
        };
        let found = table.get(key).map_err(|e| self.failed(e))?;
        Ok(found.map(|bytes| row(bytes.value())))
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error> {
        let rows = self.rows(table, prefix, after, limit);
        rows.map_err(|e| self.failed(e))
    }

    fn commit(&self, changes: &[RawChange<'_>], durable: bool) -> Result<(), Error> {
        let conflict = self.change(changes, durable).map_err(|e| self.failed(e))?;
        conflict.map_or(Ok(()), |index| Err(Error::Conflict(index)))
    }

    fn clear(&mut self, table: &str) -> Result<(), Error> {
        let delete = || -> Result<bool, redb::Error> {
            let write = self.database.begin_write()?;
            let was_there = write.delete_table(Definition::new(table))?;
            write.commit()?;
            Ok(was_there)
        };
        if delete().map_err(|e| self.failed(e))? {
            let compacted = self.database.compact();
            compacted.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }
}

/// One that is too short to have a version is given as one that does not open.
fn row(bytes: &[u8]) -> RawRow {
    let (version, sealed) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
    RawRow {
        version: u64::from_be_bytes(*version),
        sealed: sealed.to_vec(),
    }
}
