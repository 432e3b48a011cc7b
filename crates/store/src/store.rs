//! The store: rows sealed on their way to a backend, and opened on their way back.

use std::path::Path;

use zeroize::Zeroizing;

use crate::backend::{Backend, Fingerprint, RawChange, RawRow, micros};
use crate::disk::Disk;
use crate::error::Error;
use crate::keys::{Held, Keys, Moment};
use crate::memory::{Asked, Memory};
use crate::seal::KeyId;

/// Rows that are read at once where many are looked at.
const PAGE: usize = 64;

/// How often a change that takes any version is tried when somebody else is faster.
const ATTEMPTS: usize = 16;

/// Which key seals a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The platform's sealing key. Where there is none, the rows end with the process. Rows under another key than the
    /// platform gives now are not seen, and stay as they are.
    Platform,
    /// The key file beside the store: the rows survive whatever the platform does, and whoever has the disk has them.
    File,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name; rows are bound to it.
    pub name: &'static str,
    /// What it is sealed under.
    pub under: Under,
}

impl Table {
    /// Its name in the backend, where it is sealed under the platform's key, or a fleet's, with this id in hexadecimal.
    pub fn place(&self, key: &str) -> String {
        format!("{}@{key}", self.name)
    }
}

/// A row.
#[derive(Clone)]
pub struct Row {
    /// Its version: another, and higher, with each change.
    pub version: u64,
    /// Its value, erased on drop.
    pub value: Zeroizing<Vec<u8>>,
}

/// A row with its key, or what is wrong with it.
pub struct Scanned {
    /// The key.
    pub key: Vec<u8>,
    /// The row.
    pub row: Result<Row, Error>,
}

/// What a change expects of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// It is not there.
    Absent,
    /// It has this version.
    Version(u64),
}

/// One change of one row.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// The row's table.
    pub table: Table,
    /// Its key.
    pub key: &'a [u8],
    /// What it becomes; none deletes it.
    pub value: Option<&'a [u8]>,
    /// What it has to be now.
    pub expect: Expect,
}

impl<'a> Change<'a> {
    /// Writes a row, whatever it was.
    pub fn put(table: Table, key: &'a [u8], value: &'a [u8]) -> Self {
        Self {
            value: Some(value),
            ..Self::delete(table, key)
        }
    }

    /// Deletes a row, whatever it was, if it is there.
    pub fn delete(table: Table, key: &'a [u8]) -> Self {
        Self {
            table,
            key,
            value: None,
            expect: Expect::Any,
        }
    }
}

/// What a store knew when it asked the backend.
struct Asking<'a> {
    seen: Option<Asked>,
    moment: Moment<'a>,
}

/// Sealed, versioned tables.
pub struct Store {
    backend: Box<dyn Backend>,
    keys: Keys,
    /// What is remembered of rows that others keep too.
    memory: Option<Memory>,
}

impl Store {
    /// The store in a file, which is made when it is not there. `tables` are the ones that are used: of those that end with
    /// the process, what an earlier one left is deleted.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Database`].
    pub fn open(path: &Path, keys: Keys, tables: &[Table]) -> Result<Self, Error> {
        Self::over(Box::new(Disk::open(path)?), keys, tables)
    }

    /// The same over a backend of the caller's.
    ///
    /// # Errors
    /// What the backend says.
    pub fn over(
        mut backend: Box<dyn Backend>,
        keys: Keys,
        tables: &[Table],
    ) -> Result<Self, Error> {
        for table in tables.iter().filter(|it| it.under == Under::Platform) {
            backend.clear(&passing(table))?;
        }
        let memory = backend.is_shared().then(Memory::new);
        Ok(Self {
            backend,
            keys,
            memory,
        })
    }

    /// Whether tables under the platform's key survive a restart.
    pub fn is_lasting(&self) -> bool {
        match &self.keys.0 {
            Held::Own { is_lasting, .. } => *is_lasting,
            Held::Shared(_) => true,
        }
    }

