//! What is known of the rows without reading them: which answers are held, how much that is, what names them, what is in doubt, and
//! what is to be looked at once more.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::record::{Key, Record, State};
use crate::store::{Bounds, Held};

/// What is known of the rows.
#[derive(Default)]
pub(crate) struct Index {
    /// Answers, each with the purse of its payer and the time of its payment.
    held: HashMap<Key, (Held, [u8; 32], u64)>,
    /// Bytes of all of them, and of each payer's.
    all: u64,
    of_purse: HashMap<[u8; 32], u64>,
    /// Payments by what names them beside their key.
    names: HashMap<[u8; 32], Key>,
    /// The newest payment for each request that is not secret, with its time, by what its payer finds it by.
    bought: HashMap<[u8; 32], (u64, Key)>,
    /// Payments in doubt: there is a row of each, or may be one.
    doubts: HashSet<Key>,
    /// Payments that were settled and are to be looked at once more, with the times since when they wait for it.
    watched: BTreeSet<(u64, Key)>,
}

impl Index {
    /// The answer that is held for a payment.
    pub(crate) fn held(&self, key: &Key) -> Option<Held> {
        self.held.get(key).map(|(held, ..)| *held)
    }

    /// The payment that is named so.
    pub(crate) fn named(&self, name: &[u8; 32]) -> Option<Key> {
        let bought = || self.bought.get(name).map(|(_, key)| key);
        self.names.get(name).or_else(bought).copied()
    }

    /// Notes what a payment is for.
    pub(crate) fn note(&mut self, key: &Key, record: &Record) {
        for name in record.names() {
            self.names.entry(name).or_insert(*key);
        }
    }

    /// Notes how far a payment has come. `is_watched`: it is settled, and what it is asked about with is kept.
    pub(crate) fn moved(&mut self, key: &Key, record: &Record, is_watched: bool) {
        let waits = (record.created, *key);
        if let Some(buyer) = record.buyer() {
            let newest = self.bought.entry(buyer).or_insert(waits);
            if matches!(record.state, State::Settled { .. }) && record.created >= newest.0 {
                *newest = waits;
            }
        }
        self.has(key, record, is_watched);
    }

    /// Notes what is to be done for a payment: what names it is in the rows where hosts share them.
    pub(crate) fn has(&mut self, key: &Key, record: &Record, is_watched: bool) {
        let waits = (record.created, *key);
        match record.state {
            State::Settled { .. } => self.doubts.remove(key),
            State::Reserved | State::Settling | State::Unknown => self.doubts.insert(*key),
        };
        match is_watched {
            true => self.watched.insert(waits),
            false => self.watched.remove(&waits),
        };
    }

    /// Nothing is to be done for a payment, and no answer to it is held, as far as this host goes.
    pub(crate) fn dropped(&mut self, key: &Key, record: &Record) {
        self.drop_answer(key);
        self.doubts.remove(key);
        self.watched.remove(&(record.created, *key));
    }

    /// Gives the room back of answers to payments that were made before `before`: whichever host deletes them.
    pub(crate) fn expire(&mut self, before: u64) {
        let all = self.held.iter();
        let old = all.filter(|(_, (_, _, created))| *created < before);
        let old: Vec<_> = old.map(|(key, _)| *key).collect();
        for key in old {
            self.drop_answer(&key);
        }
    }

    /// All payments in doubt.
    pub(crate) fn doubts(&self) -> Vec<Key> {
        self.doubts.iter().copied().collect()
    }

    /// Takes out payments that have waited since `before` for being looked at once more, `most` of them.
    pub(crate) fn take_watched(&mut self, before: u64, most: usize) -> Vec<Key> {
        let waited = self.watched.iter().take_while(|(since, _)| *since < before);
        let taken: Vec<_> = waited.take(most).copied().collect();
        for waits in &taken {
            self.watched.remove(waits);
        }
        taken.into_iter().map(|(_, key)| key).collect()
    }

    /// Has a payment wait from `since` on for being looked at.
    pub(crate) fn watch(&mut self, key: &Key, since: u64) {
        self.watched.insert((since, *key));
    }

    /// Makes room for an answer, in the place of what was held for the payment. False where there is none.
    pub(crate) fn hold(&mut self, key: &Key, record: &Record, answer: Held, most: &Bounds) -> bool {
        self.drop_answer(key);
        let purse = record.payment.id.purse();
        let of_purse = self.of_purse.get(&purse).copied().unwrap_or(0);
        let fits = |used: u64, most: u64| answer.bytes <= most.saturating_sub(used);
        if !fits(0, most.held_each)
            || !fits(of_purse, most.held_payer)
            || !fits(self.all, most.held)
        {
            return false;
        }
        self.all = self.all.saturating_add(answer.bytes);
        self.of_purse
            .insert(purse, of_purse.saturating_add(answer.bytes));
        self.held.insert(*key, (answer, purse, record.created));
        true
    }

    /// Gives the room of an answer back.
    pub(crate) fn drop_answer(&mut self, key: &Key) -> Option<Held> {
        let (held, purse, _) = self.held.remove(key)?;
        self.all = self.all.saturating_sub(held.bytes);
        let left = self
            .of_purse
            .remove(&purse)
            .unwrap_or(0)
            .saturating_sub(held.bytes);
        if left > 0 {
            self.of_purse.insert(purse, left);
        }
        Some(held)
    }

    /// The row of a payment is gone.
    pub(crate) fn gone(&mut self, key: &Key) {
        self.doubts.remove(key);
    }

    /// Forgets what a payment was for. Its row may still be there.
    pub(crate) fn forget(&mut self, key: &Key, record: &Record) {
        self.drop_answer(key);
        for name in record.names() {
            if self.named(&name) == Some(*key) {
                self.names.remove(&name);
            }
        }
        if let Some(buyer) = record.buyer()
            && self
                .bought
                .get(&buyer)
                .is_some_and(|(_, newest)| newest == key)
        {
            self.bought.remove(&buyer);
        }
    }
}
