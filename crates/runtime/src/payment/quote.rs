//! Asking for the offers that are made of a price, where the component makes them.

use wasmtime::component::{ComponentType, InstancePre, Lower};

use super::{Offer, PaymentEngine, PaymentError, Unanswered};
use crate::guest::Guest;

/// The interface and its function.
const INTERFACE: &str = "hypervisor:plugin/quote@0.1.1";
const QUOTE: &str = "quote";

/// What the operator set for all that is sold.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub struct Terms {
    /// The networks on which it may be paid, as the operator wrote them.
    pub networks: Vec<String>,
    /// The payment scheme that the offers are to have.
    pub scheme: String,
    /// From the challenge to the settlement, in seconds.
    #[component(name = "max-timeout-seconds")]
    pub max_timeout_seconds: u64,
    /// The assets that the operator describes.
    pub assets: Vec<Asset>,
}

/// An asset as the operator describes it.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub struct Asset {
    /// The name that prices use.
    pub symbol: String,
    /// The network that has it.
    pub network: String,
    /// What names it there.
    pub address: String,
    /// Decimal places of a whole unit.
    pub decimals: u8,
    /// Everything else that the description says.
    pub details: Vec<(String, String)>,
}

pub(super) fn is_exported(linked: &InstancePre<Guest>) -> bool {
    let component = linked.component();
    component.get_export_index(None, INTERFACE).is_some()
}

impl PaymentEngine {
    /// Whether it makes the offers of prices itself.
    pub fn quotes(&self) -> bool {
        self.quotes
    }

    /// The offers for a price, paid to `pay_to`.
    pub async fn quote(
        &self,
        price: &str,
        pay_to: &str,
        terms: &Terms,
    ) -> Result<Result<Vec<Offer>, PaymentError>, Unanswered> {
        let quoted = self.may((INTERFACE, QUOTE), (price, pay_to, terms)).await?;
        let quoted = quoted.map(|(offers,): (Result<Vec<Offer>, PaymentError>,)| offers);
        Ok(quoted.unwrap_or(Err(PaymentError::InternalError(None))))
    }
}
