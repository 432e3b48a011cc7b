//! The backend: one redb file.
//!
//! Writers share transactions: those that come while one reaches the disk wait, and the first of them then writes what all of
//! them brought, so that the disk is waited for once. A database that failed (a full disk, say) can no longer be used; it is opened
//! again by whoever uses it next, as it was when something last reached the disk.

use std::fmt::Display;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    TableError, TableHandle, WriteTransaction,
};

use crate::backend::{Backend, Head, RawChange, RawRow};
use crate::error::Error;
use crate::private::{private_file, private_folder};
use crate::seal::KeyId;

/// Bytes of the file that are kept in memory; a host has five such files. More makes no payment faster (docs/PERFORMANCE.md).
const CACHE: usize = 4 << 20;
/// Bytes from which on a file that is mostly free is worth making smaller.
const LARGE: u64 = 16 << 20;
/// The pause between two attempts to open a database that failed.
const PAUSE: Duration = Duration::from_secs(1);

type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
type ReadTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;
type Opener = Box<dyn Fn() -> Result<(Database, u64), Error> + Send + Sync>;

/// A file of sealed rows; one process at a time uses it.
pub struct Disk {
    path: PathBuf,
    /// Gives the length of the file too.
    opener: Opener,
    /// None: it failed, and could not be opened again yet.
    database: RwLock<Option<Database>>,
    /// It failed, and is to be opened again.
    is_broken: AtomicBool,
    /// It failed, and nothing reached the disk since.
    is_failing: AtomicBool,
    /// When it was last tried to open it again.
    tried: Mutex<Option<Instant>>,
    /// What waits to be written.
    queue: Mutex<Vec<Waiting>>,
    /// Held by who writes: whether something written has not reached the disk.
    writer: Mutex<bool>,
}

/// Changes of one caller.
struct Waiting {
    changes: Vec<RawChange>,
    durable: bool,
    answer: Sender<Result<(), Error>>,
}

