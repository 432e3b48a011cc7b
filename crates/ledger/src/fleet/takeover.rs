//! What a node works on, and what becomes of it when the node dies.

use hypervisor_store::Error as RowError;

use super::hold::Hold;
use super::seen::{Found, Work};
use super::write::With;
use super::{Member, Pauses, Step, Tag};
use crate::error::Error;
use crate::ledger::{Ledger, Working};
use crate::record::{self, Key, Record, State};
use crate::store::{HOLDERS, PAYMENTS, Store};
use crate::turn::{Place, Turn};

impl Ledger {
    /// What is known of a payment, and who works on it. No lock is held while the rows are read.
    pub(crate) fn look_shared(
        &self,
        member: &Member,
        key: &Key,
    ) -> Result<Option<(Record, Work)>, Error> {
        let here = || self.shared.busy().get(key).cloned();
        let before = here();
        let found = self.shared.store.find(key)?;
        let Some(busy) = before else {
            return Ok(found.map(|found| {
                let mut work = found.elsewhere(member.tag(), |tag| member.is_alive(tag));
                // It may have been begun since.
                if let Work::Gone(tag) = work
                    && tag == member.tag()
                    && let Some(busy) = here()
                {
                    work = busy.work();
                }
                (found.record, work)
            }));
        };
        let record = found.map(|it| it.record);
        let record = record.or_else(|| busy.set_aside().cloned());
        Ok(record.map(|record| (record, busy.work())))
    }

    /// Works on a payment that is known, where no other node does. What this host does not hold yet it holds from here on.
    pub(crate) fn resume_shared(
        &self,
        key: &Key,
        is_asked_about: bool,
    ) -> Result<Option<Turn>, Error> {
        let store = &self.shared.store;
        let Some(member) = &store.member else {
            return Ok(None);
        };
        let Some(working) = self.try_enter(key, (None, is_asked_about)) else {
            return Ok(None);
        };
        let Some(mut found) = store.find(key)? else {
            store.index().gone(key);
            return Ok(None);
        };
        let is_mine = found.note.holder == Some(member.tag());
        let is_owed = matches!(found.record.state, State::Settled { ran: false, .. });
        let may = match (is_asked_about, found.note.holder) {
            // What another node is to find out it is left to.
            (true, _) => is_mine,
            (false, None) => is_owed,
            (false, Some(_)) => is_owed && !found.note.is_running,
        };
        if !may {
            if !is_mine {
                store.index().dropped(key, &found.record);
            }
            return Ok(None);
        }
        let authorization = store.authorize(&mut found, key)?;
        let place = store.place(PAYMENTS, key);
        let at = store.place(store.authorizations, key);
        let mut hold = (found.hold(&place)).knows(store.authorizations, &at, authorization);
        if !is_asked_about {
            let with = With {
                is_running: true,
                ..With::default()
            };
            if store.step(key, &found.record, &mut hold, with)? != Step::Done {
                return Ok(None);
            }
        }
        let of = (found.record, hold);
        Ok(Some(Turn::of_node(
            working,
            of,
            Place::UNBOUND,
            !is_asked_about,
        )))
    }

    /// Takes over what a node held that died: what it had set aside is free again, and what it was settling, or in doubt about, this
    /// host asks about from here on. Several nodes may do so at once. How many payments came to this host or are free.
    ///
    /// # Errors
    /// [`Error`].
    pub fn take_over(&self, dead: Tag) -> Result<usize, Error> {
        let store = &self.shared.store;
        let (mut taken, mut unknown) = (0_usize, None);
        store.rows.each(HOLDERS, &dead, |duty| {
            let Some(place) = duty.key.get(dead.len()..) else {
                return Ok(());
            };
            let found = match store.find_at(place) {
                // The others are not to wait for one that was altered.
                Err(Error::Rows(
                    error @ (RowError::Authentication(_) | RowError::RolledBack(_)),
                )) => {
                    tracing::error!(%error, "a payment of a dead host stays as it is");
                    return Ok(());
                }
                // This host may have the key in a moment: the node is not done with until then.
                Err(Error::Rows(error @ RowError::UnknownKey(..))) => {
                    unknown = Some(error);
                    return Ok(());
                }
                found => found?,
            };
            if let Some(found) = found.filter(|it| it.note.holder == Some(dead)) {
                let key = record::key(&found.record.payment.id);
                taken = taken.saturating_add(usize::from(self.take(&key, found, dead)?));
            } else if let Ok(row) = duty.row {
                store.drop_row(HOLDERS, &duty.key, row.version)?;
            }
            Ok::<_, Error>(())
        })?;
        match unknown {
            Some(error) => Err(error.into()),
            None => Ok(taken),
        }
    }

