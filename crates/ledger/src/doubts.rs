//! What is in doubt, and what was settled and is looked at once more.

use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::ledger::{Ledger, Settler, Standing};
use crate::record::Key;
use crate::turn::Ended;

/// Seconds between two searches for what is over, at the most: each reads all rows.
const SWEEP: u64 = 60;
/// Settled payments that are looked at in one round.
const ROUND: usize = 64;

impl Ledger {
    /// Asks `settler` what became of a payment in doubt, and writes it down. Does nothing while somebody works on it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reconcile(&self, settler: &impl Settler, key: &Key) -> Result<(), Error> {
        let Some(mut turn) = self.resume(key, true)? else {
            return Ok(());
        };
        if !turn.is_in_doubt() {
            turn.is_clear();
            return Ok(());
        }
        if turn.is_owed_its_freedom() {
            turn.release();
            return Ok(());
        }
        let outcome = settler.reconcile(turn.payment()).await;
        // What is not held was given to nobody: it can be run once more.
        let ran = self.shared.store.answer(key)?.is_some();
        match turn.end(outcome, ran) {
            Ended::Settled => tracing::info!("a settlement in doubt was made"),
            Ended::Failed(_) => tracing::info!("a settlement in doubt was not made"),
            Ended::Unknown | Ended::Lost => {}
        }
        Ok(())
    }

    /// Forgets what is over at `now`, once in a while, takes over what dead nodes held, then asks `settler` about all payments in
    /// doubt. How many are left.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clear_doubts(
        &self,
        settler: Option<&impl Settler>,
        (now, hold): (u64, u64),
    ) -> Result<usize, Error> {
        let swept = &self.shared.swept;
        if now.abs_diff(swept.load(Ordering::Relaxed)) >= SWEEP.min(hold) {
            swept.store(now, Ordering::Relaxed);
            self.shared.store.sweep(now, hold)?;
        }
        self.tidy()?;
        self.take_over_dead()?;
        if let Some(settler) = settler {
            for key in self.shared.store.in_doubt() {
                self.reconcile(settler, &key).await?;
            }
        }
        Ok(self.shared.store.in_doubt().len())
    }

    /// Asks `settler` whether payments still stand that were set aside more than `after` seconds before `now`. Each is looked at
    /// once; one that was taken back is in doubt from then on. Whether none waits any more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn watch(
        &self,
        settler: &impl Settler,
        (now, after): (u64, u64),
    ) -> Result<bool, Error> {
        let due = (self.shared.store).due(now.saturating_sub(after), ROUND);
        for key in &due {
            // Somebody who works on it may write it: it is looked at after that.
            let Some(mut turn) = self.resume(key, true)? else {
                if self.shared.busy().contains_key(key) {
                    self.shared.store.later(key, now);
                }
                continue;
            };
            let Some((transaction, _)) = turn.settled() else {
                continue;
            };
            match settler.standing(turn.payment(), transaction).await {
                Standing::Stands => turn.stands()?,
                Standing::Unclear => self.shared.store.later(key, now),
                Standing::Gone => turn.taken_back(),
            }
        }
        Ok(due.len() < ROUND)
    }
}