    /// The keys that it can open rows under, by their ids; none where others share none of it.
    pub fn key_ids(&self) -> Vec<KeyId> {
        match &self.keys.0 {
            Held::Own { .. } => Vec::new(),
            Held::Shared(ring) => ring.ids(),
        }
    }

    /// Whether what is written can reach the disk, as far as is known: false from a failure until something reached it again.
    pub fn is_well(&self) -> bool {
        self.backend.is_well()
    }

    /// Whether other hosts read and write the same rows.
    pub fn is_shared(&self) -> bool {
        self.backend.is_shared()
    }

    /// The time by the clock of whoever shares these rows: Unix time, microseconds.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn now(&self) -> Result<u64, Error> {
        self.backend.now()
    }

    /// What is another one after any row of a table changed, appeared or went.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn fingerprint(&self, table: Table) -> Result<Fingerprint, Error> {
        let found = self.backend.fingerprint(&self.place(table))?;
        let keys = match &self.keys.0 {
            Held::Own { .. } => 0,
            Held::Shared(ring) => ring.changes(),
        };
        Ok(Fingerprint { keys, ..found })
    }

    /// A keyed hash for a row's key, where what it is made of is nobody's business.
    pub fn blind(&self, table: Table, text: &[u8]) -> [u8; 32] {
        match &self.keys.0 {
            Held::Own { .. } => self.keys.now().sealer(table).blind(table.name, text),
            Held::Shared(ring) => ring.blind(table.name, text),
        }
    }

    /// One row.
    ///
    /// # Errors
    /// [`Error::Authentication`], [`Error::RolledBack`], [`Error::Database`].
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, Error> {
        let asked = self.asking();
        let found = self.backend.get(&self.place(table), key)?;
        found
            .map(|raw| self.opened(&asked, table, key, raw))
            .transpose()
    }

    /// Several rows, in the order in which they are asked for: one question, where the rows are in another process.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_all(&self, rows: &[(Table, &[u8])]) -> Result<Vec<Option<Row>>, Error> {
        let asked = self.asking();
        let places: Vec<_> = (rows.iter())
            .map(|(table, key)| (self.place(*table), *key))
            .collect();
        let found = self.backend.get_all(&places)?;
        let opened = |(raw, (table, key)): (Option<RawRow>, &(Table, &[u8]))| {
            raw.map(|raw| self.opened(&asked, *table, key, raw))
                .transpose()
        };
        found.into_iter().zip(rows).map(opened).collect()
    }

    /// Rows whose keys begin with `prefix` and come after `after`, in the order of their keys, `limit` at most. One that does
    /// not open is told in its place.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Scanned>, Error> {
        let place = self.place(table);
        let asked = self.asking();
        let opened = |(key, raw): (Vec<u8>, RawRow)| Scanned {
            row: self.opened(&asked, table, &key, raw),
            key,
        };
        let found = self.backend.scan(&place, prefix, after, limit)?;
        Ok(found.into_iter().map(opened).collect())
    }

    /// Looks at all rows whose keys begin with `prefix`, in the order of their keys, and ends with the first error: a page at a
    /// time, so that nobody waits for long, and rows may be changed meanwhile.
    ///
    /// # Errors
    /// [`Error::Database`], and what `look` says.
    pub fn each<E: From<Error>>(
        &self,
        table: Table,
        prefix: &[u8],
        mut look: impl FnMut(Scanned) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan(table, prefix, after.as_deref(), PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.key.clone());
            page.into_iter().try_for_each(&mut look)?;
        }
    }

    /// Makes all the changes or none. With `durable` they, and all before them, have reached the disk when this returns: also
    /// where there are no changes.
    ///
    /// # Errors
    /// [`Error::Conflict`] where a row is not what a change expects; [`Error::Database`].
    pub fn commit(&self, changes: &[Change<'_>], durable: bool) -> Result<(), Error> {
        self.write(changes, durable).map(drop)
    }

    /// The same. Gives the version that each changed row has from then on, in the order of the changes.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn write(&self, changes: &[Change<'_>], durable: bool) -> Result<Vec<u64>, Error> {
        let takes_any = |index: usize| {
            changes
                .get(index)
                .is_some_and(|it| it.expect == Expect::Any)
        };
        let mut floor = 0;
        for _ in 1..ATTEMPTS {
            let moment = self.keys.now();
            match self.attempt(changes, durable, floor, &moment) {
                Err(Error::Conflict(index)) if takes_any(index) => {}
                Err(Error::Behind(version)) => floor = version.saturating_add(1),
                Err(Error::Retired) if self.keys.go_on_from(&moment) => {}
                done => return done,
            }
        }
        self.attempt(changes, durable, floor, &self.keys.now())
    }

    fn attempt(
        &self,
        changes: &[Change<'_>],
        durable: bool,
        floor: u64,
        moment: &Moment<'_>,
    ) -> Result<Vec<u64>, Error> {
        // The clock keeps a row that was deleted and made again from having a version twice.
        let least = match &self.memory {
            Some(memory) if !changes.is_empty() => memory.version(|| self.backend.now())?,
            _ => micros(),
        };
        let mut raw = Vec::with_capacity(changes.len());
        let mut versions = Vec::with_capacity(changes.len());
        for change in changes {
            let table = self.place(change.table);
            let expected = match change.expect {
                Expect::Any => self.backend.get(&table, change.key)?.map(|row| row.version),
                Expect::Absent => None,
                Expect::Version(version) => Some(version),
            };
            let next = expected.map_or(0, |version| version.saturating_add(1));
            let version = next.max(least).max(floor);
            let sealer = moment.sealer(change.table);
            let seal = |value| sealer.seal((change.table.name, change.key, version), value);
            let sealed = change.value.map(seal).transpose()?;
            versions.push(version);
            raw.push(RawChange {
                table,
                key: change.key.to_owned(),
                expected,
                row: sealed.map(|sealed| RawRow { version, sealed }),
            });
        }
        let asked = self.asking();
        self.backend.commit(raw, durable)?;
        if let (Some(memory), Some(asked)) = (&self.memory, asked.seen) {
            let written = changes.iter().zip(versions.iter().copied());
            let written = written.filter(|(change, _)| change.value.is_some());
            let rows = written.map(|(it, version)| (it.table.name, it.key, version));
            memory.wrote(asked, self.backend.losses(), durable, rows);
        }
        Ok(versions)
    }

    fn asking(&self) -> Asking<'_> {
        let seen = self.memory.as_ref();
        Asking {
            seen: seen.map(|memory| memory.asking(self.backend.losses())),
            moment: self.keys.now(),
        }
    }

    fn opened(
        &self,
        asked: &Asking<'_>,
        table: Table,
        key: &[u8],
        raw: RawRow,
    ) -> Result<Row, Error> {
        let RawRow { version, sealed } = raw;
        // A key may have come since, or gone with what was under it.
        let now = self.keys.now();
        let sealer = match asked.moment.opener(table, &sealed) {
            Err(Error::UnknownKey(..)) => now.opener(table, &sealed)?,
            found => found?,
        };
        let value = sealer.open((table.name, key, version), sealed);
        let value = value.ok_or(Error::Authentication(table.name))?;
        if let (Some(memory), Some(asked)) = (&self.memory, asked.seen) {
            memory.read(asked, self.backend.losses(), table.name, key, version)?;
        }
        Ok(Row { version, value })
    }

    /// The table's name in the backend.
    fn place(&self, table: Table) -> String {
        match (&self.keys.0, table.under) {
            (_, Under::File) => table.name.to_owned(),
            (Held::Shared(ring), Under::Platform) => table.place(&const_hex::encode(ring.id())),
            (
                Held::Own {
                    platform,
                    is_lasting: true,
                    ..
                },
                Under::Platform,
            ) => table.place(&const_hex::encode(platform.id())),
            (Held::Own { .. }, Under::Platform) => passing(&table),
        }
    }
}

/// Where a table is that ends with the process.
fn passing(table: &Table) -> String {
    format!("{}@passing", table.name)
}
