//! Answers that are given with more than they were kept with: evidence that only the node has that ran what was paid for.

use hypervisor_store::{Change, Error as RowError, Expect};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::record::{Answer, Key, State};
use crate::store::Store;

impl Ledger {
    /// Keeps an answer as it is given, in the place of the one that is held for the payment, so that every node gives the same. Does
    /// nothing where none is held, where there is no room for what was added, or where this host is alone.
    ///
    /// # Errors
    /// [`Error`].
    pub fn amend(&self, key: &Key, answer: &Answer) -> Result<(), Error> {
        match self.shared.store.member {
            Some(_) => self.shared.store.amend(key, answer),
            None => Ok(()),
        }
    }
}

impl Store {
    fn amend(&self, key: &Key, answer: &Answer) -> Result<(), Error> {
        let Some(found) = self.find(key)? else {
            return Ok(());
        };
        let is_over = matches!(found.record.state, State::Settled { ran: true, .. });
        let Some(before) = found.held.filter(|_| is_over) else {
            return Ok(());
        };
        let place = self.place(before.table(), key);
        let Some(row) = self.rows.get(before.table(), &place)? else {
            return Ok(());
        };
        let Some(value) = self.admitted(key, &found.record, answer)? else {
            // The one before keeps its room.
            self.index().hold(key, &found.record, before, &self.bounds);
            return Ok(());
        };
        let change = Change {
            expect: Expect::Version(row.version),
            ..Change::put(before.table(), &place, &value)
        };
        match self.rows.commit(&[change], false) {
            // It was swept meanwhile.
            Ok(()) | Err(RowError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
