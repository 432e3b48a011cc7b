//! Forgetting what is over, by one node at a time.

use hypervisor_store::{Change, Error as RowError, Expect};

use super::seen::Found;
use crate::error::Error;
use crate::record::{self, Key, State};
use crate::store::{PAYMENTS, PROOFS, SWEEPS, Store, decode};

/// Seconds between two sweeps of all nodes together.
const EACH: u64 = 60;
/// The row that says when there was one.
const LAST: &[u8] = b"last";

impl Store {
    /// Forgets answers after `hold` seconds, records `hold` seconds after the payment could still be used, places that nobody took
    /// for long, and proofs that prove nothing any more; unless another node did so a moment ago.
    pub(crate) fn sweep_shared(&self, now: u64, hold: u64) -> Result<(), Error> {
        self.index().expire(now.saturating_sub(hold));
        if !self.sweeps(now, hold)? {
            return Ok(());
        }
        self.sweep_purses(now)?;
        self.sweep_proofs(now)?;
        let is_over = |instant: u64| instant.saturating_add(hold) < now;
        self.rows.each(PAYMENTS, b"", |scanned| {
            // One that was altered is told of when it is needed, and keeps no other.
            let Ok(row) = scanned.row else { return Ok(()) };
            let Ok(kept) = decode(&row.value) else {
                return Ok(());
            };
            let found = Found::of((row.version, kept));
            let key = record::key(&found.record.payment.id);
            let used = (found.record.created).max(found.record.payment.valid_before);
            if is_over(used) && found.record.state != State::Settling {
                let mut holding = found.hold(&self.place(PAYMENTS, &key));
                self.erase(&key, &found.record, &mut holding, false)
                    .map(drop)
            } else if is_over(found.record.created) {
                self.drop_answer(&found, &key)
            } else {
                Ok(())
            }
        })
    }

    fn drop_answer(&self, found: &Found, key: &Key) -> Result<(), Error> {
        let Some(held) = found.held else {
            return Ok(());
        };
        let place = self.place(held.table(), key);
        match self.rows.get(held.table(), &place)? {
            Some(row) => self.drop_row(held.table(), &place, row.version),
            None => Ok(()),
        }
    }

    fn sweep_proofs(&self, now: u64) -> Result<(), Error> {
        self.rows.each(PROOFS, b"", |scanned| match scanned.row {
            Ok(row) if number(&row.value).is_none_or(|expires| expires <= now) => {
                self.drop_row(PROOFS, &scanned.key, row.version)
            }
            _ => Ok(()),
        })
    }

    /// Takes a proof of who paid; false where it was taken before, by any node, or `most` of the holder's are still good.
    pub(crate) fn take_proof(
        &self,
        (holder, proof): (&[u8; 32], &[u8; 32]),
        (now, expires): (u64, u64),
        most: usize,
    ) -> Result<bool, Error> {
        let holder = self.place(PROOFS, holder);
        let place = [holder, self.place(PROOFS, proof)].concat();
        let most_rows = most.saturating_mul(2);
        let taken = self.rows.scan(PROOFS, &holder, None, most_rows)?;
        let good = taken.into_iter().filter(|it| {
            let row = it.row.as_ref();
            row.is_ok_and(|row| number(&row.value).is_some_and(|it| it > now))
        });
        if good.count() >= most {
            return Ok(false);
        }
        let value = expires.to_be_bytes();
        let change = Change {
            expect: Expect::Absent,
            ..Change::put(PROOFS, &place, &value)
        };
        match self.rows.commit(&[change], true) {
            Ok(()) => Ok(true),
            Err(RowError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this node is the one that sweeps now.
    fn sweeps(&self, now: u64, hold: u64) -> Result<bool, Error> {
        let last = self.rows.get(SWEEPS, LAST)?;
        let swept = last.as_ref().and_then(|row| number(&row.value));
        if swept.is_some_and(|swept| now.abs_diff(swept) < EACH.min(hold)) {
            return Ok(false);
        }
        let value = now.to_be_bytes();
        let change = Change {
            expect: last.map_or(Expect::Absent, |row| Expect::Version(row.version)),
            ..Change::put(SWEEPS, LAST, &value)
        };
        match self.rows.commit(&[change], false) {
            Ok(()) => Ok(true),
            Err(RowError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
