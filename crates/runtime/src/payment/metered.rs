//! Taking less than was signed, where the component can.

use super::{AuthorizedPayment, PaymentEngine, Settlement, Unanswered};

const INTERFACE: &str = "hypervisor:plugin/payment-metered@0.1.1";

impl PaymentEngine {
    /// Whether it can take less than was signed.
    pub fn meters(&self) -> bool {
        self.exports(INTERFACE)
    }

    /// Transfers `amount` of a payment that authorized at most its own. Without an answer nobody knows whether it was transferred.
    pub async fn settle_part(
        &self,
        payment: &AuthorizedPayment,
        amount: &str,
    ) -> Result<Settlement, Unanswered> {
        let settled = self.optional((INTERFACE, "settle"), (payment, amount));
        settled.await.map(|(settlement,)| settlement)
    }
}
