//! What a payment component may export besides: each function is looked for when it is called.

use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower};

use super::{
    Header, NAME, Offer, PaymentEngine, PaymentError, ResourceInfo, Unanswered, told, unanswered,
};
use crate::linked::exported;
use crate::said::log_written;

/// Names of purchases.
const IDENTIFIER: (&str, &str) = ("hypervisor:plugin/payment-identifier@0.1.1", "identifier");
/// The catalogue of what is sold.
const PATHS: (&str, &str) = ("hypervisor:plugin/payment-catalogue@0.1.1", "paths");
const CATALOGUE: (&str, &str) = ("hypervisor:plugin/payment-catalogue@0.1.1", "catalogue");

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
        let named = self.may(IDENTIFIER, (headers,)).await?;
        Ok(named.and_then(|(name,): (Option<String>,)| name))
    }

    /// The paths of the component's catalogue; none where it has no catalogue.
    pub async fn catalogue_paths(&self) -> Result<Vec<String>, Unanswered> {
        let paths = self.may(PATHS, ()).await?;
        Ok(paths.map_or_else(Vec::new, |(paths,): (Vec<String>,)| paths))
    }

    /// A page of the catalogue; none where the component has no catalogue.
    pub async fn catalogue(
        &self,
        (path, query): (&str, &str),
        items: &[Item],
    ) -> Result<Option<Result<Page, PaymentError>>, Unanswered> {
        let page = self.may(CATALOGUE, (path, query, items)).await?;
        page.map(|(page,): (Result<Page, PaymentError>,)| told("catalogue", Ok(page)))
            .transpose()
    }

    /// Calls a function of an interface that the component may export; none where it does not.
    pub(super) async fn may<P, R>(
        &self,
        (interface, function): (&'static str, &'static str),
        params: P,
    ) -> Result<Option<R>, Unanswered>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let linked = self.pre.instance_pre();
        let exports = linked.component();
        if exports.get_export_index(None, interface).is_none() {
            return Ok(None);
        }
        let _place = self.calls.enter().await;
        let called = self.sandboxes.once(NAME, async |store| {
            let instance = linked.instantiate_async(&mut *store).await?;
            let found = exported(&instance, store, interface, function).ok_or_else(|| {
                wasmtime::Error::msg(format!("{interface} has no function `{function}`"))
            })?;
            let found = found.typed::<P, R>(&*store)?;
            found.call_async(&mut *store, params).await
        });
        let (answer, written) = called.await;
        log_written(NAME, &written);
        answer.map(Some).map_err(|exit| unanswered(function, exit))
    }
}
