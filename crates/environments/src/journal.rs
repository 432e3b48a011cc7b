//! Logs: rows that follow each other by their hashes, written together a few times a second.
//!
//! What was written less than [`PAUSE`] ago may be lost where the process is killed; rows are never written out of order. A log outlives its
//! environment, and loses its first rows where it grows beyond what is kept.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypervisor_protocol::HexArray;
use hypervisor_protocol::environment::LogRow;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::head::Id;
use crate::journal::shared::Gathered;
use crate::store::{Rows, Written};

mod shared;

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
    logs: Mutex<Logs>,
    /// Held while what waits is written, so that it is written in order.
    writing: Mutex<()>,
    /// What waits where other hosts write the same logs.
    gathered: Mutex<Gathered>,
    /// Told that something waits.
    waits: tokio::sync::Notify,
}

#[derive(Default)]
struct Logs {
    bounds: HashMap<Id, Bounds>,
    waiting: Vec<Written>,
    /// Those whose bounds are other than in the store.
    changed: HashSet<Id>,
    /// Uses that are later than in the store.
    used: HashMap<Id, u64>,
}

impl Journal {
    pub(crate) fn open(rows: Arc<Rows>, most: u64) -> Result<Self, Error> {
        // Where others write them too, each is looked at when it is needed.
        let (found, damaged) = match rows.is_shared() {
            true => (Vec::new(), 0),
            false => rows.logs()?,
        };
        if damaged > 0 {
            tracing::error!(damaged, "logs of environments cannot be read");
        }
        let logs = Logs {
            bounds: found.into_iter().collect(),
            ..Logs::default()
        };
        Ok(Self {
            rows,
            most: most.max(1),
            logs: Mutex::new(logs),
            writing: Mutex::new(()),
            gathered: Mutex::default(),
            waits: tokio::sync::Notify::new(),
        })
    }

    /// Whether the disk is too far behind for more.
    pub(crate) fn is_full(&self) -> bool {
        self.logs().waiting.len().max(self.gathered().len()) >= MOST_WAITING
    }

    /// Appends a row, which gets its sequence and the hash of the one before here.
    pub(crate) fn append(&self, id: &Id, owner: &str, row: LogRow) -> Result<(), Error> {
        if self.rows.is_shared() {
            self.gathered().append(id, owner, row);
            self.waits.notify_one();
            return Ok(());
        }
        let mut logs = self.logs();
        let Logs {
            bounds,
            waiting,
            changed,
            used,
        } = &mut *logs;
        let bounds = bounds.entry(*id).or_insert_with(|| Bounds::new(owner));
        let row = LogRow {
            sequence: bounds.next,
            previous: bounds.head,
            ..row
        };
        let (bytes, hash) = row.encode()?;
        waiting.push(Written::log(id, row.sequence, bytes));
        bounds.next = bounds.next.saturating_add(1);
        bounds.head = HexArray(hash);
        while bounds.next.saturating_sub(bounds.first) > self.most {
            waiting.push(Written::no_log(id, bounds.first));
            bounds.first = bounds.first.saturating_add(1);
        }
        used.insert(*id, row.at.div_euclid(1_000_000));
        changed.insert(*id);
        drop(logs);
        self.waits.notify_one();
        Ok(())
    }

    /// Notes that an environment ended: its log stays for a while.
    pub(crate) fn end(&self, id: &Id, now: u64) {
        if self.rows.is_shared() {
            self.gathered().end(id, now);
            self.waits.notify_one();
            return;
        }
        let mut logs = self.logs();
        logs.used.remove(id);
        if let Some(bounds) = logs.bounds.get_mut(id) {
            bounds.ended_at = Some(now);
            logs.changed.insert(*id);
            self.waits.notify_one();
        }
    }

    /// The log of an owner's environment.
    pub(crate) fn bounds(&self, id: &Id, owner: &str) -> Result<Option<Bounds>, Error> {
        let found = match self.rows.is_shared() {
            true => {
                self.flush()?;
                self.rows.log_bounds(id)?.map(|(bounds, _)| bounds)
            }
            false => self.logs().bounds.get(id).cloned(),
        };
        Ok(found.filter(|it| it.owner == owner))
    }

