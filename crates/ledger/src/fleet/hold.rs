//! What a turn knows of its rows.

use std::collections::HashMap;

use hypervisor_store::{Change, Error as RowError, Expect, Table};

use super::purse::FREE;
use super::{Note, Step, holder};
use crate::error::Error;
use crate::record::{Key, Record};
use crate::store::{HOLDERS, Held, Kept, NAMES, PAYMENTS, PURSES, Store, TRANSACTIONS};

/// What a turn knows of its rows: with what versions it wrote or read them last.
pub(crate) struct Hold {
    pub(crate) note: Note,
    pub(crate) held: Option<Held>,
    /// None: the row is not there.
    versions: HashMap<(&'static str, Vec<u8>), Option<u64>>,
    /// False: a write failed, and nobody knows whether it was made.
    is_sure: bool,
    /// The payment is free, or another node has it by now.
    pub(crate) is_over: bool,
}

impl Hold {
    pub(crate) fn new(note: Note, held: Option<Held>) -> Self {
        Self {
            note,
            held,
            versions: HashMap::new(),
            is_sure: true,
            is_over: false,
        }
    }

    /// Knows the version of a row, or that it is not there.
    pub(crate) fn knows(mut self, table: Table, key: &[u8], version: Option<u64>) -> Self {
        self.versions.insert((table.name, key.to_vec()), version);
        self
    }

    fn version(&self, table: Table, key: &[u8]) -> Option<Option<u64>> {
        self.versions.get(&(table.name, key.to_vec())).copied()
    }

    /// Whether the row is there by this turn.
    pub(crate) fn has_written(&self, table: Table, key: &[u8]) -> bool {
        self.version(table, key).flatten().is_some()
    }

    /// Forgets everything but what is known of the payment's own row.
    pub(crate) fn knows_little(&mut self) {
        (self.versions).retain(|(table, _), _| *table == PAYMENTS.name);
    }

    /// A change of a row from what it is known to be; none where it is known to be what it becomes.
    pub(crate) fn change<'a>(
        &self,
        table: Table,
        key: &'a [u8],
        value: Option<&'a [u8]>,
    ) -> Option<Change<'a>> {
        let expect = match self.version(table, key) {
            None => Expect::Any,
            Some(None) if value.is_none() => return None,
            Some(None) => Expect::Absent,
            Some(Some(version)) => Expect::Version(version),
        };
        Some(Change {
            table,
            key,
            value,
            expect,
        })
    }
}

impl Store {
    /// Makes changes of a turn. The index of the change that found another version than it expected, if one did.
    pub(crate) fn make(
        &self,
        hold: &mut Hold,
        changes: &[Change<'_>],
        sync: bool,
    ) -> Result<Option<usize>, RowError> {
        match self.rows.write(changes, sync) {
            Ok(versions) => {
                for (change, version) in changes.iter().zip(versions) {
                    let row = (change.table.name, change.key.to_vec());
                    let version = change.value.map(|_| version);
                    hold.versions.insert(row, version);
                }
                Ok(None)
            }
            Err(RowError::Conflict(index)) => Ok(Some(index)),
            Err(error) => {
                hold.versions.clear();
                hold.is_sure = false;
                if let Some(member) = &self.member {
                    member.untidy();
                }
                Err(error)
            }
        }
    }

    /// Finds out what a write came to of which nobody knows, where there was one. False: another node has the payment.
    pub(crate) fn ascertain(
        &self,
        key: &Key,
        record: &Record,
        hold: &mut Hold,
    ) -> Result<bool, Error> {
        if hold.is_over {
            return Ok(false);
        }
        if hold.is_sure {
            return Ok(true);
        }
        let tag = self.member.as_ref().map(super::Member::tag);
        let found = self.find(key)?;
        let mine = found.filter(|it| it.note.holder == tag && it.record.request == record.request);
        let Some(found) = mine else {
            hold.is_over = true;
            return Ok(false);
        };
        *hold = found.hold(&self.place(PAYMENTS, key));
        Ok(true)
    }

    /// Whether the row of a turn is as it wrote it.
    pub(crate) fn is_held(&self, key: &Key, hold: &Hold) -> Result<bool, Error> {
        let place = self.place(PAYMENTS, key);
        let row = self.rows.get(PAYMENTS, &place)?;
        let version = row.map(|it| it.version);
        Ok(hold.version(PAYMENTS, &place) == Some(version))
    }

    /// Deletes a payment with all that is kept of it, and frees its name and its place.
    pub(crate) fn erase(
        &self,
        key: &Key,
        record: &Record,
        hold: &mut Hold,
        sync: bool,
    ) -> Result<Step, Error> {
        if !self.ascertain(key, record, hold)? {
            return Ok(Step::Lost);
        }
        let place = self.place(PAYMENTS, key);
        let duty = hold.note.holder.map(|tag| holder(tag, &place));
        let answer = hold
            .held
            .map(|held| (held.table(), self.place(held.table(), key)));
        let authorization = self.place(self.authorizations, key);
        let purse = hold
            .note
            .slot
            .map(|slot| self.purse(&record.payment.id, slot));
        let transaction = record.transaction().map(|it| self.transaction(record, it));
        let names = hold.note.names.clone();
        for _ in 0..ATTEMPTS {
            let mut owned = Vec::with_capacity(names.len());
            for name in &names {
                if hold.version(NAMES, name).is_none() {
                    let found = self.named_row(name)?.filter(|it| it.key == *key);
                    let row = (NAMES.name, name.to_vec());
                    hold.versions.insert(row, found.map(|it| it.version));
                }
                if hold.has_written(NAMES, name) {
                    owned.push(name);
                }
            }
            let mut changes = Vec::new();
            changes.extend(hold.change(PAYMENTS, &place, None));
            changes.extend(hold.change(self.authorizations, &authorization, None));
            changes.extend((duty.as_ref()).and_then(|it| hold.change(HOLDERS, it, None)));
            changes.extend(
                answer
                    .as_ref()
                    .and_then(|(table, at)| hold.change(*table, at, None)),
            );
            changes.extend((purse.as_ref()).and_then(|it| hold.change(PURSES, it, Some(FREE))));
            let settled = transaction.as_ref();
            changes.extend(settled.and_then(|it| hold.change(TRANSACTIONS, it, None)));
            changes.extend(
                owned
                    .into_iter()
                    .filter_map(|it| hold.change(NAMES, it, None)),
            );
            match self.make(hold, &changes, sync)? {
                None => {
                    hold.is_over = true;
                    self.index().dropped(key, record);
                    return Ok(Step::Done);
                }
                Some(0) => {
                    hold.is_over = true;
                    self.index().dropped(key, record);
                    return Ok(Step::Lost);
                }
                // Another purchase may have taken a name over, or an answer was swept.
                Some(_) => hold.knows_little(),
            }
        }
        Err(RowError::Conflict(0).into())
    }
}

/// How often a deletion is tried beside whose payment something else changed.
const ATTEMPTS: usize = 4;

impl super::Found {
    /// To go on from what was read.
    pub(crate) fn hold(&self, place: &Key) -> Hold {
        Hold::new(self.note.clone(), self.held).knows(PAYMENTS, place, Some(self.version))
    }

    pub(crate) fn of((version, kept): (u64, Kept)) -> Self {
        Self {
            version,
            record: kept.record,
            held: kept.held,
            note: kept.note.unwrap_or_default(),
        }
    }
}