    /// Takes over what all dead nodes held; see [`Self::take_over`].
    ///
    /// # Errors
    /// [`Error`].
    pub fn take_over_dead(&self) -> Result<usize, Error> {
        let store = &self.shared.store;
        let Some(member) = &store.member else {
            return Ok(0);
        };
        let (mut taken, mut after): (usize, Option<Vec<u8>>) = (0, None);
        loop {
            // From one tag to the next.
            let next = store.rows.scan(HOLDERS, b"", after.as_deref(), 1)?;
            let tag = next
                .first()
                .and_then(|it| it.key.first_chunk::<4>().copied());
            let Some(tag) = tag else {
                return Ok(taken);
            };
            if !member.is_alive(tag) {
                taken = taken.saturating_add(self.take_over(tag)?);
            }
            after = Some([tag.as_slice(), &[0xff; 33]].concat());
        }
    }

    /// Looks after what this host may have left behind itself.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let Some(member) = &self.shared.store.member else {
            return Ok(());
        };
        if !member.take_untidy() {
            return Ok(());
        }
        let tidied = self.take_over(member.tag());
        tidied.map(drop).inspect_err(|_| member.untidy())
    }

    /// Takes a payment over whose node does not work on it. Whether something was done.
    pub(crate) fn take_one(&self, key: &Key, tag: Tag) -> Result<bool, Error> {
        let found = self.shared.store.find(key)?;
        match found.filter(|it| it.note.holder == Some(tag)) {
            Some(found) => self.take(key, found, tag),
            None => Ok(true),
        }
    }

    fn take(&self, key: &Key, mut found: Found, from: Tag) -> Result<bool, Error> {
        let store = &self.shared.store;
        let Some(member) = &store.member else {
            return Ok(false);
        };
        let Some(working) = self.try_enter(key, (None, true)) else {
            return Ok(false);
        };
        let is_mine = from == member.tag();
        let place = store.place(PAYMENTS, key);
        let is_unfreed = is_mine && self.is_unfreed(&working, &found.record);
        if found.record.state == State::Reserved || is_unfreed {
            let mut hold = found.hold(&place);
            let step = store.erase(key, &found.record, &mut hold, is_unfreed)?;
            self.shared.unfreed().remove(key);
            return Ok(step == Step::Done);
        }
        let authorization = store.authorize(&mut found, key)?;
        let at = store.place(store.authorizations, key);
        let mut hold = (found.hold(&place)).knows(store.authorizations, &at, authorization);
        let is_in_doubt = matches!(found.record.state, State::Settling | State::Unknown);
        let is_settled = matches!(found.record.state, State::Settled { .. });
        if is_mine && (found.record.state == State::Unknown || is_settled && !found.note.is_running)
        {
            let is_watched = is_settled && store.bounds.watches && authorization.is_some();
            store.index().has(key, &found.record, is_watched);
            return Ok(false);
        }
        if is_in_doubt {
            found.record.state = State::Unknown;
            hold.note.is_taken |= !is_mine;
        }
        let step = store.step(key, &found.record, &mut hold, With::default())?;
        Ok(step == Step::Done)
    }

    /// Whether a payment is free, as its client was told, and only its row is there.
    fn is_unfreed(&self, working: &Working, record: &Record) -> bool {
        self.shared.unfreed().get(&working.key) == Some(&record.request)
            && matches!(record.state, State::Reserved | State::Settling)
    }
}

impl Store {
    /// Pauses of who waits for another node.
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses::new(
            self.member
                .as_ref()
                .map(Member::patience)
                .unwrap_or_default(),
        )
    }

    /// Writes that nobody runs what was paid for: another request may.
    pub(crate) fn stop(&self, key: &Key, record: &Record, hold: &mut Hold) -> Result<(), Error> {
        self.step(key, record, hold, With::default()).map(drop)
    }
}
