//! Payments: the operator's offers, the component that speaks the protocol, and the ledger of what was paid.

mod assets;
mod import;
mod ledger;
mod offers;
mod price;
mod reconcile;
mod store;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::sync::Notify;

use crate::account::Full;
use crate::agents::PREFIX as AGENTS_PREFIX;
use crate::config::{self, Config};
use crate::error::Error;
use crate::executor::{
    AuthorizedPayment, ChallengeResponse, Header, Offer, PaymentEngine, PaymentError, PaymentId,
    PluginSet, ResourceInfo, Settlement, Unanswered, Verification,
};
use crate::state::State as Folder;
use ledger::Ledger;
use offers::Offers;

pub(crate) use ledger::{Claim, Turn};
pub(crate) use store::{Answer, Record, State, StoreError, key, pairs};

/// What one host needs to take payments.
pub(crate) struct Payments {
    offers: Offers,
    settings: config::Payments,
    ledger: Ledger,
    /// Settle before the program runs.
    pub(crate) settle_first: bool,
    hold: Duration,
    public_url: String,
    /// Rings when a payment has come into doubt.
    doubt: Notify,
}

/// Why a payment could not be looked at. Nothing was charged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentFault {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("the payment component cannot reach a service that verifies payments")]
    Unavailable,
    #[error("the payment component failed")]
    Component,
    #[error(transparent)]
    Overloaded(#[from] Full),
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// Of a host whose plugins are loaded; none where there is no payment component. Has the component check the offers of
    /// every route.
    pub(crate) async fn start(
        config: &Config,
        plugins: &PluginSet,
        routes: &[&'static str],
        state: &Folder,
    ) -> Result<Option<Self>, Error> {
        let Some(engine) = plugins.payments() else {
            return Ok(None);
        };
        let settings = &config.payments;
        Ok(Some(Self {
            offers: checked_offers(config, engine, routes).await?,
            settings: settings.clone(),
            ledger: Ledger::open(state, settings)?,
            settle_first: settings.settle_first,
            hold: settings.hold,
            public_url: settings.public_url.trim_end_matches('/').to_owned(),
            doubt: Notify::new(),
        }))
    }

    /// What makes offers of the prices of agents.
    pub(crate) fn offering(&self) -> Offering {
        Offering(self.settings.clone())
    }

    /// What is sold at `route`.
    pub(crate) fn resource(
        &self,
        route: &str,
        description: &str,
        headers: &HeaderMap,
    ) -> ResourceInfo {
        let host = headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok());
        let base = match (self.public_url.as_str(), host) {
            ("", Some(host)) => format!("http://{host}"),
            ("", None) => "http://localhost".to_owned(),
            (url, _) => url.to_owned(),
        };
        ResourceInfo {
            url: format!("{base}{route}"),
            description: Some(description.to_owned()),
            mime_type: Some("application/json".to_owned()),
            metadata: None,
        }
    }

    /// The offers of a route.
    pub(crate) fn offers(&self, route: &str) -> &[Offer] {
        self.offers.of(route)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A settlement is in doubt: writes it to the disk and tells the task that clears doubts.
    pub(crate) fn in_doubt(&self) {
        self.ledger.flush();
        self.doubt.notify_one();
    }
}

/// Makes offers of prices.
pub(crate) struct Offering(config::Payments);

impl Offering {
    /// The offers for a price of an agent, paid to its owner where it names an account.
    ///
    /// # Errors
    /// What is wrong with the price, in words.
    pub(crate) fn offers_for(
        &self,
        price: &str,
        pay_to: Option<&str>,
    ) -> Result<Vec<Offer>, String> {
        offers::of_price(&self.0, price, pay_to)
    }
}

/// The payment component that one request began with.
#[derive(Clone)]
pub(crate) struct Teller(Arc<PaymentEngine>);

impl Teller {
    pub(crate) fn new(engine: Arc<PaymentEngine>) -> Self {
        Self(engine)
    }

    /// The header fields in which the component looks for payments.
    pub(crate) fn fields(&self) -> &[HeaderName] {
        self.0.fields()
    }

    /// What the component gets to see: where it names the fields that it reads, those and no others. Requests to agents carry
    /// credentials that are no business of who takes the payments.
    fn read<'a>(&self, headers: &'a [Header]) -> Cow<'a, [Header]> {
        if !self.0.names_fields() {
            return Cow::Borrowed(headers);
        }
        let is_read = |header: &&Header| {
            let named = self.0.fields().iter();
            named
                .map(HeaderName::as_str)
                .any(|name| name.eq_ignore_ascii_case(&header.name))
        };
        Cow::Owned(headers.iter().filter(is_read).cloned().collect())
    }

    /// Has the component look at the offers of an agent.
    ///
    /// # Errors
    /// What is wrong with them, in its words.
    pub(crate) async fn agrees(&self, offers: &[Offer]) -> Result<(), String> {
        agreed(&self.0, AGENTS_PREFIX, offers).await
    }

    /// The 402 for `offers`.
    pub(crate) async fn challenge(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
    ) -> Result<ChallengeResponse, PaymentFault> {
        Ok(self.0.challenge(info, offers).await??)
    }

    /// Which payment the headers carry.
    pub(crate) async fn identify(
        &self,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Option<PaymentId>, PaymentFault> {
        Ok(self.0.identify(offers, &self.read(headers)).await?)
    }

    /// Whether the headers pay for one of `offers`. What is authorized was held against the offers: a component that grew
    /// careless with amounts or recipients is no reason to lose money.
    pub(crate) async fn verify(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Verification, PaymentFault> {
        let verification = self.0.verify(info, offers, &self.read(headers)).await??;
        if let Verification::Authorized(payment) = &verification {
            let is_offered = offers.iter().any(|offer| {
                let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
                offer.network == payment.id.chain
                    && same(&offer.asset, &payment.id.asset)
                    && same(&offer.pay_to, &payment.pay_to)
                    && offer.amount == payment.amount
            });
            if !is_offered {
                tracing::error!("the payment component authorized what was not offered");
                return Err(PaymentFault::Component);
            }
        }
        Ok(verification)
    }

    /// Transfers the money. Anything but a clear answer about this very payment is doubt.
    pub(crate) async fn settle(&self, payment: &AuthorizedPayment) -> Outcome {
        Outcome::of(payment, self.0.settle(payment).await)
    }

    async fn reconcile(&self, payment: &AuthorizedPayment) -> Outcome {
        Outcome::of(payment, self.0.reconcile(payment).await)
    }
}

/// Whether a component that was made ready takes the operator's offers, and those of the agents that are deployed.
///
/// # Errors
/// What is wrong with them.
pub(crate) async fn accepts(
    config: &Config,
    engine: &PaymentEngine,
    routes: &[&'static str],
    agents: &[Arc<[Offer]>],
) -> Result<(), Error> {
    checked_offers(config, engine, routes).await?;
    for offers in agents {
        agreed(engine, AGENTS_PREFIX, offers)
            .await
            .map_err(|e| Error::Payments(format!("the price of a deployed agent: {e}")))?;
    }
    Ok(())
}

/// Checks `[payments]` as a start would, without opening the store.
///
/// # Errors
/// What is wrong with it.
pub async fn check(
    config: &Config,
    plugins: &PluginSet,
    routes: &[&'static str],
) -> Result<(), Error> {
    if let Some(engine) = plugins.payments() {
        checked_offers(config, engine, routes).await?;
    }
    Ok(())
}

/// The offers of every route, which the component has agreed to.
async fn checked_offers(
    config: &Config,
    engine: &PaymentEngine,
    routes: &[&'static str],
) -> Result<Offers, Error> {
    let offers = Offers::new(&config.payments, routes)?;
    for route in routes {
        agreed(engine, route, offers.of(route))
            .await
            .map_err(Error::Payments)?;
    }
    Ok(offers)
}

/// Whether a component takes these offers; its words where it does not.
async fn agreed(engine: &PaymentEngine, route: &str, offers: &[Offer]) -> Result<(), String> {
    let info = ResourceInfo {
        url: format!("http://localhost{route}"),
        description: None,
        mime_type: None,
        metadata: None,
    };
    match engine.challenge(&info, offers).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(
            PaymentError::InvalidOffer(text)
            | PaymentError::Unavailable(text)
            | PaymentError::InternalError(Some(text)),
        )) => Err(text),
        Ok(Err(PaymentError::InternalError(None))) => Err("the component failed".to_owned()),
        Err(unanswered) => Err(unanswered.to_string()),
    }
}

/// What became of a settlement.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Paid.
    Settled {
        transaction: String,
        headers: Vec<(String, String)>,
    },
    /// Not paid, and it will not be.
    Failed { headers: Vec<Header> },
    /// Nobody knows; the payment with all that is known.
    Unknown(Box<AuthorizedPayment>),
}

impl Outcome {
    fn of(payment: &AuthorizedPayment, settlement: Result<Settlement, Unanswered>) -> Self {
        let unknown = |payment: AuthorizedPayment| Self::Unknown(Box::new(payment));
        match settlement {
            Ok(Settlement::Settled(receipt))
                if receipt.id == payment.id && receipt.amount == payment.amount =>
            {
                Self::Settled {
                    transaction: receipt.transaction,
                    headers: pairs(receipt.headers),
                }
            }
            Ok(Settlement::Failed(failure)) => {
                tracing::info!(reason = word(&failure.reason), "a settlement failed");
                Self::Failed {
                    headers: failure.headers,
                }
            }
            Ok(Settlement::Unknown(doubt)) if doubt.payment.id == payment.id => {
                tracing::warn!(reason = word(&doubt.reason), "a settlement is in doubt");
                unknown(doubt.payment)
            }
            Ok(Settlement::Settled(_) | Settlement::Unknown(_)) => {
                tracing::error!("the payment component answered for another payment");
                unknown(payment.clone())
            }
            Err(_) => unknown(payment.clone()),
        }
    }
}

/// A reason as the log may have it: a code is one, free text could quote anything.
fn word(reason: &str) -> &str {
    let is_code = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if reason.len() <= 80 && reason.bytes().all(is_code) {
        reason
    } else {
        "other"
    }
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
