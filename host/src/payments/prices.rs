//! What prices come to: the payment component makes offers of them, and the host remembers which.
//!
//! The host knows no network, no unit and no asset. A component without the interface `quote` gets offers that are made by one plain
//! rule: docs/decisions/0063-prices-are-the-components-business.md

use std::sync::Arc;

use moka::future::Cache;

use crate::config::{self, Payments};
use crate::executor::{Asset, Offer, PaymentEngine, PaymentError, ResourceInfo, Terms};

/// Prices whose offers are remembered; of more the component is asked again.
const REMEMBERED: u64 = 10_000;
/// Offers that a component may make of one price.
const MOST_OFFERS: usize = 32;
/// Digits of an amount of 256 bits.
const MOST_DIGITS: usize = 78;

/// A price, who is paid, and the scheme.
type Price = (String, String, String);

/// The offers that one component made.
#[derive(Clone)]
pub(super) struct Prices {
    settings: Arc<Payments>,
    offers: Cache<Price, Arc<[Offer]>>,
}

impl Prices {
    pub(super) fn new(settings: &Payments) -> Self {
        Self {
            settings: Arc::new(settings.clone()),
            offers: Cache::new(REMEMBERED),
        }
    }

    /// What the operator asks for a route.
    pub(super) fn of_route(&self, route: &str) -> &str {
        let own = self.settings.prices.get(route);
        own.unwrap_or(&self.settings.price)
    }

    /// What is paid by use.
    pub(super) fn metered(&self) -> &config::Metered {
        &self.settings.metered
    }

    /// Whether a route is paid by use.
    pub(super) fn is_metered(&self, route: &str) -> bool {
        self.metered().routes.iter().any(|it| it == route)
    }

    /// The offers of a route; of one that is paid by use, they are of the most that it costs.
    ///
    /// # Errors
    /// What is wrong with its price, in words.
    pub(super) async fn offers_of(
        &self,
        engine: &PaymentEngine,
        route: &str,
    ) -> Result<Arc<[Offer]>, String> {
        let price = self.of_route(route);
        match self.is_metered(route) {
            true => self.metered_offers(engine, price).await,
            false => self.offers(engine, price, None).await,
        }
    }

    /// The offers for a price of what is paid by use.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) async fn metered_offers(
        &self,
        engine: &PaymentEngine,
        price: &str,
    ) -> Result<Arc<[Offer]>, String> {
        let scheme = &self.metered().scheme;
        self.made(engine, price, (&self.settings.pay_to, scheme))
            .await
    }

    /// The offers for a price, paid to the operator or to `pay_to`. The component is asked once, and looks at them besides.
    pub(super) async fn offers(
        &self,
        engine: &PaymentEngine,
        price: &str,
        pay_to: Option<&str>,
    ) -> Result<Arc<[Offer]>, String> {
        let pay_to = pay_to.unwrap_or(&self.settings.pay_to);
        self.made(engine, price, (pay_to, &self.settings.scheme))
            .await
    }

    async fn made(
        &self,
        engine: &PaymentEngine,
        price: &str,
        (pay_to, scheme): (&str, &str),
    ) -> Result<Arc<[Offer]>, String> {
        let key = (price.to_owned(), pay_to.to_owned(), scheme.to_owned());
        let made = async {
            let offers = if engine.quotes() {
                let terms = terms(&self.settings, scheme);
                let quoted = engine.quote(price, pay_to, &terms).await;
                answered(quoted.map_err(|e| e.to_string())?)?
            } else {
                by_rule(&self.settings, price, (pay_to, scheme))?
            };
            is_sound(&offers)?;
            let challenged = engine.challenge(&resource("/"), &offers).await;
            answered(challenged.map_err(|e| e.to_string())?)?;
            Ok::<_, String>(offers.into())
        };
        let offers = self.offers.try_get_with(key, made).await;
        offers.map_err(|words: Arc<String>| words.as_ref().clone())
    }
}

/// What is said of a route that is not sold.
pub(super) fn not_sold(path: &str, routes: &[&str]) -> String {
    format!("`{path}` is no paid route; those are {}", routes.join(", "))
}

/// What is sold at `path` while the component is tried.
pub(super) fn resource(path: &str) -> ResourceInfo {
    ResourceInfo {
        url: format!("http://localhost{path}"),
        description: None,
        mime_type: None,
        metadata: None,
    }
}

fn terms(settings: &Payments, scheme: &str) -> Terms {
    let asset = |asset: &config::Asset| Asset {
        symbol: asset.symbol.clone(),
        network: asset.network.clone(),
        address: asset.address.clone(),
        decimals: asset.decimals,
        details: asset.details.clone().into_iter().collect(),
    };
    Terms {
        networks: settings.networks.clone(),
        scheme: scheme.to_owned(),
        max_timeout_seconds: settings.timeout.as_secs().max(1),
        assets: settings.assets.iter().map(asset).collect(),
    }
}

/// What a component said, or its words for why not.
fn answered<T>(answer: Result<T, PaymentError>) -> Result<T, String> {
    answer.map_err(|error| match error {
        PaymentError::InvalidOffer(text)
        | PaymentError::Unavailable(text)
        | PaymentError::InternalError(Some(text)) => text,
        PaymentError::InternalError(None) => "the component failed".to_owned(),
    })
}

