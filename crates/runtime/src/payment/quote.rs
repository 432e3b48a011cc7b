//! Asking for the offers that are made of a price, where the component makes them.

use wasmtime::component::{ComponentType, Lower};

use super::{Offer, PaymentEngine, PaymentError, Unanswered};

const INTERFACE: &str = "hypervisor:plugin/quote@0.1.1";

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

impl PaymentEngine {
    /// Whether it makes the offers of prices itself.
    pub fn quotes(&self) -> bool {
        self.exports(INTERFACE)
    }

    /// The offers for a price, paid to `pay_to`.
    pub async fn quote(
        &self,
        price: &str,
        pay_to: &str,
        terms: &Terms,
    ) -> Result<Result<Vec<Offer>, PaymentError>, Unanswered> {
        let quoted = self.optional((INTERFACE, "quote"), (price, pay_to, terms));
        quoted.await.map(|(offers,)| offers)
    }
}
