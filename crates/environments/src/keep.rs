//! What is kept of an environment: in the store, in memory and in the count, together.

use std::sync::Arc;

use hypervisor_protocol::Exit;
use hypervisor_protocol::environment::{LogKind, LogRow};
use hypervisor_runtime::{Language, State};

use crate::Environments;
use crate::error::{Error, moved, unknown};
use crate::head::Head;
use crate::live::{Entry, Place};
use crate::perform::waiting;

impl Environments {
    /// An environment as it is now, with its language and its state; none where it ended meanwhile.
    pub(crate) fn current(&self, entry: &Entry) -> Result<Option<(Head, Language, State)>, Error> {
        loop {
            let head = entry.head();
            let Some(language) = head.language() else {
                return Ok(None);
            };
            if let Some(state) = self.states.get(&head) {
                return Ok(Some((head, language, state)));
            }
            match waiting(|| self.rows.state(&head)) {
                Ok(state) => {
                    self.states.put(&head, &state);
                    // Its end may have come before this.
                    if entry.is_gone() {
                        self.states.remove(&head.id);
                    }
                    return Ok(Some((head, language, state)));
                }
                Err(Error::Missing) if entry.is_gone() => return Ok(None),
                Err(Error::Missing) if self.rows.is_shared() => {
                    waiting(|| self.refresh(&head.id))?;
                    if !entry.is_gone() && entry.head().writing == head.writing {
                        return Err(Error::Missing);
                    }
                }
                // A turn moved it on before all of it was read.
                Err(Error::Missing) if entry.head().writing != head.writing => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps a new environment in its place, where there is room for its state. Its head comes back with the digest of the state.
    pub(crate) fn keep_new(
        &self,
        place: Place,
        head: Head,
        state: &State,
    ) -> Result<Result<(Arc<Entry>, Head), Exit>, Error> {
        let change = (0, head.state_bytes);
        let accounts = head.accounts();
        if let Err(exit) = self.live.exchange(&accounts, change, &self.settings) {
            return Ok(Err(exit));
        }
        let head = match self.rows.put(head, state, None) {
            Ok(head) => head,
            Err(error) => {
                self.live.undo(&accounts, change);
                return Err(error);
            }
        };
        self.states.put(&head, state);
        let entry = self.live.insert(place, head.clone());
        self.changed.notify_one();
        Ok(Ok((entry, head)))
    }

    /// Moves an environment on, from the writing that the turn began with: what is known here may have moved on since, by a turn
    /// on another host.
    pub(crate) fn keep_next(
        &self,
        entry: &Entry,
        (began, state): (u64, &State),
    ) -> Result<Result<Head, Exit>, Error> {
        let mut head = entry.locked();
        if entry.is_gone() {
            return Ok(Err(unknown()));
        }
        if head.writing != began {
            return Ok(Err(moved()));
        }
        let next = Head {
            turns: head.turns.saturating_add(1),
            writing: head.writing.saturating_add(1),
            state_bytes: state.size(),
            used_at: self.clock.seconds(),
            ..head.clone()
        };
        let change = (head.state_bytes, next.state_bytes);
        let accounts = head.accounts();
        if let Err(exit) = self.live.exchange(&accounts, change, &self.settings) {
            return Ok(Err(exit));
        }
        match self.rows.put(next, state, Some(&head)) {
            Ok(next) => {
                self.states.put(&next, state);
                *head = next.clone();
                Ok(Ok(next))
            }
            Err(error) => {
                self.live.undo(&accounts, change);
                match error {
                    Error::Moved => Ok(Err(moved())),
                    error => Err(error),
                }
            }
        }
    }

    /// Puts an environment back to where it was before the turn of this writing, where no other came after it.
    pub(crate) fn go_back(
        &self,
        entry: &Entry,
        writing: u64,
        (before, state): &(Head, State),
    ) -> Result<(), Error> {
        let mut head = entry.locked();
        if entry.is_gone() || head.writing != writing {
            return Ok(());
        }
        let next = Head {
            turns: before.turns,
            writing: head.writing.saturating_add(1),
            state_bytes: before.state_bytes,
            ..head.clone()
        };
        let next = match self.rows.put(next, state, Some(&head)) {
            // Another came after it, on another host.
            Err(Error::Moved) => return Ok(()),
            next => next?,
        };
        let bytes = (next.state_bytes, head.state_bytes);
        self.live.undo(&head.accounts(), bytes);
        self.states.put(&next, state);
        *head = next;
        drop(head);
        let row = self.bare_row(LogKind::Undo);
        self.journal.append(&entry.id, &entry.owner, row)
    }

    /// Puts the first's terms in the place of the second's, where no others came after those.
    pub(crate) fn take_back(
        &self,
        entry: &Entry,
        [before, after]: &[Head; 2],
    ) -> Result<(), Error> {
        let mut head = entry.locked();
        let with = |terms: &Head| Head {
            name: terms.name.clone(),
            ends_at: terms.ends_at,
            idle_seconds: terms.idle_seconds,
            limits: terms.limits,
            outgoing: terms.outgoing.clone(),
            ..head.clone()
        };
        if entry.is_gone() || with(after) != *head {
            return Ok(());
        }
        let next = match self.rows.put_head(with(before), &head) {
            Err(Error::Moved) => return Ok(()),
            next => next?,
        };
        entry.times(&next);
        *head = next;
        drop(head);
        self.changed.notify_one();
        let row = self.bare_row(LogKind::Undo);
        self.journal.append(&entry.id, &entry.owner, row)
    }

    /// Takes an environment out of everything but its log. Whether it was there; where the store fails, it stays.
    pub(crate) fn end(&self, entry: &Arc<Entry>, row: LogRow) -> Result<bool, Error> {
        // Whoever changes it holds this, so that nothing is written after.
        let mut head = entry.locked();
        let is_first = self.live.remove(&entry.id).is_some();
        if !is_first && entry.is_ended() {
            return Ok(false);
        }
        while let Err(error) = self.rows.remove(&head) {
            let now = match error {
                Error::Moved => self.rows.one(&entry.id),
                error => Err(error),
            };
            match now {
                // Whoever else used it keeps it from ending by itself, and from nothing else.
                Ok(Some(now)) if row.kind != LogKind::Expire => {
                    (self.live).undo(&head.accounts(), (now.state_bytes, head.state_bytes));
                    *head = now;
                }
                Ok(Some(_)) => {
                    self.live.put_back(entry);
                    return Ok(false);
                }
                // Another host ended it.
                Ok(None) => {
                    self.ended(entry, &head);
                    return Ok(false);
                }
                Err(error) => {
                    self.live.put_back(entry);
                    return Err(error);
                }
            }
        }
        self.ended(entry, &head);
        drop(head);
        self.journal.append(&entry.id, &entry.owner, row)?;
        self.journal.end(&entry.id, self.clock.seconds());
        Ok(true)
    }

    /// Forgets what is here of an environment that is in no store any more.
    pub(crate) fn ended(&self, entry: &Entry, head: &Head) {
        entry.ended();
        self.states.remove(&entry.id);
        self.live.release(&head.accounts(), head.state_bytes);
    }
}