    /// Rows of a log, each as it was written. All of it is in the store afterwards.
    pub(crate) fn read(&self, id: &Id, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.flush()?;
        self.rows.log(id, from, limit)
    }

    /// Writes what waits.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.rows.is_shared() {
            return self.chain();
        }
        let (mut waiting, changed, used) = {
            let mut logs = self.logs();
            (
                std::mem::take(&mut logs.waiting),
                std::mem::take(&mut logs.changed),
                std::mem::take(&mut logs.used),
            )
        };
        if waiting.is_empty() && changed.is_empty() {
            return Ok(());
        }
        let rows = waiting.len();
        let written = self.with_bounds(&mut waiting, &changed, &used);
        let written = written.and_then(|()| self.rows.write(&waiting));
        if written.is_err() {
            waiting.truncate(rows);
            let mut logs = self.logs();
            waiting.append(&mut logs.waiting);
            logs.waiting = waiting;
            logs.changed.extend(changed);
            for (id, at) in used {
                logs.used.entry(id).or_insert(at);
            }
        }
        written
    }

    /// Adds the bounds of changed logs to what is written.
    fn with_bounds(
        &self,
        waiting: &mut Vec<Written>,
        changed: &HashSet<Id>,
        used: &HashMap<Id, u64>,
    ) -> Result<(), Error> {
        let logs = self.logs();
        for id in changed {
            waiting.push(Written::bounds(id, logs.bounds.get(id))?);
        }
        let alive = |id: &Id| (logs.bounds.get(id)).is_some_and(|it| it.ended_at.is_none());
        let uses = used.iter().filter(|(id, _)| alive(id));
        waiting.extend(uses.map(|(id, &at)| Written::used(id, at)));
        Ok(())
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

    /// Forgets logs whose environments ended before `before`, of each owner all but the `most` that ended last, and of all all but
    /// so many.
    pub(crate) fn forget(&self, before: u64, (most, in_all): (usize, usize)) -> Result<(), Error> {
        if self.rows.is_shared() && !self.gathered().is_due() {
            return Ok(());
        }
        let over: Vec<Id> = {
            let logs = self.all()?;
            let mut ended: HashMap<&str, Vec<(u64, Id)>> = HashMap::new();
            for (id, bounds) in &logs {
                if let Some(at) = bounds.ended_at {
                    ended.entry(&bounds.owner).or_default().push((at, *id));
                }
            }
            let (mut over, mut kept) = (Vec::new(), Vec::new());
            for mut of_owner in ended.into_values() {
                of_owner.sort_unstable_by(|a, b| b.cmp(a));
                let is_over =
                    |(place, (at, _)): &(usize, (u64, Id))| *place >= most || *at < before;
                let (gone, stay): (Vec<_>, Vec<_>) =
                    of_owner.into_iter().enumerate().partition(is_over);
                over.extend(gone.into_iter().map(|(_, (_, id))| id));
                kept.extend(stay.into_iter().map(|(_, of)| of));
            }
            kept.sort_unstable_by(|a, b| b.cmp(a));
            over.extend(kept.into_iter().skip(in_all).map(|(_, id)| id));
            over
        };
        if over.is_empty() {
            return Ok(());
        }
        // What waits of them is written first: later it would come back.
        self.flush()?;
        for id in &over {
            self.logs().bounds.remove(id);
            self.rows.remove_log(id)?;
        }
        Ok(())
    }

    /// Logs whose environments are not there although nothing says that they ended: a crash came between.
    pub(crate) fn orphans(&self, is_there: impl Fn(&Id) -> bool) -> Result<Vec<Id>, Error> {
        if self.rows.is_shared() {
            return self.without_environment();
        }
        let logs = self.logs();
        let open = logs.bounds.iter().filter(|(_, it)| it.ended_at.is_none());
        Ok(open.map(|(id, _)| *id).filter(|id| !is_there(id)).collect())
    }

    /// What is known of all logs.
    fn all(&self) -> Result<HashMap<Id, Bounds>, Error> {
        match self.rows.is_shared() {
            true => Ok(self.rows.logs()?.0.into_iter().collect()),
            false => Ok(self.logs().bounds.clone()),
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
