//! Clearing doubts: payments whose settlement nobody knows, asked about until somebody does.

use std::time::Duration;

use super::{Key, LedgerError, Payments, Teller};
use crate::attestation::now;

/// Pauses between two rounds of questions.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

impl Payments {
    /// Asks the component what became of a payment in doubt, and writes it down. Does nothing while another request works
    /// on it.
    pub(crate) async fn reconcile(&self, teller: &Teller, key: &Key) -> Result<(), LedgerError> {
        self.ledger.reconcile(teller, key).await?;
        self.flush();
        Ok(())
    }

    /// Clears doubts, those of before a restart first, forgets what is over, and looks again at what was settled. Runs as long as
    /// the host.
    pub(crate) async fn clear_doubts(&self, current: impl Fn() -> Option<Teller>) {
        let mut pause = SHORTEST;
        loop {
            let over = (now(), self.hold.as_secs());
            let teller = current();
            if !self.is_well() {
                // Nobody may be sent here to find out that it can be written again.
                self.flush();
                pause = SHORTEST;
            }
            match self.ledger.clear_doubts(teller.as_ref(), over).await {
                Ok(0) => pause = SHORTEST,
                Ok(_) => pause = pause.saturating_mul(2).min(LONGEST),
                Err(error) => tracing::error!(%error, "cannot read the payment store"),
            }
            if let (Some(teller), Some(after)) = (&teller, self.recheck) {
                match self.ledger.watch(teller, (now(), after.as_secs())).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => tracing::error!(%error, "cannot read the payment store"),
                }
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
}
