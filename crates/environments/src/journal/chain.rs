//! Rows get their place in the chain when they are written: other hosts may write the same logs, and each comes in its turn.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use hypervisor_protocol::HexArray;
use hypervisor_protocol::environment::LogRow;

use super::{Bounds, Journal};
use crate::error::Error;
use crate::head::Id;
use crate::store::{LogChange, Written};

/// How often a log is written anew when another host was faster.
const ATTEMPTS: usize = 16;
/// The pause between two looks at all logs, and the shorter one after an environment ended.
const LOOK: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(1);

/// What waits to be written.
#[derive(Default)]
pub(super) struct Gathered {
    logs: HashMap<Id, Waiting>,
    rows: usize,
    /// When all logs were last looked at, for those that have no environment and those that are over.
    looked: Option<Instant>,
    /// An environment ended since.
    ended: bool,
}

/// What waits of one log.
#[derive(Default)]
struct Waiting {
    owner: String,
    rows: Vec<LogRow>,
    ended_at: Option<u64>,
    /// What is known of the log in the store cannot be used: nothing more is done that would have to be in it.
    is_stuck: bool,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn append(&mut self, id: &Id, owner: &str, row: LogRow) -> Result<(), Error> {
        let log = self.logs.entry(*id).or_default();
        if log.is_stuck {
            return Err(Error::Damaged("its log cannot be read"));
        }
        owner.clone_into(&mut log.owner);
        log.rows.push(row);
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    pub(super) fn end(&mut self, id: &Id, at: u64) {
        self.logs.entry(*id).or_default().ended_at = Some(at);
        self.ended = true;
    }

    /// Whether it is time to look at all logs.
    pub(super) fn is_due(&mut self) -> bool {
        let pause = if self.ended { SOON } else { LOOK };
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= pause);
        if is_due {
            self.looked = Some(Instant::now());
            self.ended = false;
        }
        is_due
    }

    fn take(&mut self) -> Vec<(Id, Waiting)> {
        self.rows = 0;
        mem::take(&mut self.logs).into_iter().collect()
    }

    /// What could not be written comes before what came since.
    fn give_back(&mut self, (id, mut log): (Id, Waiting)) {
        self.rows = self.rows.saturating_add(log.rows.len());
        let since = self.logs.remove(&id).unwrap_or_default();
        log.rows.extend(since.rows);
        log.ended_at = since.ended_at.or(log.ended_at);
        self.logs.insert(id, log);
    }
}

impl Journal {
    /// Writes what waits: all logs at once, and where another host was faster with one of them, fewer and fewer.
    pub(super) fn chain(&self) -> Result<(), Error> {
        let mut batches = vec![self.gathered().take()];
        let mut attempts = 0_usize;
        while let Some(mut batch) = batches.pop() {
            match self.write_batch(&mut batch) {
                Ok(()) => attempts = 0,
                Err(Error::Moved) if batch.len() > 1 => {
                    let rest = batch.split_off(batch.len() / 2);
                    batches.extend([rest, batch]);
                }
                Err(Error::Moved) if attempts < ATTEMPTS => {
                    attempts = attempts.saturating_add(1);
                    batches.push(batch);
                }
                // Once the store fails, nothing more is asked of it.
                Err(error) => {
                    batches.push(batch);
                    let mut gathered = self.gathered();
                    let left = batches.into_iter().flatten();
                    left.for_each(|log| gathered.give_back(log));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes logs in one commit. Those that cannot go on are taken out of `batch`, and wait: others lose nothing by them.
    fn write_batch(&self, batch: &mut Vec<(Id, Waiting)>) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(batch.len());
        let mut stuck = Vec::new();
        for (id, log) in batch.iter() {
            match self.change_of(id, log) {
                Ok(change) => changes.extend(change),
                Err(error) if error.is_damage() => {
                    if !log.is_stuck {
                        tracing::error!(environment = %id, %error, "the log of an environment cannot be continued");
                    }
                    stuck.push(*id);
                }
                Err(error) => return Err(error),
            }
        }
        let is_stuck = |(id, _): &mut (Id, Waiting)| stuck.contains(id);
        for (id, log) in batch.extract_if(.., is_stuck) {
            let log = Waiting {
                is_stuck: true,
                ..log
            };
            self.gathered().give_back((id, log));
        }
        match changes.is_empty() {
            true => Ok(()),
            false => self.rows.write_logs(&changes),
        }
    }

    /// What is to be written of a log, by what is known of it in the store; none where it is forgotten already.
    fn change_of(&self, id: &Id, log: &Waiting) -> Result<Option<LogChange>, Error> {
        let (mut bounds, version) = match self.rows.log_bounds(id)? {
            Some((bounds, version)) => (bounds, Some(version)),
            None if log.rows.is_empty() => return Ok(None),
            None => (Bounds::new(&log.owner), None),
        };
        let mut rows = Vec::with_capacity(log.rows.len().saturating_add(1));
        for row in &log.rows {
            let row = LogRow {
                sequence: bounds.next,
                previous: bounds.head,
                ..row.clone()
            };
            let (bytes, hash) = row.encode()?;
            rows.push(Written::log(id, row.sequence, bytes));
            bounds.next = bounds.next.saturating_add(1);
            bounds.head = HexArray(hash);
        }
        while bounds.next.saturating_sub(bounds.first) > self.most {
            rows.push(Written::no_log(id, bounds.first));
            bounds.first = bounds.first.saturating_add(1);
        }
        bounds.ended_at = log.ended_at.or(bounds.ended_at);
        let last = log.rows.last().map(|row| row.at.div_euclid(1_000_000));
        if let (Some(at), None) = (last, bounds.ended_at) {
            rows.push(Written::used(id, at));
        }
        Ok(Some(LogChange {
            bounds: Written::bounds(id, &bounds)?,
            version,
            rows,
        }))
    }
}
