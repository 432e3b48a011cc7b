//! The first look at a payment. Most are new: all that says so, and a place for it, is read in one question.

use hypervisor_store::{Expect, Table};

use super::purse::{FREE, Slot};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::record::{Key, PaymentId, Request, key};
use crate::store::{NAMES, PAYMENTS, PURSES};
use crate::turn::Place;

/// Places of a payer that are read with the payment, at the most; of more, [`Ledger::try_place`] reads them.
const FEW: usize = 16;

/// A payment of which nothing was known, and a place of its payer that was free then.
pub struct Unused(Slot);

impl Ledger {
    /// Whether nothing is known of a payment, nor of the request that it comes with, and a place of its payer is free. None
    /// where that is not so, where it takes more than one question, and where the rows are this host's own:
    /// [`Self::claim`] and [`Self::try_place`] find out.
    ///
    /// # Errors
    /// [`Error`].
    pub fn unused(&self, id: &PaymentId, request: &Request) -> Result<Option<Unused>, Error> {
        let store = &self.shared.store;
        let most = store.bounds.unsettled.max(1);
        let key = key(id);
        if store.member.is_none() || most > FEW || self.shared.busy().contains_key(&key) {
            return Ok(None);
        }
        let known: Vec<(Table, Key)> = std::iter::once((PAYMENTS, store.place(PAYMENTS, &key)))
            .chain((request.names()).map(|it| (NAMES, store.place(NAMES, &it))))
            .collect();
        let numbers = 0..u32::try_from(most).unwrap_or(u32::MAX);
        let purses: Vec<Vec<u8>> = numbers.map(|it| store.purse(id, it)).collect();
        let asked: Vec<(Table, &[u8])> = (known.iter())
            .map(|(table, key)| (*table, key.as_slice()))
            .chain(purses.iter().map(|key| (PURSES, key.as_slice())))
            .collect();
        let mut rows = store.rows.get_all(&asked)?.into_iter();
        if rows.by_ref().take(known.len()).any(|row| row.is_some()) {
            return Ok(None);
        }
        let places = rows.zip(0_u32..);
        let free = places.filter_map(|(row, number)| match row {
            None => Some((number, Expect::Absent)),
            Some(row) if row.value.as_slice() == FREE => {
                Some((number, Expect::Version(row.version)))
            }
            Some(_) => None,
        });
        let free = free
            .map(|(number, expect)| Slot { number, expect })
            .collect();
        Ok(store.one_of(free).map(Unused))
    }

    /// [`Self::try_place`] for a payment that was looked at a moment ago: setting it aside finds out whether another node
    /// took the place meanwhile.
    pub fn place_of(&self, id: &PaymentId, unused: Unused) -> Option<Place> {
        let mut place = self.permitted(id)?;
        place.slot = Some(unused.0);
        Some(place)
    }
}
