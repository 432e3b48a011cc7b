//! The steps of a payment over rows that hosts share.

use std::time::{Duration, Instant};

use hypervisor_store::{Change, Error as RowError, Expect, Table};

use super::purse::{FREE, USED};
use super::seen::Named;
use super::{Hold, Note, Slot, Step, holder};
use crate::error::Error;
use crate::record::{Answer, Key, Record, State};
use crate::store::{
    HOLDERS, Kept, NAMES, PAYMENTS, PLAIN_ANSWERS, PURSES, SEALED_ANSWERS, Store, TRANSACTIONS,
    encode,
};

/// How often a step is tried beside whose payment something else changed.
const ATTEMPTS: usize = 4;
/// A write that took longer may have been overtaken before its turn went on.
const LONG: Duration = Duration::from_secs(1);

/// What is written with a step.
#[derive(Clone, Copy, Default)]
pub(crate) struct With<'a> {
    /// The answer, as it is kept.
    pub(crate) answer: Option<&'a [u8]>,
    /// The transaction that settled it, which is to have settled no other.
    pub(crate) transaction: Option<&'a str>,
    /// What was paid for is run by this node.
    pub(crate) is_running: bool,
    /// Waits for the disk.
    pub(crate) sync: bool,
}

impl Store {
    /// Sets a payment aside. None where it is known, or its name, or where its payer's place was taken meanwhile.
    pub(crate) fn set_aside(
        &self,
        key: &Key,
        record: &Record,
        slot: Option<Slot>,
    ) -> Result<Option<Hold>, Error> {
        let Some(member) = &self.member else {
            return Ok(None);
        };
        let names: Vec<Key> = record.names().map(|it| self.place(NAMES, &it)).collect();
        let note = Note {
            holder: Some(member.tag()),
            slot: slot.map(|it| it.number),
            names: names.clone(),
            ..Note::default()
        };
        let place = self.place(PAYMENTS, key);
        let row = self.row(record, (None, &note))?;
        let duty = holder(member.tag(), &place);
        let named = Named::encode(key, record.created);
        let purse = slot.map(|it| self.purse(&record.payment.id, it.number));
        let absent = |table: Table, key, value| Change {
            expect: Expect::Absent,
            ..Change::put(table, key, value)
        };
        let mut changes = vec![absent(PAYMENTS, &place, &row), absent(HOLDERS, &duty, b"")];
        if let (Some(slot), Some(purse)) = (slot, &purse) {
            changes.push(Change {
                expect: slot.expect,
                ..Change::put(PURSES, purse, USED)
            });
        }
        let first_name = changes.len();
        changes.extend(names.iter().map(|name| absent(NAMES, name, &named)));
        let mut hold = Hold::new(note, None);
        for table in [self.authorizations, SEALED_ANSWERS, PLAIN_ANSWERS] {
            hold = hold.knows(table, &self.place(table, key), None);
        }
        match self.make(&mut hold, &changes, false)? {
            None => Ok(Some(hold)),
            Some(index) => {
                let name = index.checked_sub(first_name).and_then(|it| names.get(it));
                if let Some(name) = name {
                    self.drop_stale(name)?;
                }
                Ok(None)
            }
        }
    }

    /// Forgets a name whose payment is not there: nothing leaves one, and one that was left would be taken for ever.
    fn drop_stale(&self, name: &Key) -> Result<(), Error> {
        match self.named_row(name)? {
            Some(named) if self.find(&named.key)?.is_none() => {
                self.drop_row(NAMES, name, named.version)
            }
            _ => Ok(()),
        }
    }