/// What is asked of every component: the ledger, the policy and receipts take amounts as they are.
fn is_sound(offers: &[Offer]) -> Result<(), String> {
    if !(1..=MOST_OFFERS).contains(&offers.len()) {
        return Err(format!(
            "it comes to {} offers, and there must be 1 to {MOST_OFFERS}",
            offers.len()
        ));
    }
    let is_amount = |text: &str| {
        (1..=MOST_DIGITS).contains(&text.len())
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit())
    };
    match offers.iter().find(|offer| !is_amount(&offer.amount)) {
        None => Ok(()),
        Some(offer) => Err(format!(
            "the component offers the amount `{}`, which is not a decimal number above 0",
            offer.amount.chars().take(80).collect::<String>()
        )),
    }
}

/// The offers of a price for a component that makes none: `AMOUNT SYMBOL`, on every network as it is written, in the asset of
/// `[[payments.assets]]` that has this symbol there.
fn by_rule(
    settings: &Payments,
    price: &str,
    (pay_to, scheme): (&str, &str),
) -> Result<Vec<Offer>, String> {
    let form = || {
        format!(
            "`{price}` is not a price that the host can read, and this component has no `quote`; write it as an amount and the symbol of an asset in [[payments.assets]]"
        )
    };
    let (number, symbol) = price.split_once(' ').ok_or_else(form)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || number.ends_with('.') || !is_digits(whole) || !is_digits(fraction) {
        return Err(form());
    }
    let fraction = fraction.trim_end_matches('0');
    let offer = |network: &String| {
        let mut assets = settings.assets.iter();
        let asset = assets
            .find(|asset| asset.symbol == symbol && asset.network == *network)
            .ok_or_else(|| {
                format!(
                    "{symbol} on {network} is not described in [[payments.assets]], and this component, which has no `quote`, is told nothing else"
                )
            })?;
        let decimals = usize::from(asset.decimals);
        if fraction.len() > decimals {
            return Err(format!(
                "`{price}` has more decimal places than the {decimals} of {symbol}"
            ));
        }
        let digits = format!("{whole}{fraction:0<decimals$}");
        let extra = serde_json::to_string(&asset.details).ok();
        Ok(Offer {
            scheme: scheme.to_owned(),
            network: network.clone(),
            asset: asset.address.clone(),
            amount: digits.trim_start_matches('0').to_owned(),
            pay_to: pay_to.to_owned(),
            max_timeout_seconds: settings.timeout.as_secs().max(1),
            extra: extra.filter(|_| !asset.details.is_empty()),
        })
    };
    settings.networks.iter().map(offer).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings() -> Payments {
        let detail = |key: &str, text: &str| (key.to_owned(), text.to_owned());
        let credit = |network: &str, decimals| config::Asset {
            symbol: "CREDIT".to_owned(),
            network: network.to_owned(),
            address: format!("credit-of-{network}"),
            decimals,
            details: BTreeMap::new(),
        };
        let mut there = credit("there:1", 3);
        there.details = BTreeMap::from([detail("b", "2"), detail("a", "1")]);
        Payments {
            networks: vec!["here".to_owned(), "there:1".to_owned()],
            assets: vec![credit("here", 0), there],
            ..Payments::default()
        }
    }

    #[test]
    fn the_rule_takes_networks_as_they_are_written_and_assets_as_they_are_described() {
        let offers = by_rule(&settings(), "20 CREDIT", ("somebody", "by-hand")).unwrap();
        is_sound(&offers).unwrap();
        let [here, there] = offers.as_slice() else {
            panic!("two offers")
        };
        assert_eq!(
            (here.network.as_str(), here.amount.as_str()),
            ("here", "20")
        );
        assert_eq!(
            (here.asset.as_str(), &here.extra),
            ("credit-of-here", &None)
        );
        assert_eq!(
            (there.amount.as_str(), there.scheme.as_str()),
            ("20000", "by-hand")
        );
        assert_eq!(there.extra.as_deref(), Some(r#"{"a":"1","b":"2"}"#));
        assert_eq!(
            (there.pay_to.as_str(), there.max_timeout_seconds),
            ("somebody", 120)
        );
    }

    #[test]
    fn what_the_rule_cannot_read_is_refused_in_words() {
        for (price, words) in [
            ("20", "has no `quote`"),
            ("-1 CREDIT", "has no `quote`"),
            (". CREDIT", "has no `quote`"),
            ("1. CREDIT", "has no `quote`"),
            ("1 DOGE", "DOGE on here is not described"),
            ("0.5 CREDIT", "more decimal places"),
        ] {
            let error = by_rule(&settings(), price, ("somebody", "by-hand")).unwrap_err();
            assert!(error.contains(words), "{price}: {error}");
        }
    }

    #[test]
    fn offers_of_nothing_none_and_too_many_are_refused() {
        let offers = by_rule(&settings(), "0.00 CREDIT", ("somebody", "by-hand")).unwrap();
        assert!(is_sound(&offers).unwrap_err().contains("above 0"));
        assert!(is_sound(&[]).unwrap_err().contains("0 offers"));
        let offer = by_rule(&settings(), "1 CREDIT", ("somebody", "by-hand"))
            .unwrap()
            .remove(0);
        assert!(is_sound(&vec![offer.clone(); MOST_OFFERS]).is_ok());
        assert!(is_sound(&vec![offer; MOST_OFFERS + 1]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn the_rule_reads_any_text_or_refuses_it(text in "\\PC*") {
            let _ = by_rule(&settings(), &text, ("somebody", "by-hand"));
        }
    }
}
