//! Payments: the component that speaks the protocol and makes the offers, and the ledger of what was paid.

mod metered;
mod prices;
mod reconcile;
mod said;
mod teller;
mod trial;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use hypervisor_account::Full;
use hypervisor_ledger::{Bounds, Ledger, Node, Store, TABLES};
use serde::Serialize;
use tokio::sync::Notify;

use crate::config::{self, Config};
use crate::error::Error;
use crate::executor::{Header, Offer, PaymentError, PluginSet, ResourceInfo, Unanswered};
use crate::fleet::{Fleet, Tag};
use crate::state::State as Folder;

pub(crate) use hypervisor_ledger::{
    Answer, Claim, Ended, Error as LedgerError, Key, Outcome, Payment, PaymentId, Place, Record,
    Request, Turn, Unused, digest, key,
};
pub(crate) use metered::Tariffs;
pub(crate) use said::pairs;
pub(crate) use teller::{Teller, Verified};
pub use trial::{Challenge, Failed, Trial, trial};

/// What one host needs to take payments.
pub(crate) struct Payments {
    ledger: Ledger,
    /// Settle before the program runs.
    pub(crate) settle_first: bool,
    /// A program of the payer's own is paid for however it ends.
    pub(crate) charges_always: bool,
    /// Wall-clock time of a settlement.
    pub(crate) wall: Duration,
    /// The longest that one waits for the payer's own other payments.
    timeout: Duration,
    hold: Duration,
    /// How long after a settlement it is looked at again; none for never.
    recheck: Option<Duration>,
    public_url: String,
    /// What is before the request's Host where there is none: `http` or `https`.
    scheme: &'static str,
    /// Rings when a payment has come into doubt.
    doubt: Notify,
    /// What was written is brought to the disk soon.
    flushing: Arc<AtomicBool>,
}

/// How long what need not be on the disk at once may wait for it.
const SOON: Duration = Duration::from_millis(500);

/// Why a payment could not be looked at. Nothing was charged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentFault {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("the payment component cannot reach a service that verifies payments")]
    Unavailable,
    #[error("the payment component failed")]
    Component,
    #[error("other payments of the same payer are not settled yet")]
    Unsettled,
    #[error(transparent)]
    Overloaded(#[from] Full),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<PaymentError> for PaymentFault {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::Unavailable(_) => Self::Unavailable,
            PaymentError::InvalidOffer(_) | PaymentError::InternalError(_) => Self::Component,
        }
    }
}

impl Payments {
    /// Opens the books.
    ///
    /// # Errors
    /// What is wrong with the store in `executor_path`.
    pub(crate) fn open(
        config: &Config,
        state: &Folder,
        fleet: Option<&Arc<Fleet>>,
    ) -> Result<Self, Error> {
        let settings = &config.payments;
        Ok(Self {
            ledger: opened(state, settings, fleet)?,
            settle_first: settings.settle_first,
            charges_always: settings.charge == config::Charging::Always,
            wall: settings.wall,
            timeout: settings.timeout,
            hold: settings.hold,
            recheck: settings.rechecks().then_some(settings.recheck),
            public_url: settings.public_url.trim_end_matches('/').to_owned(),
            scheme: if config.tls.is_on() { "https" } else { "http" },
            doubt: Notify::new(),
            flushing: Arc::default(),
        })
    }

