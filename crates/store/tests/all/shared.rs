//! Rows that several stores of one process share, as hosts share a database. Tests of other crates read this file too.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hypervisor_store::{
    Backend, Disk, Error, Head, Keys, RawChange, RawRow, SealingKey, Store, Table,
};
use zeroize::Zeroizing;

/// Rows in memory; a copy is another view of the same ones.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<Disk>,
    /// Nothing can be read or written.
    pub(crate) is_away: Arc<AtomicBool>,
    /// The clock of all, microseconds; 0 for the machine's.
    pub(crate) clock: Arc<AtomicU64>,
    /// Pages that were read.
    pub(crate) scans: Arc<AtomicUsize>,
    /// Commits; those that wait for the disk are the second.
    pub(crate) commits: Arc<[AtomicUsize; 2]>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let memory = || Ok(redb::backends::InMemoryBackend::new());
        Self {
            disk: Arc::new(Disk::over(Path::new("memory"), memory).unwrap()),
            is_away: Arc::default(),
            clock: Arc::default(),
            scans: Arc::default(),
            commits: Arc::default(),
        }
    }

    /// A store over them, under a key of 32 such bytes.
    pub(crate) fn store(&self, key: u8, tables: &[Table]) -> Store {
        let keys = Keys::shared(&SealingKey::new(Zeroizing::new([key; 32])));
        Store::over(Box::new(self.clone()), keys.unwrap(), tables).unwrap()
    }

    fn there(&self) -> Result<(), Error> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(Error::Seal("away")),
            false => Ok(()),
        }
    }
}

impl Backend for Shared {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error> {
        self.there()?;
        self.disk.get(table, key)
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error> {
        self.there()?;
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.disk.scan(table, prefix, after, limit)
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error> {
        self.there()?;
        self.commits[usize::from(durable)].fetch_add(1, Ordering::Relaxed);
        self.disk.commit(changes, durable)
    }

    fn heads(&self, after: (&str, &[u8]), limit: usize) -> Result<Vec<Head>, Error> {
        self.there()?;
        self.disk.heads(after, limit)
    }

    fn clear(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn now(&self) -> Result<u64, Error> {
        match self.clock.load(Ordering::Relaxed) {
            0 => self.disk.now(),
            now => Ok(now),
        }
    }
}
