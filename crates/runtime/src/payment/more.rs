//! The names of purchases, the catalogue, and proofs of who paid, where the component has them.

use wasmtime::component::{ComponentType, Lift, Lower};

use super::{Header, Offer, PaymentEngine, PaymentError, ResourceInfo, Unanswered, told};

/// Names of purchases.
const IDENTIFIER: (&str, &str) = ("hypervisor:plugin/payment-identifier@0.1.1", "identifier");
/// The catalogue of what is sold.
const PATHS: (&str, &str) = ("hypervisor:plugin/payment-catalogue@0.1.1", "paths");
const CATALOGUE: (&str, &str) = ("hypervisor:plugin/payment-catalogue@0.1.1", "catalogue");

/// Proofs of who paid.
pub(super) const SIGN_IN_FIELD: (&str, &str) = ("hypervisor:plugin/payment-sign-in@0.1.1", "field");
const SIGNED_IN: (&str, &str) = ("hypervisor:plugin/payment-sign-in@0.1.1", "signed-in");

/// An account that pays.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Account {
    /// The chain.
    pub chain: String,
    /// The account.
    pub payer: String,
}

/// That whoever sent a request holds accounts.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Proof {
    /// The accounts, of one holder.
    pub accounts: Vec<Account>,
    /// What makes it the only one of its holder's.
    pub nonce: String,
    /// When it was made, Unix seconds.
    pub issued: u64,
    /// From when on it proves nothing, Unix seconds.
    pub expires: u64,
}

/// One thing that is sold to everybody.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub struct Item {
    /// What it is.
    pub info: ResourceInfo,
    /// The ways to pay for it.
    pub offers: Vec<Offer>,
    /// Since when it has been so, Unix seconds.
    pub updated: u64,
}

/// A page of the catalogue.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Page {
    /// Its media type.
    #[component(name = "media-type")]
    pub media_type: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl PaymentEngine {
    /// The name that a client gave a purchase; none where it gave none, or the component reads no names.
    pub async fn identifier(&self, headers: &[Header]) -> Result<Option<String>, Unanswered> {
        if !self.exports(IDENTIFIER.0) {
            return Ok(None);
        }
        let (name,) = self.optional(IDENTIFIER, (headers,)).await?;
        Ok(name)
    }

    /// What the headers of a request prove of its sender; none where they prove nothing, or the component reads no proofs.
    pub async fn signed_in(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Option<Proof>, Unanswered> {
        if self.sign_in.is_none() {
            return Ok(None);
        }
        let (proof,) = self.optional(SIGNED_IN, (info, offers, headers)).await?;
        Ok(proof)
    }

    /// The paths of the component's catalogue; none where it has no catalogue.
    pub async fn catalogue_paths(&self) -> Result<Vec<String>, Unanswered> {
        if !self.exports(PATHS.0) {
            return Ok(Vec::new());
        }
        let (paths,) = self.optional(PATHS, ()).await?;
        Ok(paths)
    }

    /// A page of the catalogue.
    pub async fn catalogue(
        &self,
        (path, query): (&str, &str),
        items: &[Item],
    ) -> Result<Result<Page, PaymentError>, Unanswered> {
        let page = self.optional(CATALOGUE, (path, query, items)).await;
        told("catalogue", page.map(|(page,)| page))
    }
}
