//! Asking whether a payment that was settled still stands, where the component can tell.

use wasmtime::component::{ComponentType, Lift};

use super::{AuthorizedPayment, PaymentEngine, Unanswered};

const INTERFACE: &str = "hypervisor:plugin/finality@0.1.1";

/// Whether a payment that was settled is still made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Finality {
    /// It is.
    #[component(name = "stands")]
    Stands,
    /// The chain took it back.
    #[component(name = "gone")]
    Gone,
    /// It cannot be told now.
    #[component(name = "unclear")]
    Unclear,
}

impl PaymentEngine {
    /// Whether a payment that `transaction` settled still stands; none where the component does not say such things.
    pub async fn standing(
        &self,
        payment: &AuthorizedPayment,
        transaction: &str,
    ) -> Option<Result<Finality, Unanswered>> {
        if !self.exports(INTERFACE) {
            return None;
        }
        let called = self.optional((INTERFACE, "standing"), (payment, transaction));
        Some(called.await.map(|(finality,)| finality))
    }
}
