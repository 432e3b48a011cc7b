//! A few connections to whichever server takes writes, and what becomes of callers when none answers.
//!
//! sqlx has a pool; it asks the server something each time that a connection comes back, and lets a caller that gave up wait for
//! a server that is stopped. Here what was given up is closed at once. While the database is away nobody waits for it but one
//! task, which asks twice a second and says when it is back.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::address::Address;
use crate::statements::{Flush, Statement, within};

/// How long an answer is waited for, where it is short.
pub(crate) const WAIT: Duration = Duration::from_secs(2);
/// The pause between two looks at a database that was away.
const PAUSE: Duration = Duration::from_millis(500);
/// Connections at most.
const CONNECTIONS: usize = 8;
/// Characters of a server's message that are told.
const MOST_WORDS: usize = 300;
/// How often a statement is tried that met another's.
const ATTEMPTS: usize = 5;

/// Connections to one database.
pub(crate) struct Connections {
    servers: Vec<PgConnectOptions>,
    /// Which of them took writes last.
    writer: AtomicUsize,
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
    is_away: AtomicBool,
    /// Why it is away, or was.
    reason: Mutex<String>,
    /// How often connections were lost.
    losses: AtomicU64,
}

/// What became of a statement that was not answered.
enum Failure {
    /// It met another's, and nothing was made of it.
    Met,
    /// It waited for another's too long.
    Busy(String),
    /// The connection is gone, and whether anything was made is not known.
    Lost(String),
    /// The database does not do what it should.
    Away(String),
}

impl Connections {
    pub(crate) fn new(address: Address) -> Arc<Self> {
        Arc::new(Self {
            servers: address.servers,
            writer: AtomicUsize::new(0),
            permits: Semaphore::new(CONNECTIONS),
            idle: Mutex::default(),
            is_away: AtomicBool::new(false),
            reason: Mutex::default(),
            losses: AtomicU64::new(0),
        })
    }

    pub(crate) fn is_well(&self) -> bool {
        !self.is_away.load(Ordering::Acquire)
    }

    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// What the database answers, or why it does not, within a bounded time.
    pub(crate) async fn run<S: Statement>(
        self: &Arc<Self>,
        statement: &S,
    ) -> Result<S::Answer, String> {
        let by = Instant::now() + WAIT;
        let mut again = false;
        for _ in 0..ATTEMPTS {
            match self.attempt(statement, by, again).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Met) => {}
                Err(Failure::Busy(reason)) => return Err(reason),
                // A server that was started again closed what was open: a new connection tells whether it is there.
                Err(Failure::Lost(_)) if !again && Instant::now() < by => {
                    self.lose();
                    again = true;
                }
                Err(Failure::Lost(reason) | Failure::Away(reason)) => {
                    self.leave(&reason);
                    return Err(reason);
                }
            }
        }
        Err("others changed the same rows all the time".to_owned())
    }

    async fn attempt<S: Statement>(
        &self,
        statement: &S,
        by: Instant,
        again: bool,
    ) -> Result<S::Answer, Failure> {
        self.check()?;
        let permit = tokio::time::timeout_at(by, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| {
            Failure::Busy(
                "all connections were in use for as long as an answer may take".to_owned(),
            )
        })?;
        self.check()?;
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect(by).await.map_err(Failure::Away)?,
        };
        let losses = self.losses();
        let answer = statement.ask(&mut connection, by, again).await;
        match answer {
            Ok(answer) => {
                self.keep(connection, losses);
                Ok(answer)
            }
            Err(error) => {
                let failure = failure(&error);
                if matches!(failure, Failure::Met | Failure::Busy(_)) {
                    self.keep(connection, losses);
                }
                Err(failure)
            }
        }
    }

    /// Whether there is a database to ask.
    fn check(&self) -> Result<(), Failure> {
        match self.is_well() {
            true => Ok(()),
            // Nothing more is to be done about it: it is away already.
            false => Err(Failure::Busy(lock(&self.reason).clone())),
        }
    }

    /// Keeps a connection for the next statement, unless others were lost since it was taken.
    fn keep(&self, connection: PgConnection, losses: u64) {
        let mut idle = lock(&self.idle);
        if losses == self.losses() && idle.len() < CONNECTIONS {
            idle.push(connection);
        }
    }

    /// Connects to the server that takes writes.
    pub(crate) async fn connect(&self, by: Instant) -> Result<PgConnection, String> {
        let first = self.writer.load(Ordering::Relaxed);
        let count = self.servers.len();
        let mut reason = "it has no server".to_owned();
        for tried in 0..count {
            let which = (first + tried) % count;
            let Some(server) = self.servers.get(which) else {
                continue;
            };
            // Each of those that are left has its share of the time that is left.
            let left = by.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - tried).unwrap_or(1);
            match open(server, Instant::now() + share).await {
                Ok(connection) => {
                    self.writer.store(which, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// Forgets all connections: what was not on the disk may be gone with them.
    fn lose(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
        lock(&self.idle).clear();
    }

    /// Takes the database for away until it does what it should again.
    fn leave(self: &Arc<Self>, reason: &str) {
        reason.clone_into(&mut lock(&self.reason));
        self.lose();
        if !self.is_away.swap(true, Ordering::AcqRel) {
            tokio::spawn(look_for(Arc::downgrade(self)));
        }
    }
}

/// Looks for a database that is away until it writes something to its disk.
async fn look_for(connections: Weak<Connections>) {
    loop {
        sleep(PAUSE).await;
        let Some(connections) = connections.upgrade() else {
            return;
        };
        let by = Instant::now() + WAIT;
        let losses = connections.losses();
        let found = async {
            let mut connection = connections.connect(by).await?;
            let flushed = Flush.ask(&mut connection, by, false).await;
            flushed.map_err(|error| said(&error))?;
            Ok::<_, String>(connection)
        };
        match found.await {
            Ok(connection) => {
                connections.keep(connection, losses);
                connections.is_away.store(false, Ordering::Release);
                return;
            }
            Err(reason) => *lock(&connections.reason) = reason,
        }
    }
}

async fn open(server: &PgConnectOptions, by: Instant) -> Result<PgConnection, String> {
    let opened = async {
        let mut connection = server.connect().await?;
        let reads_only: bool = sqlx::query_scalar(
            "select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean",
        )
        .fetch_one(&mut connection)
        .await?;
        Ok((connection, reads_only))
    };
    match within(by, opened).await {
        Ok((connection, false)) => Ok(connection),
        Ok((_, true)) => Err("it takes no writes: it is a standby, or set to be read".to_owned()),
        Err(error) => Err(said(&error)),
    }
}

fn failure(error: &sqlx::Error) -> Failure {
    let reason = said(error);
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Failure::Away(reason)
            }
            _ => Failure::Lost(reason),
        };
    };
    match database.code().as_deref() {
        // serialization_failure, deadlock_detected
        Some("40001" | "40P01") => Failure::Met,
        // lock_not_available, query_canceled
        Some("55P03" | "57014") => Failure::Busy(reason),
        // admin_shutdown, crash_shutdown
        Some("57P01" | "57P02") => Failure::Lost(reason),
        _ => Failure::Away(reason),
    }
}

/// What an error says: of what the database says, only the message, since details show keys.
pub(crate) fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => short(error.message()),
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            format!("it did not answer within {} s", WAIT.as_secs())
        }
        sqlx::Error::Io(error) => error.to_string(),
        other => short(&other.to_string()),
    }
}

/// The beginning of what a server says, on one line.
fn short(said: &str) -> String {
    let printed = said.chars().filter(|it| !it.is_control());
    printed.take(MOST_WORDS).collect()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
