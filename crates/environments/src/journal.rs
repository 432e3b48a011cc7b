//! Logs: rows that follow each other by their hashes, written together a few times a second.
//!
//! What was written less than [`PAUSE`] ago may be lost where the process is killed; rows are never written out of order. A log outlives its
//! environment, and loses its first rows where it grows beyond what is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypervisor_protocol::HexArray;
use hypervisor_protocol::environment::LogRow;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::head::Id;
use crate::journal::chain::Gathered;
use crate::store::Rows;

mod chain;

/// Time in which rows gather.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// Rows that wait for the disk; beyond it nothing more is begun.
const MOST_WAITING: usize = 8192;

/// What is known of a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) owner: String,
    /// The first row that is kept.
    pub(crate) first: u64,
    /// The one that comes next.
    pub(crate) next: u64,
    /// The hash of the last one.
    pub(crate) head: HexArray<32>,
    /// When its environment ended: Unix time, seconds.
    pub(crate) ended_at: Option<u64>,
}

impl Bounds {
    /// Of a log without rows.
    fn new(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            first: 0,
            next: 0,
            head: HexArray([0; 32]),
            ended_at: None,
        }
    }
}

/// The logs of all environments.
pub(crate) struct Journal {
    rows: Arc<Rows>,
    /// Rows of one log that are kept.
    most: u64,
    /// Held while what waits is written, so that it is written in order.
    writing: Mutex<()>,
    gathered: Mutex<Gathered>,
    /// Told that something waits.
    waits: tokio::sync::Notify,
}

impl Journal {
    pub(crate) fn new(rows: Arc<Rows>, most: u64) -> Self {
        Self {
            rows,
            most: most.max(1),
            writing: Mutex::new(()),
            gathered: Mutex::default(),
            waits: tokio::sync::Notify::new(),
        }
    }

    /// Whether the disk is too far behind for more.
    pub(crate) fn is_full(&self) -> bool {
        self.gathered().len() >= MOST_WAITING
    }

    /// Appends a row, which gets its sequence and the hash of the one before when it is written.
    pub(crate) fn append(&self, id: &Id, owner: &str, row: LogRow) -> Result<(), Error> {
        let appended = self.gathered().append(id, owner, row);
        self.waits.notify_one();
        appended
    }

    /// Notes that an environment ended: its log stays for a while.
    pub(crate) fn end(&self, id: &Id, now: u64) {
        self.gathered().end(id, now);
        self.waits.notify_one();
    }

    /// The log of an owner's environment. All of it is in the store afterwards.
    pub(crate) fn bounds(&self, id: &Id, owner: &str) -> Result<Option<Bounds>, Error> {
        self.flush()?;
        let found = self.rows.log_bounds(id)?.map(|(bounds, _)| bounds);
        Ok(found.filter(|it| it.owner == owner))
    }

    /// Rows of a log, each as it was written.
    pub(crate) fn read(&self, id: &Id, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.rows.log(id, from, limit)
    }

    /// Writes what waits.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.chain()
    }

    /// Writes, a few times a second, for as long as it is polled.
    pub(crate) async fn write(self: &Arc<Self>) {
        loop {
            self.waits.notified().await;
            tokio::time::sleep(PAUSE).await;
            let journal = Arc::clone(self);
            let written = tokio::task::spawn_blocking(move || journal.flush()).await;
            if let Ok(Err(error)) = written {
                tracing::error!(%error, "the log of environments cannot be written");
                tokio::time::sleep(PAUSE.saturating_mul(10)).await;
                self.waits.notify_one();
            }
        }
    }

    /// Looks at all logs, now and then: ends those whose environments are not there although nothing says that they ended, because
    /// a crash came between; and forgets those whose environments ended before `before`, of each owner all but the `most` that
    /// ended last, and of all all but so many.
    pub(crate) fn tidy(
        &self,
        (now, before): (u64, u64),
        most: (usize, usize),
        is_here: impl Fn(&Id) -> bool,
    ) -> Result<(), Error> {
        if !self.gathered().is_due() {
            return Ok(());
        }
        // What waits of them is written first: later it would come back.
        self.flush()?;
        let (logs, damaged) = self.rows.logs()?;
        if damaged > 0 {
            tracing::error!(damaged, "logs of environments cannot be read");
        }
        for (id, bounds) in &logs {
            // Another host may have set it up a moment ago.
            if bounds.ended_at.is_none() && !is_here(id) && self.rows.one(id)?.is_none() {
                self.end(id, now);
            }
        }
        for id in over(&logs, before, most) {
            self.rows.remove_log(&id)?;
        }
        Ok(())
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The logs that are not kept any longer.
fn over(logs: &[(Id, Bounds)], before: u64, (most, in_all): (usize, usize)) -> Vec<Id> {
    let mut ended: HashMap<&str, Vec<(u64, Id)>> = HashMap::new();
    for (id, bounds) in logs {
        if let Some(at) = bounds.ended_at {
            ended.entry(&bounds.owner).or_default().push((at, *id));
        }
    }
    let (mut over, mut kept) = (Vec::new(), Vec::new());
    for mut of_owner in ended.into_values() {
        of_owner.sort_unstable_by(|a, b| b.cmp(a));
        let is_over = |(place, (at, _)): &(usize, (u64, Id))| *place >= most || *at < before;
        let (gone, stay): (Vec<_>, Vec<_>) = of_owner.into_iter().enumerate().partition(is_over);
        over.extend(gone.into_iter().map(|(_, (_, id))| id));
        kept.extend(stay.into_iter().map(|(_, of)| of));
    }
    kept.sort_unstable_by(|a, b| b.cmp(a));
    over.extend(kept.into_iter().skip(in_all).map(|(_, id)| id));
    over
}