    /// What is sold at `route`.
    pub(crate) fn resource(
        &self,
        route: &str,
        headers: &HeaderMap,
        (description, media_type): (&str, Option<&str>),
        metadata: Option<serde_json::Value>,
    ) -> ResourceInfo {
        let host = headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok());
        let base = match (self.public_url.as_str(), host) {
            ("", Some(host)) => format!("{}://{host}", self.scheme),
            ("", None) => "http://localhost".to_owned(),
            (url, _) => url.to_owned(),
        };
        ResourceInfo {
            url: format!("{base}{route}"),
            description: Some(description.to_owned()),
            mime_type: media_type.map(str::to_owned),
            metadata: metadata.map(|it| it.to_string()),
        }
    }

    /// Whether the books can be written, as far as is known.
    pub(crate) fn is_well(&self) -> bool {
        self.ledger.is_well()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A place among the payments of one payer that are not settled yet.
    ///
    /// # Errors
    /// [`PaymentFault::Unsettled`] where there is none for as long as a payment has.
    pub(crate) async fn place(&self, id: &PaymentId) -> Result<Place, PaymentFault> {
        let place = tokio::time::timeout(self.timeout, self.ledger.place(id));
        match place.await {
            Ok(Err(LedgerError::Elsewhere)) | Err(_) => {
                // One of them may be in doubt.
                self.doubt.notify_one();
                Err(PaymentFault::Unsettled)
            }
            Ok(place) => Ok(place?),
        }
    }

    /// Takes over the payments of a node that died. Whether none of them is left to it.
    pub(crate) fn take_over(&self, dead: Tag) -> bool {
        match self.ledger.take_over(dead.0) {
            Ok(0) => true,
            Ok(_) => {
                self.in_doubt();
                true
            }
            Err(error) => {
                tracing::error!(%error, "cannot take over the payments of a dead host");
                false
            }
        }
    }

    /// A settlement is in doubt: tells the task that clears doubts.
    pub(crate) fn in_doubt(&self) {
        self.flush();
        self.doubt.notify_one();
    }

    /// Brings what the ledger wrote to the disk, soon and in the background: with what else is written by then. Until then a crash
    /// leaves doubt of what was settled, and nothing that is not cleared up after it.
    pub(crate) fn flush(&self) {
        if self.flushing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (ledger, flushing) = (self.ledger.clone(), Arc::clone(&self.flushing));
        tokio::spawn(async move {
            tokio::time::sleep(SOON).await;
            flushing.store(false, Ordering::Release);
            let flushed = tokio::task::spawn_blocking(move || ledger.flush()).await;
            if let Ok(Err(error)) = flushed {
                tracing::error!(%error, "cannot write the payment store");
            }
        });
    }
}

/// The ledger in the host's folder, or the one of its fleet.
fn opened(
    folder: &Folder,
    settings: &config::Payments,
    fleet: Option<&Arc<Fleet>>,
) -> Result<Ledger, Error> {
    let bounds = Bounds {
        held: settings.held.as_u64(),
        held_each: settings.held_each.as_u64(),
        held_payer: settings.held_payer.as_u64(),
        unsettled: settings.unsettled,
        watches: settings.rechecks(),
    };
    let rows = folder.store("payments", &TABLES)?;
    if let Some(fleet) = fleet.cloned() {
        let node = Node {
            tag: fleet.tag().0,
            is_alive: Box::new(move |tag| fleet.is_alive(Tag(tag))),
            patience: settings.timeout,
        };
        return Ok(Ledger::new(Store::join(rows, bounds, node)));
    }
    let earlier = folder.folder().join("payments.redb");
    let store = Store::open(rows, bounds, &earlier).map_err(|e| Error::PaymentStore {
        path: folder.path("payments"),
        message: e.to_string(),
    })?;
    Ok(Ledger::new(store))
}

/// What is sold at a route.
#[derive(Debug, Serialize)]
pub struct Sold {
    /// The route.
    pub route: &'static str,
    /// What it costs, in the operator's words.
    pub price: String,
    /// What that comes to: the ways to pay it.
    pub offers: Vec<Offer>,
}

/// Checks `[payments]` as a start would, without opening the store: what would be sold.
///
/// # Errors
/// What is wrong with it.
pub async fn check(
    config: &Config,
    plugins: &PluginSet,
    routes: &[&'static str],
) -> Result<Vec<Sold>, Error> {
    let Some(engine) = plugins.payments() else {
        return Ok(Vec::new());
    };
    let teller = Teller::open(config, engine, routes).await?;
    let mut sold = Vec::new();
    for route in routes {
        let offers = teller.offers_of(route).await;
        let price = teller.price_of(route);
        sold.push(Sold {
            route,
            price: match teller.tariffs_of(route) {
                None => price.to_owned(),
                Some(tariffs) => format!("{price} at most, by use: {}", tariffs.words()),
            },
            offers: offers.map_err(|e| Error::Payments(e.to_string()))?.to_vec(),
        });
    }
    Ok(sold)
}

/// The headers of a request as components take them; those whose value is no visible ASCII cannot carry a payment.
pub(crate) fn headers(map: &HeaderMap) -> Vec<Header> {
    map.iter()
        .filter_map(|(name, value)| {
            Some(Header {
                name: name.as_str().to_owned(),
                value: value.to_str().ok()?.to_owned(),
            })
        })
        .collect()
}
