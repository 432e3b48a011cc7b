//! What a maximum buys where a run is paid by use. The host says it before anything is signed, and its report says it again: what was
//! taken is held against that.

use std::fmt;
use std::time::Duration;

use hypervisor_protocol::metered::Tariff;
use serde::Deserialize;

use crate::payment::challenge::{Challenge, object};
use crate::payment::policy::Offer;
use crate::payment::{Address, Amount, Asset};

/// What use costs, and the most that is about to be signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// What is paid with.
    pub asset: Asset,
    /// The most that is taken.
    pub maximum: Amount,
    /// What use costs.
    pub tariff: Tariff,
}

/// The part of `resource` that says so.
#[derive(Deserialize)]
struct Sold {
    #[serde(default)]
    metered: Vec<Priced>,
}

#[derive(Deserialize)]
struct Priced {
    network: String,
    asset: String,
    tariff: Tariff,
}

impl Estimate {
    /// For an offer; none where nothing is paid by use, or the host does not say what use costs.
    pub(crate) fn of(challenge: &Challenge, offer: &Offer<'_>) -> Option<Self> {
        let resource = challenge.resource.as_ref()?;
        let sold: Sold = object(resource.get()).ok()?;
        let asset = offer.asset;
        let is_asked = |it: &Priced| {
            let contract: Option<Address> = it.asset.parse().ok();
            it.network == asset.network.caip2() && contract == Some(asset.address)
        };
        let priced = sold.metered.into_iter().find(is_asked)?;
        offer.method.is_upto().then(|| Self {
            asset: asset.clone(),
            maximum: offer.amount,
            tariff: priced.tariff,
        })
    }

    /// Processor time that it buys where nothing else costs; none where that is free.
    pub fn processor(&self) -> Option<Duration> {
        let bought = self.buys(&self.tariff.processor_hour, HOUR)?;
        Some(Duration::from_micros(bought))
    }

    /// The time for which it buys a GiB of memory where nothing else costs; none where that is free.
    pub fn memory(&self) -> Option<Duration> {
        let bought = self.buys(&self.tariff.memory_gib_hour, HOUR)?;
        Some(Duration::from_micros(bought))
    }

    /// Bytes in and out that it buys where nothing else costs; none where they are free.
    pub fn traffic(&self) -> Option<u64> {
        self.buys(&self.tariff.traffic_gib, 1 << 30)
    }

    /// Bytes of an environment that it buys a day of where nothing else costs; none where they are free.
    pub fn stored(&self) -> Option<u64> {
        self.buys(&self.tariff.stored_gib_day, 1 << 30)
    }

    /// How much it buys of what costs `price` for `unit` of it, once the run itself is paid.
    fn buys(&self, price: &str, unit: u128) -> Option<u64> {
        let base: u128 = self.tariff.base.parse().ok()?;
        let left = self.maximum.parts().saturating_sub(base);
        let bought = left.saturating_mul(unit).checked_div(price.parse().ok()?)?;
        Some(u64::try_from(bought).unwrap_or(u64::MAX))
    }
}

/// Microseconds in an hour.
const HOUR: u128 = 3_600_000_000;

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |amount: &str| match amount.parse() {
            Ok(amount) => self.asset.show(amount),
            Err(_) => "?".to_owned(),
        };
        let Self {
            asset,
            maximum,
            tariff,
        } = self;
        write!(
            f,
            "by use, at most {} on {}: {} for the run",
            asset.show(*maximum),
            asset.network,
            shown(&tariff.base)
        )?;
        let bytes = |bytes| indicatif::BinaryBytes(bytes).to_string();
        let parts = [
            (
                &tariff.processor_hour,
                "an hour of processor time",
                self.processor()
                    .map(|it| format!("{it:.1?} of processor time")),
            ),
            (
                &tariff.memory_gib_hour,
                "a GiB of memory for an hour",
                self.memory()
                    .map(|it| format!("a GiB of memory for {it:.1?}")),
            ),
            (
                &tariff.traffic_gib,
                "a GiB in and out",
                self.traffic().map(|it| format!("{} in and out", bytes(it))),
            ),
            (
                &tariff.stored_gib_day,
                "a GiB that is kept of an environment for a day",
                (self.stored()).map(|it| format!("{} that are kept for a day", bytes(it))),
            ),
        ];
        let mut buys = Vec::new();
        for (price, unit, bought) in parts {
            if let Some(bought) = bought {
                write!(f, ", {} for {unit}", shown(price))?;
                buys.push(bought);
            }
        }
        if !buys.is_empty() {
            write!(f, "; that buys at most {}", buys.join(", or "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::payment::PaymentPolicy;

    fn estimate(metered: &Value, scheme: &str) -> Option<Estimate> {
        let challenge = json!({
            "x402Version": 2,
            "resource": {"url": "https://host.example/", "metered": metered},
            "accepts": [{
                "scheme": scheme, "network": "eip155:84532", "amount": "10000",
                "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
                "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "maxTimeoutSeconds": 60,
                "extra": {
                    "name": "USDC", "version": "2",
                    "facilitatorAddress": "0x3333333333333333333333333333333333333333"
                },
            }],
        });
        let challenge: Challenge = object(&challenge.to_string()).unwrap();
        let policy = PaymentPolicy::new("1".parse().unwrap());
        Estimate::of(&challenge, &policy.choose(&challenge).unwrap())
    }

    fn priced(asset: &str) -> Value {
        json!([
            {"network": "eip155:1", "asset": asset, "tariff": tariff("1")},
            {"network": "eip155:84532", "asset": asset, "tariff": tariff("100")},
        ])
    }

    fn tariff(base: &str) -> Value {
        json!({"base": base, "processor_hour": "500000", "memory_gib_hour": "0", "traffic_gib": "1000000"})
    }

    #[test]
    fn it_says_what_use_costs_and_what_the_maximum_buys() {
        let usdc = "0x036cbd53842c5426634e7929541ec2318f3dcf7e";
        let estimate = estimate(&priced(usdc), "upto").unwrap();
        assert_eq!(estimate.processor(), Some(Duration::from_millis(71_280)));
        assert_eq!(estimate.memory(), None);
        assert_eq!(
            estimate.to_string(),
            "by use, at most 0.01 USDC on base-sepolia: 0.0001 USDC for the run, 0.5 USDC for an hour of processor time, \
             1 USDC for a GiB in and out; that buys at most 71.3s of processor time, or 10.14 MiB in and out"
        );
    }

    #[test]
    fn what_a_host_does_not_say_or_says_wrongly_is_no_estimate() {
        let other = "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238";
        let usdc = "0x036cbd53842c5426634e7929541ec2318f3dcf7e";
        assert_eq!(estimate(&priced(other), "upto"), None);
        assert_eq!(estimate(&priced(usdc), "exact"), None);
        for wrong in [json!(7), json!([{}]), json!([]), Value::Null] {
            assert_eq!(estimate(&wrong, "upto"), None, "{wrong}");
        }
        let mut garbled = priced(usdc);
        garbled[1]["tariff"]["processor_hour"] = "\\u{1b}[2J".into();
        garbled[1]["tariff"]["base"] = "-1".into();
        let text = estimate(&garbled, "upto").unwrap().to_string();
        assert!(text.ends_with("? for the run"), "{text}");
    }
}
