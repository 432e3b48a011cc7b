//! The backend of [stores](hypervisor_store) that hosts share: PostgreSQL.
//!
//! Its callers wait; sqlx does not. It has a small runtime of its own, and a caller that stands on another one lets that one's
//! work go on meanwhile. Everything that is waited for has a bound.

mod address;
mod connections;
mod schema;
mod statements;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hypervisor_store::{Backend, Error, Fingerprint, Head, KeyId, RawChange, RawRow};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::time::{Instant, timeout};

use address::Address;
use connections::{Connections, WAIT};
use schema::{KNOWN, Refusal};
use statements::{
    Clear, Commit, Flush, Get, GetAll, Heads, NotMade, Now, Retire, Scan, Statement, Sum, Used,
};

/// Bytes of a sealed value at most: 64 MiB, and what sealing adds.
const VALUE: usize = (64 << 20) + 64;
/// Bytes of a row's key at most: an index holds it. Rows with a longer one are somebody else's, and whoever lists rows passes over them.
const KEY: usize = 1024;
/// Bytes of one commit at most; the database takes no message of a gibibyte.
const COMMIT: usize = 256 << 20;
/// Names that are looked up at once: each takes a thread for as long as its server is silent.
const LOOKUPS: usize = 4;
/// Beyond this something is wrong with the runtime itself.
const LONGEST: Duration = Duration::from_secs(120);

/// A PostgreSQL database with the rows of several hosts.
pub struct Postgres {
    name: PathBuf,
    connections: Arc<Connections>,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    /// How many commits were made that need not have reached the disk, and how many of them have.
    loose: AtomicU64,
    flushed: AtomicU64,
}

/// What a database says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Where it is, without user and password.
    pub name: String,
    /// The version of the server.
    pub server: String,
    /// The version of the schema; 0 where there is none yet.
    pub schema: i64,
    /// The version of the schema that this program knows.
    pub known: i64,
}

impl Postgres {
    /// Connects to `postgres://user:password@host:port/database`, and makes the tables that are not there. A URL may name
    /// several servers, `host:port,host:port`: the one that takes writes is used. What it says of TLS (`sslmode`,
    /// `sslrootcert`) and of passwords (`PGPASSFILE`) is as everywhere.
    ///
    /// # Errors
    /// [`Error::Database`], which names servers and database, and no password.
    pub fn open(url: &str) -> Result<Self, Error> {
        let postgres = Self::unconnected(url)?;
        let connections = Arc::clone(&postgres.connections);
        postgres.asked(async move {
            let by = Instant::now() + WAIT;
            let mut connection = connections.connect(by).await?;
            schema::bring_forward(&mut connection)
                .await
                .map_err(|refusal| match refusal {
                    Refusal::Newer(has) => newer(has),
                    Refusal::Failed(error) => connections::said(&error),
                })
        })?;
        Ok(postgres)
    }

    /// What the database of a URL is called: its servers and its name, without user and password.
    ///
    /// # Errors
    /// [`Error::Database`] where it is no URL of a database.
    pub fn named(url: &str) -> Result<String, Error> {
        let address = Address::parse(url).map_err(wrong)?;
        Ok(address.name)
    }

    /// What a database says of itself; nothing in it is changed.
    ///
    /// # Errors
    /// [`Error::Database`] where it cannot be asked, or its schema is a newer program's.
    pub fn inspect(url: &str) -> Result<Inspection, Error> {
        let postgres = Self::unconnected(url)?;
        let connections = Arc::clone(&postgres.connections);
        let (server, schema) = postgres.asked(async move {
            let by = Instant::now() + WAIT;
            let mut connection = connections.connect(by).await?;
            let asked = async {
                let server = sqlx::query_scalar("select current_setting('server_version')")
                    .fetch_one(&mut connection)
                    .await?;
                Ok((server, schema::version(&mut connection).await?))
            };
            let asked = statements::within(by, asked).await;
            asked.map_err(|error| connections::said(&error))
        })?;
        if schema > KNOWN {
            return Err(postgres.failed(newer(schema)));
        }
        Ok(Inspection {
            name: postgres.name.display().to_string(),
            server,
            schema,
            known: KNOWN,
        })
    }

    fn unconnected(url: &str) -> Result<Self, Error> {
        let address = Address::parse(url).map_err(wrong)?;
        let name = PathBuf::from(&address.name);
        let mut builder = Builder::new_multi_thread();
        let built = (builder.worker_threads(1).max_blocking_threads(LOOKUPS))
            .thread_name("postgres")
            .enable_all()
            .build();
        let runtime = built.map_err(|error| Error::Database(name.clone(), error.to_string()))?;
        Ok(Self {
            name,
            connections: Connections::new(address),
            runtime: Some(runtime),
            loose: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
        })
    }

    fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Database(self.name.clone(), reason.into())
    }

    /// Does `work` with the backend's own runtime, and waits for it. The caller's thread does it: to hand it over and to be woken
    /// takes as long as the database does.
    fn asked<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(runtime) = &self.runtime else {
            return Err(self.failed("it is closed"));
        };
        let standing_on = Handle::try_current().map(|it| it.runtime_flavor());
        let is_on_a_worker = matches!(standing_on, Ok(RuntimeFlavor::MultiThread));
        let done = if standing_on.is_ok() && !is_on_a_worker {
            // A runtime of one thread cannot give it away.
            let (answer, answered) = sync_channel(1);
            runtime.spawn(async move {
                // Whoever asked may have gone.
                let _ = answer.send(work.await);
            });
            answered.recv_timeout(LONGEST).ok()
        } else {
            let here = || runtime.block_on(async { timeout(LONGEST, work).await.ok() });
            match is_on_a_worker {
                true => tokio::task::block_in_place(here),
                false => here(),
            }
        };
        let done = done.ok_or_else(|| self.failed("whoever asked it did not end"))?;
        done.map_err(|reason| self.failed(reason))
    }

    fn ask<S: Statement>(&self, statement: S) -> Result<S::Answer, Error> {
        let connections = Arc::clone(&self.connections);
        self.asked(async move { connections.run(&statement).await })
    }

    /// The statement that makes these changes.
    fn statement(&self, changes: Vec<RawChange>, durable: bool) -> Result<Commit, Error> {
        let mut statement = Commit {
            durable,
            ..Commit::default()
        };
        let mut bytes = 0_usize;
        // Two callers that change the same rows take them in the same order.
        let mut changes: Vec<_> = changes.into_iter().enumerate().collect();
        changes.sort_by(|(_, a), (_, b)| (&a.table, &a.key).cmp(&(&b.table, &b.key)));
        let number = |version: Option<u64>| {
            let number = version.map(i64::try_from).transpose();
            number.map_err(|_| self.failed("a version is higher than it can hold"))
        };
        for (place, change) in changes {
            let length = change.row.as_ref().map_or(0, |row| row.sealed.len());
            bytes = bytes.saturating_add(length);
            if length > VALUE || bytes > COMMIT {
                return Err(self.failed(
                    "a value is longer than 64 MiB, or all of them together than 256 MiB",
                ));
            }
            if change.key.len() > KEY {
                return Err(self.failed("a row's key is longer than 1024 bytes"));
            }
            let (version, sealed) = change.row.map(|it| (it.version, it.sealed)).unzip();
            statement.tables.push(change.table);
            statement.keys.push(change.key);
            statement.expected.push(number(change.expected)?);
            statement.versions.push(number(version)?);
            statement.sealed.push(sealed);
            statement
                .places
                .push(i32::try_from(place).unwrap_or(i32::MAX));
        }
        Ok(statement)
    }

    /// Brings to the disk what was committed before.
    fn flush(&self) -> Result<(), Error> {
        let loose = self.loose.load(Ordering::Acquire);
        if self.flushed.load(Ordering::Acquire) >= loose && self.is_well() {
            return Ok(());
        }
        self.ask(Flush)?;
        self.flushed.fetch_max(loose, Ordering::AcqRel);
        Ok(())
    }
}

impl Backend for Postgres {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<RawRow>, Error> {
        self.ask(Get {
            table: table.to_owned(),
            key: key.to_owned(),
        })
    }

    fn get_all(&self, rows: &[(String, &[u8])]) -> Result<Vec<Option<RawRow>>, Error> {
        self.ask(GetAll {
            tables: rows.iter().map(|(table, _)| table.clone()).collect(),
            keys: rows.iter().map(|(_, key)| key.to_vec()).collect(),
        })
    }

    fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, RawRow)>, Error> {
        self.ask(Scan {
            table: table.to_owned(),
            prefix: prefix.to_owned(),
            after: after.map(<[u8]>::to_owned),
            limit,
        })
    }

    fn commit(&self, changes: Vec<RawChange>, durable: bool) -> Result<(), Error> {
        if changes.is_empty() {
            return match durable {
                true => self.flush(),
                false => Ok(()),
            };
        }
        let loose = self.loose.load(Ordering::Acquire);
        let made = self.ask(self.statement(changes, durable)?)?;
        made.map_err(|why| match why {
            NotMade::Conflict(place) => Error::Conflict(place),
            NotMade::Behind(version) => Error::Behind(version),
            NotMade::Retired => Error::Retired,
        })?;
        match durable {
            true => self.flushed.fetch_max(loose, Ordering::AcqRel),
            false => self.loose.fetch_add(1, Ordering::AcqRel),
        };
        Ok(())
    }

    fn heads(&self, (table, key): (&str, &[u8]), limit: usize) -> Result<Vec<Head>, Error> {
        self.ask(Heads {
            table: table.to_owned(),
            key: key.to_owned(),
            limit,
        })
    }

    fn retire(&self, key: KeyId) -> Result<(), Error> {
        self.ask(Retire(key))
    }

    fn clear(&mut self, table: &str) -> Result<(), Error> {
        self.ask(Clear(table.to_owned()))
    }

    fn is_well(&self) -> bool {
        self.connections.is_well()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_used(&self) -> Result<bool, Error> {
        self.ask(Used)
    }

    fn losses(&self) -> u64 {
        self.connections.losses()
    }

    fn now(&self) -> Result<u64, Error> {
        self.ask(Now)
    }

    fn fingerprint(&self, table: &str) -> Result<Fingerprint, Error> {
        self.ask(Sum(table.to_owned()))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped where nobody may wait.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Postgres");
        shown.field("name", &self.name).finish_non_exhaustive()
    }
}

fn wrong(reason: &str) -> Error {
    Error::Database("of this URL".into(), reason.to_owned())
}

fn newer(has: i64) -> String {
    format!(
        "its schema is version {has}, and this program knows {KNOWN} at most: start a newer one"
    )
}
