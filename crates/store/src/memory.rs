//! What a host remembers of rows that others keep, so that an earlier row in a later one's place does not pass.
//!
//! A database that crashed comes back without what was not durable yet, which is nobody's lie. So after a connection was lost,
//! what was seen last is forgotten unless something durable came after it.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::error::Error;

/// Rows that are remembered, the ones that were used last.
const ROWS: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 16) - 1);
/// After so long what was committed has reached the disk of a database that is still there.
const SETTLED: Duration = Duration::from_secs(3);
/// How long the database's clock is reckoned with before it is asked again.
const CLOCK: Duration = Duration::from_secs(10);

/// Highest versions of rows, and the time by the database's clock.
pub(crate) struct Memory {
    hasher: RandomState,
    seen: Mutex<Seen>,
}

struct Seen {
    rows: LruCache<u64, Remembered>,
    /// Counts what is remembered.
    turn: u64,
    /// Up to this turn everything has reached the disk.
    settled: u64,
    /// How often the connection was lost, and when there was last an answer.
    losses: u64,
    contact: Instant,
    /// The highest version of any row.
    highest: u64,
    /// What the database's clock said, and when by this machine's.
    clock: Option<(u64, Instant)>,
}

struct Remembered {
    version: u64,
    turn: u64,
    at: Instant,
}

/// Where the memory was when something was asked: an answer says nothing of what came later.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    turn: u64,
    losses: u64,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            seen: Mutex::new(Seen {
                rows: LruCache::new(ROWS),
                turn: 0,
                settled: 0,
                losses: 0,
                contact: Instant::now(),
                highest: 0,
                clock: None,
            }),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called before the database is asked. `losses`: how often the connection was lost until now.
    pub(crate) fn asking(&self, losses: u64) -> Asked {
        let mut seen = self.seen();
        seen.after(losses);
        Asked {
            turn: seen.turn,
            losses,
        }
    }

    /// Whether a row that the database gave is not older than it was, and remembers it.
    pub(crate) fn read(
        &self,
        asked: Asked,
        losses: u64,
        table: &'static str,
        key: &[u8],
        version: u64,
    ) -> Result<(), Error> {
        let hash = self.hasher.hash_one((table, key));
        let mut seen = self.seen();
        seen.after(losses);
        let known = seen.rows.peek(&hash);
        if known.is_some_and(|it| it.turn <= asked.turn && version < it.version) {
            return Err(Error::RolledBack(table));
        }
        if losses == asked.losses {
            seen.remember(hash, version);
        }
        Ok(())
    }

    /// Remembers rows that this host wrote.
    pub(crate) fn wrote<'a>(
        &self,
        asked: Asked,
        losses: u64,
        durable: bool,
        rows: impl Iterator<Item = (&'static str, &'a [u8], u64)>,
    ) {
        let mut seen = self.seen();
        seen.after(losses);
        if losses != asked.losses && !durable {
            return;
        }
        let before = seen.turn;
        for (table, key, version) in rows {
            let hash = self.hasher.hash_one((table, key));
            seen.remember(hash, version);
        }
        if durable {
            // What others' reads remembered meanwhile may have come later.
            let own = match before == asked.turn {
                true => seen.turn,
                false => asked.turn,
            };
            seen.settled = seen.settled.max(own);
        }
    }

    /// The version that a row of now has at least. `ask`: asks the database's clock.
    pub(crate) fn version(&self, ask: impl FnOnce() -> Result<u64, Error>) -> Result<u64, Error> {
        let reckoned = |(said, at): (u64, Instant)| {
            let since = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
            said.saturating_add(since)
        };
        let known = self.seen().clock;
        let now = match known {
            Some(known) if known.1.elapsed() < CLOCK => reckoned(known),
            known => match (ask(), known) {
                (Ok(said), _) => {
                    self.seen().clock = Some((said, Instant::now()));
                    said
                }
                (Err(_), Some(known)) => reckoned(known),
                (Err(error), None) => return Err(error),
            },
        };
        Ok(now.max(self.seen().highest.saturating_add(1)))
    }
}

impl Seen {
    fn remember(&mut self, hash: u64, version: u64) {
        self.contact = Instant::now();
        self.highest = self.highest.max(version);
        if self.rows.get(&hash).is_some_and(|it| it.version >= version) {
            return;
        }
        self.turn += 1;
        let (turn, at) = (self.turn, self.contact);
        self.rows.put(hash, Remembered { version, turn, at });
    }

    /// Forgets what a database that crashed since need not have kept.
    fn after(&mut self, losses: u64) {
        if losses == self.losses {
            return;
        }
        self.losses = losses;
        let is_loose = |it: &Remembered| it.turn > self.settled && it.at + SETTLED > self.contact;
        let loose = self.rows.iter().filter(|(_, it)| is_loose(it));
        for hash in loose.map(|(hash, _)| *hash).collect::<Vec<_>>() {
            self.rows.pop(&hash);
        }
    }
}
