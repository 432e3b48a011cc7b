//! The operator's prices as offers: for each route, one way to pay on each network.

use std::collections::HashMap;

use super::assets;
use super::price::Price;
use crate::config::Payments;
use crate::error::Error;
use crate::executor::Offer;

/// The offers of every paid route.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    by_route: HashMap<&'static str, Vec<Offer>>,
}

impl Offers {
    /// Works the prices out for `routes`.
    pub(super) fn new(config: &Payments, routes: &[&'static str]) -> Result<Self, Error> {
        let wrong = |key, message| Error::ConfigValue { key, message };
        if config.networks.is_empty() {
            let message = "name at least one chain, such as \"base\"".to_owned();
            return Err(wrong("payments.networks", message));
        }
        if config.pay_to.is_empty() {
            let message = "name the account that is paid".to_owned();
            return Err(wrong("payments.pay_to", message));
        }
        if let Some(path) = config
            .prices
            .keys()
            .find(|path| !routes.contains(&path.as_str()))
        {
            let message = format!("`{path}` is no paid route; those are {}", routes.join(", "));
            return Err(wrong("payments.prices", message));
        }
        let by_route = routes
            .iter()
            .map(|route| {
                let (key, price) = match config.prices.get(*route) {
                    Some(price) => ("payments.prices", price),
                    None => ("payments.price", &config.price),
                };
                let offers =
                    of_price(config, price, None).map_err(|message| wrong(key, message))?;
                Ok((*route, offers))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { by_route })
    }

    pub(super) fn of(&self, route: &str) -> &[Offer] {
        self.by_route.get(route).map_or(&[], Vec::as_slice)
    }
}

/// One offer for each network, paid to the operator or to `pay_to`.
pub(super) fn of_price(
    config: &Payments,
    price: &str,
    pay_to: Option<&str>,
) -> Result<Vec<Offer>, String> {
    let price = Price::parse(price)?;
    let offer = |network: &String| {
        let network = assets::network(network)?;
        let asset = assets::find(&price.symbol, &network, &config.assets)?;
        let extra = (!asset.name.is_empty() || !asset.version.is_empty())
            .then(|| serde_json::json!({"name": asset.name, "version": asset.version}).to_string());
        Ok(Offer {
            scheme: config.scheme.clone(),
            amount: price.in_smallest_units(asset.decimals)?,
            asset: asset.address,
            network,
            pay_to: pay_to.unwrap_or(&config.pay_to).to_owned(),
            max_timeout_seconds: config.timeout.as_secs().max(1),
            extra,
        })
    };
    config.networks.iter().map(offer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Asset;

    const ROUTES: [&str; 2] = ["/a", "/b"];

    fn config() -> Payments {
        Payments {
            networks: vec!["base-sepolia".to_owned()],
            pay_to: "0x1111111111111111111111111111111111111111".to_owned(),
            ..Payments::default()
        }
    }

    fn error(config: &Payments) -> String {
        Offers::new(config, &ROUTES).unwrap_err().to_string()
    }

    #[test]
    fn a_price_becomes_one_offer_for_each_network() {
        let mut config = config();
        config.networks.push("eip155:8453".to_owned());
        let offers = Offers::new(&config, &ROUTES).unwrap();
        let [sepolia, base] = offers.of("/a") else {
            panic!("two offers")
        };
        assert_eq!(
            (sepolia.network.as_str(), sepolia.amount.as_str()),
            ("eip155:84532", "10000")
        );
        assert_eq!(
            sepolia.extra.as_deref(),
            Some(r#"{"name":"USDC","version":"2"}"#)
        );
        assert_eq!(base.asset, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
    }

    #[test]
    fn a_route_may_have_a_price_of_its_own() {
        let mut config = config();
        config.prices.insert("/b".to_owned(), "0.5 USDC".to_owned());
        let offers = Offers::new(&config, &ROUTES).unwrap();
        assert_eq!(offers.of("/a")[0].amount, "10000");
        assert_eq!(offers.of("/b")[0].amount, "500000");
    }

    #[test]
    fn an_asset_of_the_operators_own_is_found_by_its_name_and_chain() {
        let mut config = config();
        config.price = "1.5 EURC".to_owned();
        assert!(
            error(&config).contains("[[payments.assets]]"),
            "{}",
            error(&config)
        );
        config.assets.push(Asset {
            symbol: "EURC".to_owned(),
            network: "base-sepolia".to_owned(),
            address: "0x2222222222222222222222222222222222222222".to_owned(),
            decimals: 2,
            name: String::new(),
            version: String::new(),
        });
        let offers = Offers::new(&config, &ROUTES).unwrap();
        assert_eq!(
            (
                offers.of("/a")[0].amount.as_str(),
                &offers.of("/a")[0].extra
            ),
            ("150", &None)
        );
    }

    #[test]
    fn mistakes_name_the_key() {
        assert!(
            error(&Payments {
                networks: vec![],
                ..config()
            })
            .contains("payments.networks")
        );
        assert!(
            error(&Payments {
                pay_to: String::new(),
                ..config()
            })
            .contains("payments.pay_to")
        );
        assert!(
            error(&Payments {
                networks: vec!["bass".into()],
                ..config()
            })
            .contains("base-sepolia")
        );
        assert!(
            error(&Payments {
                price: "free".into(),
                ..config()
            })
            .contains("payments.price")
        );
        let mut unknown_route = config();
        unknown_route
            .prices
            .insert("/c".to_owned(), "1 USDC".to_owned());
        assert!(error(&unknown_route).contains("`/c` is no paid route"));
    }
}
