//! What is done with an environment beside running code in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hypervisor_protocol::environment::{
    EnvironmentInfo, EnvironmentList, EnvironmentLog, LogKind, Page, encode,
};
use hypervisor_protocol::{Exit, HexBytes};
use hypervisor_runtime::Outcome;
use serde::Serialize;

use crate::Environments;
use crate::error::{Error, moved, unknown};
use crate::head::{Head, Id};
use crate::job::{Fixed, Watched};
use crate::live::{Place, Using};
use crate::perform::{Asked, Performed, Undo};

impl Environments {
    pub(crate) fn fork(
        self: &Arc<Self>,
        using: &Using,
        (place, network): (Place, Option<String>),
        terms: &Fixed,
        (asked, watched): (Asked, &Watched),
    ) -> Result<Performed, Error> {
        let refused = |exit| Ok(Performed::of(Outcome::not_run(exit)));
        let Some((of, _, state)) = self.current(&using.0)? else {
            return refused(unknown());
        };
        let now = self.clock.seconds();
        let head = Head {
            id: Id::random()?,
            name: terms.name.clone().unwrap_or_else(|| of.name.clone()),
            limits: self.terms(terms.limits, of.limits),
            outgoing: terms
                .outgoing
                .clone()
                .unwrap_or_else(|| of.outgoing.clone()),
            created_at: now,
            used_at: now,
            ends_at: now.saturating_add(self.lifetime(terms)),
            idle_seconds: terms.idle.unwrap_or(of.idle_seconds),
            writing: 0,
            network,
            ..of.clone()
        };
        let (done, stored) = (Outcome::not_run(Exit::Ok), head.stored_from(now));
        if let Some(exit) = watched.beyond(&done, 0, stored) {
            return refused(exit);
        }
        let (entry, head) = match self.keep_new(place, head, &state)? {
            Ok(kept) => kept,
            Err(exit) => return refused(exit),
        };
        let row = |kind| self.row(kind, asked, &done, 0);
        self.journal.append(&of.id, &of.owner, row(LogKind::Fork))?;
        self.journal
            .append(&head.id, &head.owner, row(LogKind::Setup))?;
        let copy = reported(&head.info(self.is_persistent()))?;
        Ok(Performed::of(copy).keeping(stored, Undo::of_new(self, entry)))
    }

    pub(crate) fn extend(
        self: &Arc<Self>,
        using: &Using,
        terms: &Fixed,
        (asked, watched): (Asked, &Watched),
    ) -> Result<Performed, Error> {
        let refused = |exit| Ok(Performed::of(Outcome::not_run(exit)));
        let mut head = using.0.locked();
        if using.0.is_gone() {
            return refused(unknown());
        }
        let now = self.clock.seconds();
        let mut next = Head {
            used_at: now,
            ends_at: now.saturating_add(self.lifetime(terms)),
            idle_seconds: terms.idle.unwrap_or(head.idle_seconds),
            limits: self.terms(terms.limits, head.limits),
            ..head.clone()
        };
        if let Some(name) = &terms.name {
            next.name.clone_from(name);
        }
        if let Some(outgoing) = &terms.outgoing {
            next.outgoing.clone_from(outgoing);
        }
        // What was paid for up to the old end is not paid for again.
        let (done, stored) = (Outcome::not_run(Exit::Ok), next.stored_from(head.ends_at));
        if let Some(exit) = watched.beyond(&done, 0, stored) {
            return refused(exit);
        }
        let next = match self.rows.put_head(next, &head) {
            Err(Error::Moved) => return refused(moved()),
            next => next?,
        };
        using.0.times(&next);
        using.0.used(now);
        let before = std::mem::replace(&mut *head, next.clone());
        drop(head);
        self.changed.notify_one();
        let row = self.row(LogKind::Extend, asked, &done, 0);
        self.journal.append(&next.id, &next.owner, row)?;
        let changed = reported(&next.info(self.is_persistent()))?;
        let undo = Undo::of_terms(self, &using.0, [before, next]);
        Ok(Performed::of(changed).keeping(stored, undo))
    }

    pub(crate) fn list(&self, owner: &str, page: &Page) -> Result<Outcome, Error> {
        self.follow()?;
        let heads = self.live.of_owner(owner, self.clock.seconds());
        let total = u64::try_from(heads.len()).unwrap_or(u64::MAX);
        let persistent = self.is_persistent();
        let (from, limit) = bounds_of(page);
        let infos = heads.iter().skip(from).take(limit);
        let environments: Vec<EnvironmentInfo> = infos.map(|head| head.info(persistent)).collect();
        reported(&EnvironmentList {
            environments,
            total,
        })
    }

    /// For the operator: each owner, how many environments it has, and bytes of their states.
    pub fn by_owner(&self) -> Vec<(String, u64, u64)> {
        let mut owners = BTreeMap::<String, (u64, u64)>::new();
        for entry in self.live.entries(None) {
            let (count, bytes) = owners.entry(entry.owner.clone()).or_default();
            *count = count.saturating_add(1);
            *bytes = bytes.saturating_add(entry.locked().state_bytes);
        }
        let listed = owners.into_iter();
        listed
            .map(|(owner, (count, bytes))| (owner, count, bytes))
            .collect()
    }

    /// For the operator: takes away all that an owner has; gives how many those were. Blocks.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn take_down(&self, owner: &str) -> Result<u64, Error> {
        let mut ended = 0_u64;
        for entry in self.live.entries(Some(owner)) {
            if self.end(&entry, self.bare_row(LogKind::Remove))? {
                ended = ended.saturating_add(1);
            }
        }
        Ok(ended)
    }

    pub(crate) fn log(&self, owner: &str, id: &Id, page: &Page) -> Result<Outcome, Error> {
        let Some(bounds) = self.journal.bounds(id, owner)? else {
            return Ok(Outcome::not_run(unknown()));
        };
        let (_, limit) = bounds_of(page);
        let rows = self.journal.read(id, page.from.max(bounds.first), limit)?;
        reported(&EnvironmentLog {
            rows: rows.into_iter().map(HexBytes).collect(),
            first: bounds.first,
            total: bounds.next,
            head: bounds.head,
        })
    }

    pub(crate) fn removed(&self, using: &Using, asked: Asked) -> Result<Outcome, Error> {
        let head = using.0.head();
        let done = Outcome::not_run(Exit::Ok);
        let row = self.row(LogKind::Remove, asked, &done, 0);
        if !self.end(&using.0, row)? {
            return Ok(Outcome::not_run(unknown()));
        }
        reported(&head.info(self.is_persistent()))
    }
}

/// The outcome of something that ran nothing.
fn reported<T: Serialize>(answer: &T) -> Result<Outcome, Error> {
    Ok(Outcome {
        stdout: encode(answer)?,
        ..Outcome::not_run(Exit::Ok)
    })
}

fn bounds_of(page: &Page) -> (usize, usize) {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    (size(page.from), size(page.limit.unwrap_or_default()))
}
