//! What other hosts do with environments, where hosts share the store: a row is read again before it is used, and changed only as it
//! was read.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use crate::Environments;
use crate::error::Error;
use crate::head::Id;

/// After its time is over an environment is left alone for as long as a run on another host may take, and this for its log to be written.
const LATE: Duration = Duration::from_secs(5);

impl Environments {
    /// Has an environment be here as it is in the store.
    pub(crate) fn refresh(&self, id: &Id) -> Result<(), Error> {
        let Some(entry) = self.live.get(id) else {
            if let Some(head) = self.rows.one(id)? {
                self.live.adopt(head);
                self.changed.notify_one();
            }
            return Ok(());
        };
        // Whoever changes it here waits for what is read now.
        let mut known = entry.locked();
        if entry.is_gone() {
            return Ok(());
        }
        match self.rows.one(id)? {
            Some(head) => {
                entry.times(&head);
                entry.used(head.used_at);
                if head.version != known.version {
                    let bytes = (head.state_bytes, known.state_bytes);
                    self.live.undo(&known.accounts(), bytes);
                    *known = head;
                }
            }
            None => {
                if self.live.remove(id).is_some() {
                    self.ended(&entry, &known);
                }
            }
        }
        Ok(())
    }

    /// The same of one of many: where its row cannot be used, that takes nothing from the others.
    pub(crate) fn refresh_one(&self, id: &Id) -> Result<(), Error> {
        match self.refresh(id) {
            Err(error) if error.is_damage() => {
                tracing::error!(environment = %id, %error, "an environment cannot be read");
                Ok(())
            }
            done => done,
        }
    }

    /// Has all of them be here as they are in the store, where other hosts use it; reads no more than a sum where nothing changed.
    pub(crate) fn follow(&self) -> Result<(), Error> {
        if !self.rows.is_shared() {
            return Ok(());
        }
        let now = self.rows.fingerprint()?;
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if *followed == now {
            return Ok(());
        }
        let (heads, damaged) = self.rows.heads()?;
        if damaged > 0 {
            tracing::error!(damaged, "rows of environments cannot be read");
        }
        let mut there = HashSet::new();
        for head in heads {
            there.insert(head.id);
            match self.live.get(&head.id) {
                None => self.live.adopt(head),
                Some(entry) if head.version != entry.head().version => {
                    self.refresh_one(&head.id)?;
                }
                Some(entry) => entry.used(head.used_at),
            }
        }
        for entry in self.live.entries(None) {
            if !there.contains(&entry.id) {
                self.refresh_one(&entry.id)?;
            }
        }
        *followed = now;
        Ok(())
    }

    /// How long an environment is left alone after its time is over: another host may be running it, and says so afterwards.
    pub(crate) fn late(&self) -> Duration {
        if !self.rows.is_shared() {
            return Duration::ZERO;
        }
        let longest = self.settings.most.wall_ms.unwrap_or_default();
        Duration::from_millis(longest).saturating_add(LATE)
    }
}
