//! Logs that other hosts write too: rows get their place in the chain when they are written, in the order in which hosts come.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use hypervisor_protocol::HexArray;
use hypervisor_protocol::environment::LogRow;

use super::{Bounds, Journal};
use crate::error::Error;
use crate::head::Id;
use crate::store::Written;

/// How often a log is written anew when another host was faster.
const ATTEMPTS: usize = 16;
/// The pause between two looks at all logs.
const LOOK: Duration = Duration::from_secs(60);

/// What waits to be written.
#[derive(Default)]
pub(super) struct Gathered {
    logs: HashMap<Id, Waiting>,
    rows: usize,
    /// When all logs were last looked at, for those that have no environment and those that are over.
    looked: [Option<Instant>; 2],
}

/// What waits of one log.
#[derive(Default)]
struct Waiting {
    owner: String,
    rows: Vec<LogRow>,
    ended_at: Option<u64>,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn append(&mut self, id: &Id, owner: &str, row: LogRow) {
        let log = self.logs.entry(*id).or_default();
        owner.clone_into(&mut log.owner);
        log.rows.push(row);
        self.rows = self.rows.saturating_add(1);
    }

    pub(super) fn end(&mut self, id: &Id, at: u64) {
        self.logs.entry(*id).or_default().ended_at = Some(at);
    }

    /// Whether it is time to look for logs that are over.
    pub(super) fn is_due(&mut self) -> bool {
        let [over, _] = &mut self.looked;
        due(over)
    }

    /// What could not be written comes before what came since.
    fn give_back(&mut self, id: Id, mut log: Waiting) {
        self.rows = self.rows.saturating_add(log.rows.len());
        let since = self.logs.remove(&id).unwrap_or_default();
        log.rows.extend(since.rows);
        log.ended_at = since.ended_at.or(log.ended_at);
        self.logs.insert(id, log);
    }
}

fn due(looked: &mut Option<Instant>) -> bool {
    let is_due = looked.is_none_or(|at| at.elapsed() >= LOOK);
    if is_due {
        *looked = Some(Instant::now());
    }
    is_due
}

impl Journal {
    /// Writes what waits.
    pub(super) fn chain(&self) -> Result<(), Error> {
        let waiting = {
            let mut gathered = self.gathered();
            gathered.rows = 0;
            mem::take(&mut gathered.logs)
        };
        if waiting.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for (id, log) in waiting {
            if failed.is_none()
                && let Err(error) = self.append_all(&id, &log)
            {
                failed = Some(error);
            }
            // Once the database fails, nothing more is asked of it.
            if failed.is_some() {
                self.gathered().give_back(id, log);
            }
        }
        failed.map_or_else(|| self.rows.sync(), Err)
    }

    fn append_all(&self, id: &Id, log: &Waiting) -> Result<(), Error> {
        for _ in 1..ATTEMPTS {
            match self.try_append(id, log) {
                Err(Error::Moved) => {}
                done => return done,
            }
        }
        self.try_append(id, log)
    }

    fn try_append(&self, id: &Id, log: &Waiting) -> Result<(), Error> {
        let (mut bounds, version) = match self.rows.log_bounds(id)? {
            Some((bounds, version)) => (bounds, Some(version)),
            // It is forgotten already.
            None if log.rows.is_empty() => return Ok(()),
            None => (Bounds::new(&log.owner), None),
        };
        let mut written = Vec::with_capacity(log.rows.len().saturating_add(1));
        for row in &log.rows {
            let row = LogRow {
                sequence: bounds.next,
                previous: bounds.head,
                ..row.clone()
            };
            let (bytes, hash) = row.encode()?;
            written.push(Written::log(id, row.sequence, bytes));
            bounds.next = bounds.next.saturating_add(1);
            bounds.head = HexArray(hash);
        }
        while bounds.next.saturating_sub(bounds.first) > self.most {
            written.push(Written::no_log(id, bounds.first));
            bounds.first = bounds.first.saturating_add(1);
        }
        bounds.ended_at = log.ended_at.or(bounds.ended_at);
        let last = log.rows.last().map(|row| row.at.div_euclid(1_000_000));
        if let (Some(at), None) = (last, bounds.ended_at) {
            written.push(Written::used(id, at));
        }
        self.rows.write_log(&written, (id, &bounds), version)
    }

    /// Logs whose environments are not there although nothing says that they ended, now and then.
    pub(super) fn without_environment(&self) -> Result<Vec<Id>, Error> {
        {
            let mut gathered = self.gathered();
            let [_, orphans] = &mut gathered.looked;
            if !due(orphans) {
                return Ok(Vec::new());
            }
        }
        let mut found = Vec::new();
        for (id, bounds) in self.rows.logs()?.0 {
            if bounds.ended_at.is_none() && self.rows.one(&id)?.is_none() {
                found.push(id);
            }
        }
        Ok(found)
    }
}
