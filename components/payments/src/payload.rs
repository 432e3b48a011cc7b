//! A payment as the client sent it, and the offer that it is for.

use alloy_primitives::{Address, U256};
use serde_json::{Map, Value};

use crate::api::PaymentId;
use crate::contract::Authorization;
use crate::error::{Refusal, code};
use crate::header::Version;
use crate::json;
use crate::offer::{EXACT, Terms};
use crate::{evm, networks, permit2};

/// A well-formed payment. Nothing in it has been checked against anything.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The version of the protocol that it is in and is to be answered in.
    pub version: Version,
    /// All of it, for the facilitator.
    pub raw: Map<String, Value>,
    /// What the payer signed.
    pub authorization: Authorization,
    /// The signature, of any length.
    pub signature: Vec<u8>,
}

/// Reads a payment on an EVM chain.
pub fn payment(version: Version, raw: Map<String, Value>) -> Result<Payment, Refusal> {
    let payload = object(&raw, "payload")?;
    let has = |key| payload.contains_key(key);
    let authorization = match (has("authorization"), has("permit2Authorization")) {
        (true, false) => authorization(object(payload, "authorization")?)?,
        (false, true) => permit2::read(object(payload, "permit2Authorization")?)?,
        _ => {
            return Err(Refusal::malformed(
                "payload has neither authorization (EIP-3009) nor permit2Authorization alone",
            ));
        }
    };
    let signature = evm::any_bytes(text(payload, "signature")?)
        .ok_or_else(|| Refusal::malformed("signature is not hexadecimal with 0x"))?;
    Ok(Payment {
        version,
        authorization,
        signature,
        raw,
    })
}

/// Whether the JSON says that it is of the version that its header is of.
pub fn check_version(version: Version, raw: &Map<String, Value>) -> Result<(), Refusal> {
    match raw.get("x402Version").map(Value::as_u64) {
        Some(Some(number)) if number == version.number() => Ok(()),
        Some(Some(_)) => Err(Refusal::new(
            code::INVALID_VERSION,
            "x402Version is 2 in payment-signature and 1 in x-payment",
        )),
        _ => Err(Refusal::malformed("x402Version is not a number")),
    }
}

fn authorization(members: &Map<String, Value>) -> Result<Authorization, Refusal> {
    Ok(Authorization {
        from: owner(members, "from")?,
        to: owner(members, "to")?,
        value: number(members, "value")?,
        valid_after: number(members, "validAfter")?,
        valid_before: number(members, "validBefore")?,
        nonce: evm::word(text(members, "nonce")?).ok_or_else(|| {
            Refusal::malformed("nonce is not 32 bytes: 0x and 64 hexadecimal digits")
        })?,
        permit: None,
    })
}

/// The address under `key`.
pub fn owner(members: &Map<String, Value>, key: &'static str) -> Result<Address, Refusal> {
    evm::address(text(members, key)?).ok_or_else(|| {
        Refusal::malformed(format!(
            "{key} is not an address: 0x and 40 hexadecimal digits"
        ))
    })
}

/// The number under `key`.
pub fn number(members: &Map<String, Value>, key: &'static str) -> Result<U256, Refusal> {
    evm::amount(text(members, key)?).ok_or_else(|| {
        Refusal::malformed(format!(
            "{key} is not a decimal number of at most 256 bits without sign or leading zeros"
        ))
    })
}

/// The object under `key`.
pub fn object<'a>(
    members: &'a Map<String, Value>,
    key: &'static str,
) -> Result<&'a Map<String, Value>, Refusal> {
    members
        .get(key)
        .and_then(Value::as_object)
        .ok_or_else(|| Refusal::malformed(format!("{key} is not an object")))
}

/// The text under `key`.
pub fn text<'a>(members: &'a Map<String, Value>, key: &'static str) -> Result<&'a str, Refusal> {
    json::optional_text(members, key)
        .ok()
        .flatten()
        .ok_or_else(|| Refusal::malformed(format!("{key} is not a string")))
}

