//! The payment component asked by hand: what it demands at a route, and what it makes of a payment. Nothing is settled.

use serde::Serialize;

use super::prices::{Prices, not_sold, resource};
use crate::config::Config;
use crate::error::Error;
use crate::executor::{
    ChallengeResponse, Header, Offer, PaymentError, PaymentId, PluginSet, Verification,
};

/// What the payment component said.
#[derive(Debug, Serialize)]
pub struct Trial {
    /// The route.
    pub route: String,
    /// What the operator offers there.
    pub offers: Vec<Offer>,
    /// The response that asks for payment.
    pub challenge: Result<Challenge, Failed>,
    /// Which payment the header fields carry, as the component names it.
    pub payment: Option<PaymentId>,
    /// What it makes of them, where there are any: none where it authorizes the payment.
    pub refusal: Option<Failed>,
}

/// A response of the component's.
#[derive(Debug, Serialize)]
pub struct Challenge {
    /// Its status.
    pub status: u16,
    /// Its header fields.
    pub headers: Vec<Header>,
    /// Its body, as text.
    pub body: String,
}

/// That it gave no answer, or a refusal.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// The class: a code of the protocol's, a case of the WIT, or `unanswered`.
    pub class: String,
    /// Its words.
    pub words: Option<String>,
}

impl From<ChallengeResponse> for Challenge {
    fn from(challenge: ChallengeResponse) -> Self {
        Self {
            status: challenge.status,
            headers: challenge.headers,
            body: String::from_utf8_lossy(&challenge.body).into_owned(),
        }
    }
}

impl Failed {
    fn new(class: impl Into<String>, words: Option<String>) -> Self {
        Self {
            class: class.into(),
            words,
        }
    }

    fn of(error: PaymentError) -> Self {
        let failure = crate::executor::Failure::from(&error);
        Self::new(failure.class(), failure.words().map(str::to_owned))
    }
}

/// Asks for the challenge of `route`, and where there are header fields has them identified and verified, which may ask a
/// facilitator and transfers nothing.
///
/// # Errors
/// Where the configuration has no such component, route or price.
pub async fn trial(
    config: &Config,
    plugins: &PluginSet,
    routes: &[&'static str],
    route: &str,
    headers: &[Header],
) -> Result<Trial, Error> {
    let absent = "there is no payment component: name one as `component`";
    let engine = plugins
        .payments()
        .ok_or_else(|| Error::Payments(absent.to_owned()))?;
    if !routes.contains(&route) {
        return Err(Error::Payments(not_sold(route, routes)));
    }
    let prices = Prices::new(&config.payments);
    let offers = prices.offers_of(engine, route).await;
    let offers = offers
        .map_err(|words| Error::Payments(format!("the price of {route}: {words}")))?
        .to_vec();
    let info = resource(route);
    let unanswered = |e: &dyn std::fmt::Display| Failed::new("unanswered", Some(e.to_string()));
    let challenge = match engine.challenge(&info, &offers).await {
        Ok(answer) => answer.map(Challenge::from).map_err(Failed::of),
        Err(error) => Err(unanswered(&error)),
    };
    let (mut payment, mut refusal) = (None, None);
    if !headers.is_empty() {
        match engine.identify(&offers, headers).await {
            Ok(identified) => payment = identified,
            Err(error) => refusal = Some(unanswered(&error)),
        }
        refusal = refusal.or(match engine.verify(&info, &offers, headers).await {
            Ok(Ok(Verification::Authorized(_))) => None,
            Ok(Ok(Verification::Refused(refusal))) => {
                Some(Failed::new(refusal.reason, refusal.message))
            }
            Ok(Err(error)) => Some(Failed::of(error)),
            Err(error) => Some(unanswered(&error)),
        });
    }
    Ok(Trial {
        route: route.to_owned(),
        offers,
        challenge,
        payment,
        refusal,
    })
}
