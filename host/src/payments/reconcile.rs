//! Clearing doubts: payments whose settlement nobody knows, asked about until somebody does.

use std::time::Duration;

use super::store::{Key, State, StoreError};
use super::{Outcome, Payments, Teller};
use crate::attestation::now;

/// Pauses between two rounds of questions.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

impl Payments {
    /// Asks the component what became of a payment in doubt, and writes it down. Does nothing while another request works
    /// on it.
    pub(crate) async fn reconcile(&self, teller: &Teller, key: &Key) -> Result<(), StoreError> {
        let Some(mut turn) = self.ledger.resume(key)? else {
            return Ok(());
        };
        if !matches!(turn.state(), State::Settling | State::Unknown) {
            return Ok(());
        }
        let payment = turn.payment().clone();
        match teller.reconcile(&payment).await {
            Outcome::Settled {
                transaction,
                headers,
            } => {
                // An answer was made before the doubt, or the program has not run.
                let ran = self.ledger.answer(key)?.is_some() || !self.settle_first;
                tracing::info!("a settlement in doubt was made");
                turn.conclude(
                    State::Settled {
                        transaction,
                        headers,
                        ran,
                    },
                    None,
                )?;
                self.ledger.flush();
                Ok(())
            }
            Outcome::Failed { .. } => {
                tracing::info!("a settlement in doubt was not made");
                turn.release()
            }
            Outcome::Unknown(payment) => {
                turn.set_payment(*payment);
                turn.conclude(State::Unknown, None)
            }
        }
    }

    /// Clears doubts, those of before a restart first, and forgets what is over. Runs as long as the host.
    pub(crate) async fn clear_doubts(&self, current: impl Fn() -> Option<Teller>) {
        let mut pause = SHORTEST;
        loop {
            match self.round(current()).await {
                Ok(0) => pause = SHORTEST,
                Ok(_) => pause = pause.saturating_mul(2).min(LONGEST),
                Err(error) => tracing::error!(%error, "cannot read the payment store"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.doubt.notified() => {
                    pause = SHORTEST;
                    tokio::time::sleep(SHORTEST).await;
                }
            }
        }
    }

    /// How many doubts are left.
    async fn round(&self, teller: Option<Teller>) -> Result<usize, StoreError> {
        self.ledger.sweep(now(), self.hold.as_secs())?;
        if let Some(teller) = teller {
            for key in self.ledger.in_doubt()? {
                self.reconcile(&teller, &key).await?;
            }
        }
        Ok(self.ledger.in_doubt()?.len())
    }
}
