//! The payment component as one call meets it: what it offers, and what it says, held against that, in the ledger's terms.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderName;
use hypervisor_ledger::{Outcome, Payment, PaymentId, Proof, Settler, Standing, digest};
use hypervisor_telemetry::metrics;
use serde_json::{Value, json};

use super::prices::{Prices, not_sold};
use super::said::{authorized, entered, is_offered, name, outcome};
use super::{PaymentFault, Tariffs};
use crate::agents::Deployed;
use crate::config::Config;
use crate::error::Error;
use crate::executor::{
    Account, ChallengeResponse, Finality, Header, Item, Offer, Page, PaymentEngine, ResourceInfo,
    Verification,
};

/// The payment component that one request began with, and the offers that it made.
#[derive(Clone)]
pub(crate) struct Teller {
    engine: Arc<PaymentEngine>,
    prices: Prices,
    /// Where the component's catalogue is to be seen.
    catalogue: Arc<[String]>,
    /// What use costs, where anything is paid by use.
    tariffs: Option<Tariffs>,
}

/// Skills of an agent that the component is told of: what it is told is bounded.
const SKILLS: usize = 8;
/// Paths that a catalogue may have.
const MOST_PATHS: usize = 8;

impl Teller {
    /// Has a component that was made ready make the offers of every route.
    pub(crate) async fn open(
        config: &Config,
        engine: &Arc<PaymentEngine>,
        routes: &[&'static str],
    ) -> Result<Self, Error> {
        let settings = &config.payments;
        let priced = settings.prices.keys().map(|path| ("payments.prices", path));
        let metered = (settings.metered.routes.iter()).map(|path| ("payments.metered", path));
        let mut unknown = priced.chain(metered);
        if let Some((key, path)) = unknown.find(|(_, path)| !routes.contains(&path.as_str())) {
            return Err(Error::value(key, not_sold(path, routes)));
        }
        let prices = Prices::new(settings);
        let tariffs = match settings.metered.routes.as_slice() {
            [] => None,
            _ => Some(Tariffs::of(engine, &prices).await.map_err(|words| {
                Error::Payments(format!("what use costs, [payments.metered]: {words}"))
            })?),
        };
        for route in routes {
            let wrong = |words| {
                let price = prices.of_route(route);
                Error::Payments(format!("the price of {route}, `{price}`: {words}"))
            };
            let offers = prices.offers_of(engine, route).await.map_err(wrong)?;
            if let Some(tariffs) = tariffs.as_ref().filter(|_| prices.is_metered(route)) {
                tariffs.leave_room_in(&offers).map_err(wrong)?;
            }
        }
        Ok(Self {
            engine: Arc::clone(engine),
            prices,
            catalogue: paths(engine).await?.into(),
            tariffs,
        })
    }

    /// The offers for a price, paid to `pay_to` where it names an account, and else to the operator. They are asked for once.
    pub(crate) async fn offers(
        &self,
        price: &str,
        pay_to: Option<&str>,
    ) -> Result<Arc<[Offer]>, String> {
        self.prices.offers(&self.engine, price, pay_to).await
    }

    /// What one of the host's own routes costs, in the operator's words.
    pub(crate) fn price_of(&self, route: &str) -> &str {
        self.prices.of_route(route)
    }

    /// The offers of one of the host's own routes.
    pub(crate) async fn offers_of(&self, route: &str) -> Result<Arc<[Offer]>, PaymentFault> {
        let offers = self.prices.offers_of(&self.engine, route).await;
        offers.map_err(|_| no_offers())
    }

    /// What use costs on a route, where it is paid by use.
    pub(crate) fn tariffs_of(&self, route: &str) -> Option<&Tariffs> {
        let tariffs = self.tariffs.as_ref();
        tariffs.filter(|_| self.prices.is_metered(route))
    }

    /// The offers for a price that was taken before.
    ///
    /// # Errors
    /// [`PaymentFault::Component`] where the component, which may be another by now, does not take it any more.
    pub(crate) async fn offers_now(
        &self,
        price: &str,
        pay_to: Option<&str>,
    ) -> Result<Arc<[Offer]>, PaymentFault> {
        self.offers(price, pay_to).await.map_err(|_| no_offers())
    }

    /// The header fields in which the component looks for payments, and for proofs of who paid.
    pub(crate) fn fields(&self) -> &[HeaderName] {
        self.engine.fields()
    }

    /// What the component gets to see: where it names the fields that it reads, those and no others. Requests to agents carry
    /// credentials that are no business of who takes the payments.
    fn read<'a>(&self, headers: &'a [Header]) -> Cow<'a, [Header]> {
        if !self.engine.names_fields() {
            return Cow::Borrowed(headers);
        }
        let is_read = |header: &&Header| self.reads(&header.name);
        Cow::Owned(headers.iter().filter(is_read).cloned().collect())
    }

    /// Whether the component looks for payments in a header field.
    pub(crate) fn reads(&self, name: &str) -> bool {
        let mut named = self.engine.fields().iter().map(HeaderName::as_str);
        named.any(|it| it.eq_ignore_ascii_case(name))
    }

    /// Whether a header field has proofs of who paid, and no payment.
    pub(crate) fn signs_in(&self, header: &Header) -> bool {
        let name = self.engine.sign_in().map(HeaderName::as_str);
        name.is_some_and(|it| it.eq_ignore_ascii_case(&header.name))
    }

    /// Whether the component's catalogue is to be seen at a path.
    pub(crate) fn has_catalogue_at(&self, path: &str) -> bool {
        self.catalogue.iter().any(|it| it == path)
    }

    /// What a component with a catalogue is told of what is sold besides; others may know no such members.
    pub(crate) fn metadata(&self, method: &str, agent: Option<&Deployed>) -> Option<Value> {
        let manifest = agent.map(|agent| &agent.terms.manifest);
        (!self.catalogue.is_empty()).then(|| match manifest {
            None => json!({"method": method}),
            Some(it) => {
                let skills: Vec<_> = it.skills.iter().take(SKILLS).collect();
                json!({"method": method, "name": it.name.as_str(), "skills": skills})
            }
        })
    }

    /// A page of the catalogue.
    pub(crate) async fn page(
        &self,
        path: (&str, &str),
        items: &[Item],
    ) -> Result<Page, PaymentFault> {
        Ok(self.engine.catalogue(path, items).await??)
    }

    /// What a purchase is known by of which a payment is authorized, where the client gave it a name: that of one payer alone.
    pub(crate) async fn purchase(
        &self,
        id: &PaymentId,
        headers: &[Header],
    ) -> Result<Option<[u8; 32]>, PaymentFault> {
        let name = self.engine.identifier(&self.read(headers)).await?;
        Ok(name.map(|name| digest(&["purchase", &id.chain, &id.payer, &name])))
    }

    /// What the headers prove of who paid.
    pub(crate) async fn signed_in(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Option<Proof>, PaymentFault> {
        let headers = self.read(headers);
        let proof = self.engine.signed_in(info, offers, &headers);
        let account = |it: Account| (it.chain, it.payer);
        Ok(proof.await?.map(|it| Proof {
            accounts: it.accounts.into_iter().map(account).collect(),
            nonce: it.nonce,
            issued: it.issued,
            expires: it.expires,
        }))
    }

    /// The 402 for `offers`.
    pub(crate) async fn challenge(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
    ) -> Result<ChallengeResponse, PaymentFault> {
        Ok(self.engine.challenge(info, offers).await??)
    }

    /// Which payment the headers carry.
    pub(crate) async fn identify(
        &self,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Option<PaymentId>, PaymentFault> {
        let identified = self.engine.identify(offers, &self.read(headers)).await?;
        Ok(identified.map(name))
    }

    /// Whether the headers pay for one of `offers`. What is authorized was held against the offers: a component that grew
    /// careless with amounts or recipients is no reason to lose money.
    pub(crate) async fn verify(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Verified, PaymentFault> {
        let verified = self.engine.verify(info, offers, &self.read(headers)).await;
        metrics::payment(match &verified {
            Ok(Ok(Verification::Authorized(_))) => "authorized",
            Ok(Ok(Verification::Refused(_))) => "refused",
            Ok(Err(_)) | Err(_) => "unverified",
        });
        let payment = match verified?? {
            Verification::Refused(refusal) => {
                return Ok(Verified::Refused(Box::new(refusal.challenge)));
            }
            Verification::Authorized(payment) => entered(payment),
        };
        if !is_offered(offers, &payment) {
            tracing::error!("the payment component authorized what was not offered");
            return Err(PaymentFault::Component);
        }
        Ok(Verified::Authorized(Box::new(payment)))
    }

    /// Transfers the money. Anything but a clear answer about this very payment is doubt.
    pub(crate) async fn settle(&self, payment: &Payment) -> Outcome {
        let settled = self.engine.settle(&authorized(payment)).await;
        counted(outcome(payment, settled))
    }

    /// Transfers what a payment came to, of what was signed for it.
    pub(crate) async fn settle_part(&self, signed: &Payment, payment: &Payment) -> Outcome {
        let signed = authorized(signed);
        let settled = self.engine.settle_part(&signed, &payment.amount);
        counted(outcome(payment, settled.await))
    }
}

fn no_offers() -> PaymentFault {
    tracing::error!("the payment component makes no offers of a price that it took before");
    PaymentFault::Component
}

impl Settler for Teller {
    async fn reconcile(&self, payment: &Payment) -> Outcome {
        let found = self.engine.reconcile(&authorized(payment)).await;
        counted(outcome(payment, found))
    }

    async fn standing(&self, payment: &Payment, transaction: &str) -> Standing {
        let payment = authorized(payment);
        match self.engine.standing(&payment, transaction).await {
            None | Some(Ok(Finality::Stands)) => Standing::Stands,
            Some(Ok(Finality::Gone)) => {
                metrics::payment("taken-back");
                Standing::Gone
            }
            Some(Ok(Finality::Unclear) | Err(_)) => Standing::Unclear,
        }
    }
}

/// Where the component's catalogue is to be seen.
async fn paths(engine: &PaymentEngine) -> Result<Vec<String>, Error> {
    let paths = engine.catalogue_paths().await;
    let paths = paths.map_err(|e| Error::Payments(e.to_string()))?;
    if paths.len() > MOST_PATHS || paths.iter().any(|path| !path.starts_with('/')) {
        let words = "the paths of its catalogue are more than 8, or one has no slash in front";
        return Err(Error::Payments(words.to_owned()));
    }
    Ok(paths)
}

/// What the component says of a payment.
pub(crate) enum Verified {
    /// It is good for what was offered.
    Authorized(Box<Payment>),
    /// It is not, with the challenge that says why.
    Refused(Box<ChallengeResponse>),
}

/// The same, counted.
fn counted(outcome: Outcome) -> Outcome {
    metrics::payment(match outcome {
        Outcome::Settled { .. } => "settled",
        Outcome::Failed { .. } => "failed",
        Outcome::Unknown(_) => "unknown",
    });
    outcome
}
