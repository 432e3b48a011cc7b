//! What use costs on the routes that are paid by use: the component makes offers of the operator's prices, and the host multiplies.

use std::sync::Arc;

use hypervisor_protocol::metered::{Budget, Metered, Tariff, Used};
use serde_json::{Value, json};

use super::Payment;
use super::prices::Prices;
use crate::executor::{Offer, PaymentEngine};

/// What use costs, in each asset that it may be paid in.
#[derive(Clone)]
pub(crate) struct Tariffs {
    priced: Arc<[Priced]>,
    words: Arc<str>,
}

/// One of the tariff's prices.
type Part = fn(&mut Tariff) -> &mut String;

struct Priced {
    network: String,
    asset: String,
    tariff: Tariff,
}

impl Tariffs {
    /// Has the component say what the operator's prices of use come to.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(super) async fn of(engine: &PaymentEngine, prices: &Prices) -> Result<Self, String> {
        if !engine.meters() {
            return Err(
                "this payment component cannot take less than was signed: it has no `payment-metered`"
                    .to_owned(),
            );
        }
        let settings = prices.metered();
        let mut priced: Vec<Priced> = Vec::new();
        let prices_of_use: [(&str, Part); 5] = [
            (&settings.base, |tariff| &mut tariff.base),
            (&settings.processor_hour, |tariff| {
                &mut tariff.processor_hour
            }),
            (&settings.memory_hour, |tariff| &mut tariff.memory_gib_hour),
            (&settings.traffic, |tariff| &mut tariff.traffic_gib),
            (&settings.stored_day, |tariff| &mut tariff.stored_gib_day),
        ];
        for (price, part) in prices_of_use
            .into_iter()
            .filter(|(price, _)| !price.is_empty())
        {
            let offers = prices.metered_offers(engine, price).await;
            let offers = offers.map_err(|words| format!("`{price}`: {words}"))?;
            for offer in offers.iter() {
                if offer.amount.parse::<u128>().is_err() {
                    return Err(format!("`{price}`: it is beyond 128 bits"));
                }
                let is_same = |it: &Priced| it.network == offer.network && it.asset == offer.asset;
                let at = priced.iter().position(is_same).unwrap_or_else(|| {
                    priced.push(Priced {
                        network: offer.network.clone(),
                        asset: offer.asset.clone(),
                        tariff: free(),
                    });
                    priced.len().saturating_sub(1)
                });
                if let Some(priced) = priced.get_mut(at) {
                    part(&mut priced.tariff).clone_from(&offer.amount);
                }
            }
        }
        Ok(Self {
            priced: priced.into(),
            words: settings.words().into(),
        })
    }

    /// Whether something is left for use of the most that a run may cost.
    ///
    /// # Errors
    /// That nothing is, in words.
    pub(super) fn leave_room_in(&self, offers: &[Offer]) -> Result<(), String> {
        let uses_up = |offer: &Offer| {
            let is_same = |it: &&Priced| it.network == offer.network && it.asset == offer.asset;
            let base =
                (self.priced.iter().find(is_same)).and_then(|it| it.tariff.base.parse().ok());
            let most = offer.amount.parse::<u128>().unwrap_or(u128::MAX);
            base.is_some_and(|base: u128| base >= most)
        };
        match offers.iter().any(uses_up) {
            true => Err(
                "`base` of [payments.metered] is as much, and leaves nothing for use".to_owned(),
            ),
            false => Ok(()),
        }
    }

    /// What use costs, in the operator's words.
    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// The same for machines, in each asset that it may be paid in.
    pub(crate) fn listed(&self) -> Value {
        let priced = self.priced.iter();
        priced
            .map(|it| json!({"network": it.network, "asset": it.asset, "tariff": it.tariff}))
            .collect()
    }

    /// What `used` costs whoever made the payment; none where the component, which may be another by now, has no price in its asset.
    pub(crate) fn bill(&self, payment: &Payment, used: Used) -> Option<Metered> {
        Metered::new(self.tariff(payment)?.clone(), &payment.amount, used)
    }

    /// What may be used for what was signed.
    pub(crate) fn budget(&self, signed: &Payment) -> Option<Budget> {
        Some(Budget {
            tariff: self.tariff(signed)?.clone(),
            maximum: signed.amount.parse().ok()?,
            received: 0,
        })
    }

    fn tariff(&self, payment: &Payment) -> Option<&Tariff> {
        let id = &payment.id;
        let is_same =
            |it: &&Priced| it.network == id.chain && it.asset.eq_ignore_ascii_case(&id.asset);
        Some(&self.priced.iter().find(is_same)?.tariff)
    }
}

fn free() -> Tariff {
    let [
        base,
        processor_hour,
        memory_gib_hour,
        traffic_gib,
        stored_gib_day,
    ] = [(); 5].map(|()| "0".to_owned());
    Tariff {
        base,
        processor_hour,
        memory_gib_hour,
        traffic_gib,
        stored_gib_day,
    }
}
