//! Places among the unsettled payments of one payer, across nodes: a row for each.
//!
//! What was found of a payer's balance holds until the next payment of theirs is settled. So a place is looked for before a payment
//! is verified and taken by the write that sets it aside, which expects the row as it was: whatever another node did with it
//! meanwhile is a conflict. The row stays when the place is free again, with another version, and is swept later.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use hypervisor_store::Expect;

use crate::error::Error;
use crate::record::PaymentId;
use crate::store::{PURSES, Store};

/// What is in the row of a place that is free, and of one that is not.
pub(crate) const FREE: &[u8] = &[0];
pub(crate) const USED: &[u8] = &[1];

/// Places of one payer, at the most.
const MOST: usize = 4096;
/// A free place that nobody took for so long is forgotten, microseconds: much longer than a payment is verified.
const IDLE: u64 = 3600 * 1_000_000;

/// A place that was free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    /// As its row was.
    pub(crate) expect: Expect,
}

/// Where a place is next looked for: nodes that look for one at once shall not find the same.
static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Store {
    /// The row of a place.
    pub(crate) fn purse(&self, id: &PaymentId, number: u32) -> Vec<u8> {
        let purse = self.rows.blind(PURSES, &id.purse());
        [purse.as_slice(), &number.to_be_bytes()].concat()
    }

    /// A place that is free.
    pub(crate) fn slot(&self, id: &PaymentId) -> Result<Option<Slot>, Error> {
        let most = self.bounds.unsettled.clamp(1, MOST);
        let purse = self.rows.blind(PURSES, &id.purse());
        let rows = self.rows.scan(PURSES, &purse, None, most)?;
        let number = |key: &[u8]| {
            let number = key.get(purse.len()..)?.try_into().ok()?;
            Some(u32::from_be_bytes(number))
        };
        let mut known = HashSet::new();
        let mut free = Vec::new();
        for scanned in rows {
            let Some(number) = number(&scanned.key) else {
                continue;
            };
            known.insert(number);
            let row = scanned.row?;
            let is_within = usize::try_from(number).is_ok_and(|it| it < most);
            if is_within && row.value.as_slice() == FREE {
                let expect = Expect::Version(row.version);
                free.push(Slot { number, expect });
            }
        }
        let numbers = 0..u32::try_from(most).unwrap_or(u32::MAX);
        let unused = numbers.filter(|number| !known.contains(number));
        free.extend(unused.map(|number| Slot {
            number,
            expect: Expect::Absent,
        }));
        if free.is_empty()
            && let Some(member) = &self.member
        {
            // One of this host's own may be taken by a payment whose end was lost with a database that crashed.
            member.untidy();
        }
        Ok(self.one_of(free))
    }

    /// One of the places that are free.
    pub(crate) fn one_of(&self, free: Vec<Slot>) -> Option<Slot> {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let mixed = next.wrapping_add(self.member.as_ref().map_or(0, |it| {
            usize::try_from(u32::from_be_bytes(it.tag())).unwrap_or(0)
        }));
        let at = mixed.checked_rem(free.len()).unwrap_or(0);
        free.get(at).copied()
    }

    /// Forgets places that were free for long.
    pub(crate) fn sweep_purses(&self, now: u64) -> Result<(), Error> {
        let is_idle = |version: u64| version.saturating_add(IDLE) < now.saturating_mul(1_000_000);
        self.rows.each(PURSES, b"", |scanned| match scanned.row {
            Ok(row) if row.value.as_slice() == FREE && is_idle(row.version) => {
                self.drop_row(PURSES, &scanned.key, row.version)
            }
            _ => Ok(()),
        })
    }
}