impl Payment {
    /// The reason code for the way in which it is authorized.
    pub fn word(&self, eip3009: &'static str, permit2: &'static str) -> &'static str {
        match self.authorization.permit {
            None => eip3009,
            Some(_) => permit2,
        }
    }

    /// The instant from which on it can no longer be settled; none where that does not fit 64 bits.
    pub fn ends(&self) -> Option<u64> {
        let last = u64::try_from(self.authorization.valid_before).ok()?;
        // Permit2 still takes it in the second of its deadline.
        match self.authorization.permit {
            None => Some(last),
            Some(_) => last.checked_add(1),
        }
    }

    /// The name that the payment has if it is good for the offer that the client says it is for.
    ///
    /// `None` for a payment of version 1, which does not say in which asset it pays: see [`crate::verify::identify`].
    pub fn id(&self) -> Option<PaymentId> {
        if self.version == Version::V1 {
            return None;
        }
        let accepted = self.raw.get("accepted")?.as_object()?;
        let chain = text(accepted, "network").ok()?;
        networks::chain_id(chain)?;
        let asset = evm::address(text(accepted, "asset").ok()?)?;
        Some(self.id_for(chain, asset))
    }

    /// Whether this payment, of version 2, and one of version 1 are the same.
    pub fn agrees_with(&self, v1: &Payment) -> bool {
        let chain = self
            .raw
            .get("accepted")
            .and_then(|accepted| accepted.get("network")?.as_str());
        let name = chain
            .and_then(networks::chain_id)
            .and_then(networks::v1_name);
        v1.authorization == self.authorization
            && v1.signature == self.signature
            && v1.raw.get("network").and_then(Value::as_str) == name
    }

    /// The name that the payment has if it is in this asset.
    pub fn id_for(&self, chain: &str, asset: Address) -> PaymentId {
        PaymentId {
            chain: chain.to_owned(),
            asset: evm::text(asset),
            payer: evm::text(self.authorization.from),
            nonce: match self.authorization.permit {
                None => evm::text(self.authorization.nonce),
                Some(_) => permit2::name(self.authorization.nonce),
            },
        }
    }

    /// The offers that it may be for; at least one.
    ///
    /// In version 2 the client says which. In version 1 it names scheme and network alone, and the offers on that network
    /// differ in what the authorization must hold.
    pub fn candidates<'a>(&self, terms: &'a [Terms]) -> Result<Vec<&'a Terms>, Refusal> {
        match self.version {
            Version::V1 => {
                let network = named(&self.raw, &[EXACT], &|network| {
                    terms
                        .iter()
                        .any(|terms| terms.v1_network() == Some(network))
                })?;
                Ok(terms
                    .iter()
                    .filter(|terms| terms.v1_network() == Some(network))
                    .collect())
            }
            Version::V2 => {
                let accepted = object(&self.raw, "accepted")?;
                let schemes: Vec<&str> = terms.iter().map(|it| it.offer.scheme.as_str()).collect();
                let network = named(accepted, &schemes, &|network| {
                    terms.iter().any(|terms| terms.offer.network == network)
                })?;
                let offered = terms
                    .iter()
                    .find(|terms| accepts(accepted, terms.v2(), &terms.extra))
                    .ok_or_else(|| {
                        let same_asset = terms.iter().any(|terms| {
                            terms.offer.network == network
                                && accepted.get("asset") == Some(&terms.offer.asset.clone().into())
                        });
                        Refusal::new(
                            code::INVALID_REQUIREMENTS,
                            if same_asset {
                                "accepted is not one of the offers: send one back as it was received"
                            } else {
                                "the asset is not one that was offered on this network"
                            },
                        )
                    })?;
                Ok(vec![offered])
            }
        }
    }
}

/// Checks the scheme, and the network by `offered`; returns the network.
pub fn named<'a>(
    members: &'a Map<String, Value>,
    schemes: &[&str],
    offered: &dyn Fn(&str) -> bool,
) -> Result<&'a str, Refusal> {
    if !schemes.contains(&text(members, "scheme")?) {
        return Err(Refusal::new(
            code::UNSUPPORTED_SCHEME,
            "the scheme is not one that was offered",
        ));
    }
    let network = text(members, "network")?;
    if !offered(network) {
        return Err(Refusal::new(
            code::INVALID_NETWORK,
            "the network is not one that was offered",
        ));
    }
    Ok(network)
}

/// What the client accepted is this offer: equal in all, but that its `extra` may hold more (@x402/core,
/// `findMatchingRequirements`).
pub fn accepts(
    accepted: &Map<String, Value>,
    offered: Value,
    offered_extra: &Map<String, Value>,
) -> bool {
    let Value::Object(mut offered) = offered else {
        return false;
    };
    offered.remove("extra");
    let mut rest = accepted.clone();
    let Some(Value::Object(extra)) = rest.remove("extra") else {
        return false;
    };
    rest == offered
        && offered_extra
            .iter()
            .all(|(key, value)| extra.get(key) == Some(value))
}
