//! Taking less than was signed, where the component can.

use wasmtime::component::InstancePre;

use super::{AuthorizedPayment, NAME, PaymentEngine, Settlement, Unanswered, unanswered};
use crate::guest::Guest;
use crate::linked::exported;
use crate::said::log_written;

/// The interface and its function.
const INTERFACE: &str = "hypervisor:plugin/payment-metered@0.1.1";
const SETTLE: &str = "settle";

pub(super) fn is_exported(linked: &InstancePre<Guest>) -> bool {
    let component = linked.component();
    component.get_export_index(None, INTERFACE).is_some()
}

impl PaymentEngine {
    /// Whether it can take less than was signed.
    pub fn meters(&self) -> bool {
        self.meters
    }

    /// Transfers `amount` of a payment that authorized at most its own. Without an answer nobody knows whether it was transferred.
    pub async fn settle_part(
        &self,
        payment: &AuthorizedPayment,
        amount: &str,
    ) -> Result<Settlement, Unanswered> {
        let _place = self.calls.enter().await;
        let settled = self.sandboxes.once(NAME, async |store| {
            let linked = self.pre.instance_pre();
            let instance = linked.instantiate_async(&mut *store).await?;
            let function = exported(&instance, store, INTERFACE, SETTLE)
                .ok_or_else(|| wasmtime::Error::msg("it has no function `settle`"))?;
            let function = function.typed::<(&AuthorizedPayment, &str), (Settlement,)>(&*store)?;
            let (settlement,) = function.call_async(&mut *store, (payment, amount)).await?;
            Ok(settlement)
        });
        let (answer, written) = settled.await;
        log_written(NAME, &written);
        answer.map_err(|exit| unanswered(SETTLE, exit))
    }
}