impl Disk {
    /// Opens a file, or makes it; nobody else can read it, or enter its folder. One that is large and mostly free is made
    /// smaller.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Database`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        private_folder(path.parent().unwrap_or(Path::new(".")))?;
        let file = path.to_owned();
        Self::over(path, move || {
            FileBackend::new(private_file(&file)?).map_err(|e| failed(&file, e))
        })
    }

    /// The same over storage of the caller's, which is opened again where it failed; `path` is its name in errors.
    ///
    /// # Errors
    /// [`Error::Database`], and what `storage` says.
    pub fn over<S: StorageBackend>(
        path: &Path,
        storage: impl Fn() -> Result<S, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let name = path.to_owned();
        let opener = move || -> Result<(Database, u64), Error> {
            let storage = storage()?;
            let length = storage.len().map_err(|e| failed(&name, e))?;
            let mut builder = Database::builder();
            let opened = (builder.set_cache_size(CACHE)).create_with_backend(storage);
            Ok((opened.map_err(|e| failed(&name, e))?, length))
        };
        let (mut database, length) = opener()?;
        let is_free = length > LARGE && is_mostly_free(&database, length).unwrap_or(false);
        if is_free && database.compact().is_err() {
            // What there is is used as it is.
            drop(database);
            database = opener()?.0;
        }
        Ok(Self {
            path: path.to_owned(),
            opener: Box::new(opener),
            database: RwLock::new(Some(database)),
            is_broken: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            tried: Mutex::default(),
            queue: Mutex::default(),
            writer: Mutex::default(),
        })
    }

    fn failed(&self, error: impl Display) -> Error {
        failed(&self.path, error)
    }

    /// Uses the database, after opening it again where it failed.
    fn using<T>(&self, what: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Error> {
        if self.is_broken.load(Ordering::Acquire) {
            self.reopen()?;
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database.as_ref() else {
            return Err(self.failed("it failed, and is opened again in a moment"));
        };
        what(database).map_err(|error| {
            self.is_failing.store(true, Ordering::Release);
            self.is_broken.store(true, Ordering::Release);
            self.failed(error)
        })
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut database = (self.database.write()).unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been faster.
        if !self.is_broken.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut tried = lock(&self.tried);
        if tried.is_some_and(|it| it.elapsed() < PAUSE) {
            return Err(self.failed("it failed a moment ago, and is opened again soon"));
        }
        *tried = Some(Instant::now());
        // It has a lock on its file for as long as it is there.
        *database = None;
        *database = Some((self.opener)()?.0);
        self.is_broken.store(false, Ordering::Release);
        Ok(())
    }

    /// Writes what several callers brought, and tells each what came of it.
    fn write(&self, group: Vec<Waiting>, is_behind: &mut bool) {
        let durable = group.iter().any(|it| it.durable);
        if !*is_behind && self.is_well() && group.iter().all(|it| it.changes.is_empty()) {
            return answer(group, || Ok(()));
        }
        let written = self.using(|database| {
            let mut write = database.begin_write()?;
            write.set_durability(match durable {
                true => Durability::Immediate,
                false => Durability::None,
            })?;
            let made = group.iter().map(|it| make(&write, &it.changes));
            let conflicts = made.collect::<Result<Vec<_>, redb::Error>>()?;
            if conflicts.iter().any(Option::is_none) {
                write.commit()?;
            }
            Ok(conflicts)
        });
        match written {
            Ok(conflicts) => {
                if conflicts.iter().any(Option::is_none) {
                    *is_behind = !durable;
                    if durable {
                        self.is_failing.store(false, Ordering::Release);
                    }
                }
                let mut conflicts = conflicts.into_iter();
                answer(group, || match conflicts.next().flatten() {
                    Some(index) => Err(Error::Conflict(index)),
                    None => Ok(()),
                });
            }
            Err(error) => answer(group, || Err(self.failed(&error))),
        }
    }
}

impl Backend for Disk {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error> {
        self.using(|database| {
            let Some(table) = opened(database, table)? else {
                return Ok(None);
            };
            Ok(table.get(key)?.map(|bytes| row(bytes.value())))
        })
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error> {
        self.using(|database| {
            let mut rows = Vec::new();
            let Some(table) = opened(database, table)? else {
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
        })
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error> {
        let (answer, answered) = channel();
        lock(&self.queue).push(Waiting {
            changes,
            durable,
            answer,
        });
        let mut is_behind = lock(&self.writer);
        // Whoever wrote meanwhile took it along, or this caller writes for all that wait by now.
        if let Ok(done) = answered.try_recv() {
            return done;
        }
        let group = std::mem::take(&mut *lock(&self.queue));
        self.write(group, &mut is_behind);
        let done = answered.try_recv();
        done.unwrap_or_else(|_| Err(self.failed("whoever wrote this did not end it")))
    }

    fn heads(&self, after: (&str, &[u8]), limit: usize) -> Result<Vec<Head>, Error> {
        self.using(|database| {
            let read = database.begin_read()?;
            let mut names: Vec<String> =
                read.list_tables()?.map(|it| it.name().to_owned()).collect();
            names.sort();
            let mut heads = Vec::new();
            for name in names.into_iter().filter(|it| it.as_str() >= after.0) {
                let from = match name == after.0 {
                    true => Bound::Excluded(after.1),
                    false => Bound::Unbounded,
                };
                let table = read.open_table(Definition::new(&name))?;
                let left = limit.saturating_sub(heads.len());
                for entry in table.range::<&[u8]>((from, Bound::Unbounded))?.take(left) {
                    let (key, bytes) = entry?;
                    let RawRow {
                        version,
                        mut sealed,
                    } = row(bytes.value());
                    sealed.truncate(size_of::<KeyId>());
                    heads.push(Head {
                        table: name.clone(),
                        key: key.value().to_vec(),
                        version,
                        begins: sealed,
                    });
                }
            }
            Ok(heads)
        })
    }

    fn clear(&mut self, table: &str) -> Result<(), Error> {
        let database = self.database.get_mut();
        let Some(database) = database.unwrap_or_else(PoisonError::into_inner) else {
            return Err(failed(&self.path, "it failed"));
        };
        let delete = || -> Result<bool, redb::Error> {
            let write = database.begin_write()?;
            let was_there = write.delete_table(Definition::new(table))?;
            write.commit()?;
            Ok(was_there)
        };
        if delete().map_err(|e| failed(&self.path, e))? {
            let compacted = database.compact();
            compacted.map_err(|e| failed(&self.path, e))?;
        }
        Ok(())
    }

    fn is_well(&self) -> bool {
        !self.is_failing.load(Ordering::Acquire)
    }
}

fn failed(path: &Path, error: impl Display) -> Error {
    Error::Database(path.to_owned(), error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells all of a group what came of it.
fn answer(group: Vec<Waiting>, mut what: impl FnMut() -> Result<(), Error>) {
    for waiting in group {
        // It waits for the writer's place until then.
        let _ = waiting.answer.send(what());
    }
}

/// Makes all the changes of one caller, or none: the index of the first that expected another version.
fn make(write: &WriteTransaction, changes: &[RawChange]) -> Result<Option<usize>, redb::Error> {
    for (index, change) in changes.iter().enumerate() {
        let table = write.open_table(Definition::new(&change.table))?;
        let found = table.get(change.key.as_slice())?;
        if found.map(|it| row(it.value()).version) != change.expected {
            return Ok(Some(index));
        }
    }
    for change in changes {
        let mut table = write.open_table(Definition::new(&change.table))?;
        match &change.row {
            Some(row) => {
                let bytes = [&row.version.to_be_bytes(), row.sealed.as_slice()].concat();
                table.insert(change.key.as_slice(), bytes.as_slice())?;
            }
            None => drop(table.remove(change.key.as_slice())?),
        }
    }
    Ok(None)
}

/// Whether more than half of so many bytes are free.
fn is_mostly_free(database: &Database, length: u64) -> Result<bool, redb::Error> {
    let write = database.begin_write()?;
    let stats = write.stats()?;
    write.abort()?;
    let page = u64::try_from(stats.page_size()).unwrap_or(u64::MAX);
    Ok(stats.allocated_pages().saturating_mul(page) < length / 2)
}

/// A table; none where nothing was ever put into it.
fn opened(database: &Database, name: &str) -> Result<Option<ReadTable>, redb::Error> {
    match database.begin_read()?.open_table(Definition::new(name)) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
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