    /// Deletes a row that is still as it was.
    pub(crate) fn drop_row(&self, table: Table, key: &[u8], version: u64) -> Result<(), Error> {
        let change = Change {
            expect: Expect::Version(version),
            ..Change::delete(table, key)
        };
        match self.rows.commit(&[change], false) {
            Ok(()) | Err(RowError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes that a payment is being settled, and waits for the disk.
    pub(crate) fn submit(
        &self,
        key: &Key,
        record: &Record,
        hold: &mut Hold,
        answer: Option<&Answer>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let kept = self.hold_answer(key, record, hold, answer)?;
        let with = With {
            answer: kept.as_deref(),
            sync: true,
            ..With::default()
        };
        self.step(key, record, hold, with)?.held()?;
        // A host that was stopped while it waited goes on with what it asked for before.
        if began.elapsed() > LONG && !self.is_held(key, hold)? {
            hold.is_over = true;
        }
        match hold.is_over {
            true => Err(Error::TurnLost),
            false => Ok(()),
        }
    }

    /// Takes the room of an answer, and gives its form.
    pub(crate) fn hold_answer(
        &self,
        key: &Key,
        record: &Record,
        hold: &mut Hold,
        answer: Option<&Answer>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(answer) = answer else {
            return Ok(None);
        };
        let kept = self.admitted(key, record, answer)?;
        hold.held = self.index().held(key);
        Ok(kept)
    }

    fn row(
        &self,
        record: &Record,
        (held, note): (Option<crate::store::Held>, &Note),
    ) -> Result<Vec<u8>, Error> {
        let mut kept = Kept {
            record: record.clone(),
            held,
            note: Some(note.clone()),
        };
        kept.record.payment.state.clear();
        encode(&kept)
    }

    /// Writes how far a payment has come, in one commit with all that belongs to it.
    pub(crate) fn step(
        &self,
        key: &Key,
        record: &Record,
        hold: &mut Hold,
        with: With<'_>,
    ) -> Result<Step, Error> {
        let Some(member) = &self.member else {
            return Ok(Step::Lost);
        };
        if !self.ascertain(key, record, hold)? {
            return Ok(Step::Lost);
        }
        let is_settled = matches!(record.state, State::Settled { .. });
        let authorization = record.payment.state.as_slice();
        let is_watched = is_settled && self.bounds.watches && !authorization.is_empty();
        let mut transaction = with.transaction.map(|it| self.transaction(record, it));
        for _ in 0..ATTEMPTS {
            let is_running = is_settled && with.is_running;
            let is_duty = !is_settled || is_running || is_watched;
            let mut note = Note {
                holder: is_duty.then_some(member.tag()),
                is_running,
                is_taken: hold.note.is_taken && !is_settled,
                ..hold.note.clone()
            };
            if is_settled || record.state == State::Unknown {
                note.slot = None;
            }
            let bought = self.bought(key, record, hold)?;
            if let Some((name, ..)) = bought
                && !note.names.contains(&name)
            {
                note.names.push(name);
            }
            let place = self.place(PAYMENTS, key);
            let row = self.row(record, (hold.held, &note))?;
            let held_at = self.place(self.authorizations, key);
            let [before, after] =
                [hold.note.holder, note.holder].map(|it| Some(holder(it?, &place)));
            let freed = hold.note.slot.filter(|_| note.slot.is_none());
            let purse = freed.map(|it| self.purse(&record.payment.id, it));
            let answer = hold
                .held
                .map(|it| (it.table(), self.place(it.table(), key)));
            let mut changes = Vec::new();
            changes.extend(hold.change(PAYMENTS, &place, Some(&row)));
            let kept = (!is_settled || is_watched).then_some(authorization);
            changes.extend(hold.change(self.authorizations, &held_at, kept));
            if before != after {
                changes.extend((before.as_ref()).and_then(|it| hold.change(HOLDERS, it, None)));
                changes.extend((after.as_ref()).and_then(|it| hold.change(HOLDERS, it, Some(b""))));
            }
            changes.extend((purse.as_ref()).and_then(|it| hold.change(PURSES, it, Some(FREE))));
            if let (Some((table, at)), Some(answer)) = (&answer, with.answer) {
                changes.extend(hold.change(*table, at, Some(answer)));
            }
            let named = bought.map(|(_, expect)| (Named::encode(key, record.created), expect));
            let name_at = changes.len();
            if let (Some((name, _)), Some((value, expect))) = (&bought, &named) {
                changes.push(Change {
                    expect: *expect,
                    ..Change::put(NAMES, name, value)
                });
            }
            let transaction_at = changes.len();
            if let Some(transaction) = &transaction {
                changes.push(Change {
                    expect: Expect::Absent,
                    ..Change::put(TRANSACTIONS, transaction, key)
                });
            }
            match self.make(hold, &changes, with.sync)? {
                None => {
                    hold.note = note;
                    self.index().has(key, record, is_watched);
                    return Ok(Step::Done);
                }
                Some(0) => {
                    hold.is_over = true;
                    self.index().dropped(key, record);
                    return Ok(Step::Lost);
                }
                Some(index) if index == transaction_at => {
                    let at = transaction.take().unwrap_or_default();
                    let other = self.rows.get(TRANSACTIONS, &at)?;
                    if other.is_some_and(|row| row.value.as_slice() != key) {
                        return Ok(Step::OfAnother);
                    }
                }
                // Another purchase of the same was faster: it is looked at again.
                Some(index) if index == name_at => {}
                Some(_) => hold.knows_little(),
            }
        }
        Err(RowError::Conflict(0).into())
    }

    /// The name by which the payer finds what was bought, where this payment is to be found by it from now on.
    fn bought(
        &self,
        key: &Key,
        record: &Record,
        hold: &Hold,
    ) -> Result<Option<(Key, Expect)>, Error> {
        let buyer = record.buyer().map(|it| self.place(NAMES, &it));
        // What this turn wrote is this payment's, or a newer one's by now.
        let Some(place) = buyer.filter(|it| !hold.has_written(NAMES, it)) else {
            return Ok(None);
        };
        let is_settled = matches!(record.state, State::Settled { .. });
        Ok(match self.named_row(&place)? {
            None if record.state != State::Reserved => Some((place, Expect::Absent)),
            Some(named) if is_settled && named.key != *key && named.created <= record.created => {
                Some((place, Expect::Version(named.version)))
            }
            _ => None,
        })
    }
}
