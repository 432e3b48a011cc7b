//! What a payer is willing to pay, and which offer that is.

use crate::error::{Error, OfferRefusal};
use crate::payment::challenge::{Challenge, Json, Requirements, object};
use crate::payment::{Address, Amount, Asset, Method, Network, Price, cut};

/// Longest validity of an authorization that is signed, seconds.
pub const MAX_VALIDITY_SECONDS: u64 = 3600;

/// What may be paid without asking: a cap on one payment, and in what.
#[derive(Debug, Clone)]
pub struct PaymentPolicy {
    max_price: Price,
    networks: Vec<Network>,
    assets: Vec<Asset>,
}

/// An offer that is within the policy.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) asset: &'a Asset,
    pub(crate) method: Method,
    pub(crate) amount: Amount,
    pub(crate) pay_to: Address,
    pub(crate) validity_seconds: u64,
    /// As the host sent it, for the echo.
    pub(crate) accepted: &'a Json,
}

impl PaymentPolicy {
    /// At most `max_price` for one execution, in any known asset on its network ([`Asset::known`]).
    pub fn new(max_price: Price) -> Self {
        Self {
            max_price,
            networks: Vec::new(),
            assets: Asset::known().collect(),
        }
    }

    /// Allows this network, and of the others only those that are allowed in the same way.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.networks.push(network);
        self
    }

    /// Accepts this asset as well. It replaces what is known of the same contract.
    #[must_use]
    pub fn asset(mut self, asset: Asset) -> Self {
        self.assets.insert(0, asset);
        self
    }

    /// The host's first offer that is within the policy: hosts list what they prefer first.
    pub(crate) fn choose<'a>(&'a self, challenge: &'a Challenge) -> Result<Offer<'a>, Error> {
        let mut refusals = Vec::new();
        for accepted in &challenge.accepts {
            match self.judge(accepted) {
                Ok(offer) => return Ok(offer),
                Err(refusal) => refusals.push(refusal),
            }
        }
        Err(Error::NoAcceptableOffer(refusals))
    }

    fn allows(&self, network: Network) -> bool {
        match self.networks.as_slice() {
            [] => self.assets.iter().any(|asset| asset.network == network),
            networks => networks.contains(&network),
        }
    }

    fn allowed(&self) -> String {
        let mut networks = self.networks.clone();
        if networks.is_empty() {
            networks.extend(self.assets.iter().map(|asset| asset.network));
        }
        networks.sort_unstable();
        networks.dedup();
        let names: Vec<_> = networks.iter().map(Network::to_string).collect();
        names.join(", ")
    }

    fn judge<'a>(&'a self, accepted: &'a Json) -> Result<Offer<'a>, OfferRefusal> {
        let malformed =
            |error: &dyn ToString| OfferRefusal::Malformed(super::printable(&error.to_string()));
        let Requirements {
            scheme,
            network,
            amount,
            asset,
            pay_to,
            max_timeout_seconds,
            extra,
        } = object(accepted.get()).map_err(OfferRefusal::Malformed)?;
        if !["exact", "upto"].contains(&scheme.as_str()) {
            return Err(OfferRefusal::Scheme(cut(&scheme)));
        }
        let chain = Network::from_caip2(&network)
            .filter(|chain| self.allows(*chain))
            .ok_or_else(|| OfferRefusal::Network {
                network: cut(&network),
                allowed: self.allowed(),
            })?;
        let contract: Address = asset.parse().map_err(|error| malformed(&error))?;
        let known = self
            .assets
            .iter()
            .find(|known| known.network == chain && known.address == contract)
            .ok_or_else(|| OfferRefusal::Asset {
                asset: cut(&asset),
                network: chain.to_string(),
            })?;
        // Who is paid first says so; what is signed is the same.
        let flows = ["authorization", "upfront"];
        if let Some(flow) = (extra.payment_flow).filter(|it| !flows.contains(&it.as_str())) {
            return Err(OfferRefusal::Method(cut(&flow)));
        }
        let method = extra.asset_transfer_method.as_deref();
        let method = match (scheme.as_str(), method) {
            ("exact", None | Some("eip3009")) => Method::Eip3009,
            ("exact", Some("permit2")) => Method::Permit2 { facilitator: None },
            ("upto", None | Some("permit2")) => {
                let account = extra.facilitator_address.as_deref();
                let account =
                    account.ok_or_else(|| malformed(&"it names no facilitatorAddress"))?;
                Method::Permit2 {
                    facilitator: Some(account.parse().map_err(|e: Error| malformed(&e))?),
                }
            }
            (_, other) => return Err(OfferRefusal::Method(cut(other.unwrap_or_default()))),
        };
        // For Permit2 its own domain is signed.
        if method == Method::Eip3009
            && (extra.name.as_ref() != Some(&known.name)
                || extra.version.as_ref() != Some(&known.version))
        {
            let shown = |part: Option<String>| {
                part.map_or("nothing".to_owned(), |p| format!("{:?}", cut(&p)))
            };
            return Err(OfferRefusal::Domain {
                symbol: known.symbol.clone(),
                offered: format!("{} version {}", shown(extra.name), shown(extra.version)),
                known: format!("{:?} version {:?}", known.name, known.version),
            });
        }
        if !(1..=MAX_VALIDITY_SECONDS).contains(&max_timeout_seconds) {
            return Err(OfferRefusal::Validity {
                seconds: max_timeout_seconds,
            });
        }
        let pay_to: Address = pay_to.parse().map_err(|error| malformed(&error))?;
        if pay_to.is_zero() {
            return Err(malformed(&"payTo is the zero address"));
        }
        let amount: Amount = amount.parse().map_err(|error| malformed(&error))?;
        if amount > self.max_price.in_parts(known.decimals) {
            return Err(OfferRefusal::AboveCap {
                price: amount.in_units(known.decimals),
                cap: self.max_price.to_string(),
                symbol: known.symbol.clone(),
                network: chain.to_string(),
            });
        }
        Ok(Offer {
            asset: known,
            method,
            amount,
            pay_to,
            validity_seconds: max_timeout_seconds,
            accepted,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn offer() -> Value {
        json!({
            "scheme": "exact", "network": "eip155:84532", "amount": "10000",
            "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
            "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
            "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}
        })
    }

    /// The offer with one member replaced; `/extra/name` and such.
    fn with(pointer: &str, value: Value) -> Value {
        let mut offer = offer();
        *offer.pointer_mut(pointer).unwrap() = value;
        offer
    }

    fn policy(cap: &str) -> PaymentPolicy {
        PaymentPolicy::new(cap.parse().unwrap())
    }

    fn judge(policy: &PaymentPolicy, offer: &Value) -> Result<Amount, OfferRefusal> {
        let raw = serde_json::value::to_raw_value(offer).unwrap();
        policy.judge(&raw).map(|offer| offer.amount)
    }

    #[test]
    fn an_offer_at_the_cap_is_taken_and_one_part_above_is_not() {
        assert_eq!(judge(&policy("0.01"), &offer()), Ok(Amount::new(10_000)));
        let refusal = judge(&policy("0.01"), &with("/amount", json!("10001"))).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "its price is 0.010001 USDC on base-sepolia, above the maximum of 0.01 USDC"
        );
    }

    #[test]
    fn tokens_that_are_not_known_are_refused() {
        let other = json!("0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238");
        let refusal = judge(&policy("1"), &with("/asset", other)).unwrap_err();
        assert!(matches!(refusal, OfferRefusal::Asset { .. }), "{refusal}");
    }

    #[test]
    fn a_known_token_on_another_network_is_not_known_there() {
        let refusal = judge(&policy("1"), &with("/network", json!("eip155:8453"))).unwrap_err();
        assert!(matches!(refusal, OfferRefusal::Asset { .. }), "{refusal}");
    }

    #[test]
    fn networks_are_those_of_known_assets_unless_some_are_named() {
        let unknown = with("/network", json!("eip155:5"));
        let refusal = judge(&policy("1"), &unknown).unwrap_err();
        assert!(matches!(refusal, OfferRefusal::Network { .. }), "{refusal}");
        let base = policy("1").network(Network::new(8453));
        let refusal = judge(&base, &offer()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "its network is \"eip155:84532\", and allowed are base"
        );
        assert!(judge(&base.network(Network::new(84532)), &offer()).is_ok());
    }

    #[test]
    fn other_chains_than_evm_and_names_of_version_1_are_refused() {
        for network in [
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
            "base-sepolia",
            "",
        ] {
            let refusal = judge(&policy("1"), &with("/network", json!(network))).unwrap_err();
            assert!(matches!(refusal, OfferRefusal::Network { .. }), "{refusal}");
        }
    }

    #[test]
    fn the_signing_domain_must_be_the_tokens_own() {
        for (pointer, value) in [
            ("/extra/name", json!("USD Coin")),
            ("/extra/version", json!("1")),
            ("/extra/name", Value::Null),
            ("/extra", json!({})),
        ] {
            let refusal = judge(&policy("1"), &with(pointer, value)).unwrap_err();
            assert!(matches!(refusal, OfferRefusal::Domain { .. }), "{refusal}");
        }
    }

    #[test]
    fn only_signed_authorizations_of_known_schemes_are_given() {
        let refusal = judge(&policy("1"), &with("/scheme", json!("barter"))).unwrap_err();
        assert!(matches!(refusal, OfferRefusal::Scheme(_)), "{refusal}");
        for (member, value) in [
            ("assetTransferMethod", "erc7710"),
            ("paymentFlow", "escrow"),
        ] {
            let mut extra = offer()["extra"].clone();
            extra[member] = json!(value);
            let refusal = judge(&policy("1"), &with("/extra", extra)).unwrap_err();
            assert_eq!(refusal, OfferRefusal::Method(value.to_owned()));
        }
        let mut extra = offer()["extra"].clone();
        extra["assetTransferMethod"] = json!("eip3009");
        extra["paymentFlow"] = json!("authorization");
        extra["unknown"] = json!({"more": [1, 2]});
        assert!(judge(&policy("1"), &with("/extra", extra.clone())).is_ok());
        extra["paymentFlow"] = json!("upfront");
        assert!(judge(&policy("1"), &with("/extra", extra)).is_ok());
    }

    #[test]
    fn an_offer_of_upto_is_taken_at_its_maximum_and_names_who_takes_it() {
        let account = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
        let mut upto = with("/scheme", json!("upto"));
        let refusal = judge(&policy("1"), &upto).unwrap_err().to_string();
        assert!(refusal.contains("facilitatorAddress"), "{refusal}");
        upto["extra"]["facilitatorAddress"] = json!("nobody");
        assert!(judge(&policy("1"), &upto).is_err());
        upto["extra"] = json!({"facilitatorAddress": account});
        assert_eq!(judge(&policy("0.01"), &upto), Ok(Amount::new(10_000)));
        let refusal = judge(&policy("0.009"), &upto).unwrap_err();
        assert!(
            matches!(refusal, OfferRefusal::AboveCap { .. }),
            "{refusal}"
        );
        upto["extra"]["assetTransferMethod"] = json!("eip3009");
        let refusal = judge(&policy("1"), &upto).unwrap_err();
        assert!(matches!(refusal, OfferRefusal::Method(_)), "{refusal}");
        let permit = with("/extra", json!({"assetTransferMethod": "permit2"}));
        assert!(judge(&policy("1"), &permit).is_ok());
    }

    #[test]
    fn an_authorization_is_not_signed_for_longer_than_an_hour() {
        for (seconds, accepted) in [(0, false), (1, true), (3600, true), (3601, false)] {
            let result = judge(&policy("1"), &with("/maxTimeoutSeconds", json!(seconds)));
            assert_eq!(result.is_ok(), accepted, "{seconds}");
        }
    }

    #[test]
    fn malformed_members_are_refused_and_named() {
        for (pointer, value, word) in [
            ("/amount", json!(10000), "string"),
            ("/amount", json!("-1"), "digits"),
            ("/amount", json!("0x10"), "digits"),
            ("/amount", json!("010000"), "leading zeros"),
            ("/amount", json!("9".repeat(78)), "more than any token"),
            (
                "/payTo",
                json!("0x209693Bc6afc0C5328bA36FaF03C514EF312287c"),
                "EIP-55",
            ),
            (
                "/payTo",
                json!("0x0000000000000000000000000000000000000000"),
                "zero address",
            ),
            ("/asset", json!("USDC"), "hex digits"),
            ("/maxTimeoutSeconds", json!("60"), "u64"),
            ("/maxTimeoutSeconds", json!(-1), "u64"),
            ("/extra", json!(7), "Extra"),
            ("/extra", Value::Null, "Extra"),
        ] {
            let refusal = judge(&policy("1"), &with(pointer, value)).unwrap_err();
            let ok = matches!(&refusal, OfferRefusal::Malformed(text) if text.contains(word));
            assert!(ok, "{pointer}: {refusal}");
        }
    }

    #[test]
    fn an_offer_is_an_object_with_all_its_members() {
        for name in [
            "scheme",
            "network",
            "amount",
            "asset",
            "payTo",
            "maxTimeoutSeconds",
        ] {
            let mut offer = offer();
            offer.as_object_mut().unwrap().remove(name);
            let refusal = judge(&policy("1"), &offer).unwrap_err().to_string();
            assert!(refusal.contains(name), "{refusal}");
        }
        for other in [json!([]), json!("exact"), Value::Null] {
            let refusal = judge(&policy("1"), &other).unwrap_err().to_string();
            assert!(refusal.contains("not a JSON object"), "{refusal}");
        }
    }

    #[test]
    fn an_asset_given_by_hand_counts_and_replaces_what_is_known() {
        let address = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
        let asset: Asset = format!("base-sepolia/{address}:2:Other:1").parse().unwrap();
        let policy = policy("1").asset(asset);
        let refusal = judge(&policy, &offer()).unwrap_err();
        assert!(matches!(refusal, OfferRefusal::Domain { .. }), "{refusal}");
        let other = with("/extra", json!({"name": "Other", "version": "1"}));
        let refusal = judge(&policy, &other).unwrap_err();
        assert!(refusal.to_string().contains("100 Other"), "{refusal}");
    }

    proptest! {
        #[test]
        fn no_offer_above_the_cap_is_taken(parts: u64, cap in 0_u64..1_000_000_000_000) {
            let policy = policy(&Amount::new(cap.into()).in_units(6));
            let result = judge(&policy, &with("/amount", json!(parts.to_string())));
            prop_assert_eq!(result.is_ok(), parts <= cap);
        }

        #[test]
        fn any_offer_is_judged(pointer in prop::sample::select(vec![
            "/scheme", "/network", "/amount", "/asset", "/payTo", "/maxTimeoutSeconds", "/extra", "/extra/name",
        ]), text in ".{0,60}", number: f64, kind in 0..4) {
            let value = match kind {
                0 => json!(text),
                1 => json!(number),
                2 => json!([text]),
                _ => json!({ text: number }),
            };
            let _ = judge(&policy("1"), &with(pointer, value));
        }
    }
}
