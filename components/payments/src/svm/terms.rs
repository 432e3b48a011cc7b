//! An offer on one of Solana's networks, checked.

use serde_json::{Map, Value};

use super::key::Key;
use super::{NETWORKS, is_network};
use crate::api::Offer;
use crate::evm;
use crate::json::optional_text;
use crate::offer::{self, EXACT, shortened};

/// An offer that can be used.
#[derive(Clone, Debug)]
pub struct Terms {
    /// As the operator wrote it.
    pub offer: Offer,
    /// The token.
    pub mint: Key,
    /// The price.
    pub amount: u64,
    /// Whose wallet is paid.
    pub pay_to: Key,
    /// Whom the facilitator pays the fee with.
    pub fee_payer: Key,
    /// All of the offer's `extra`.
    pub extra: Map<String, Value>,
}

impl Terms {
    /// Checks an offer.
    pub fn read(offer: &Offer) -> Result<Self, String> {
        if offer.scheme != EXACT {
            return Err(format!(
                "the scheme {:?} is not supported: use exact",
                shortened(&offer.scheme)
            ));
        }
        if !is_network(&offer.network) {
            let known = NETWORKS.map(|(name, _)| name).join(", ");
            return Err(format!(
                "the network {:?} is not one of Solana's, which are {known}",
                shortened(&offer.network)
            ));
        }
        let key = |name: &str, text: &str| {
            Key::parse(text).ok_or_else(|| {
                format!(
                    "{name} {:?} is not a Solana address: 32 bytes in base58",
                    shortened(text)
                )
            })
        };
        let amount = evm::amount(&offer.amount).and_then(|amount| u64::try_from(amount).ok());
        let extra = offer::extra(offer.extra.as_deref())?;
        let known = ["feePayer", "paymentFlow"];
        if let Some(other) = extra.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("extra {:?} is not supported", shortened(other)));
        }
        offer::check_flow(&extra)?;
        let fee_payer = optional_text(&extra, "feePayer")
            .ok()
            .flatten()
            .unwrap_or_default();
        offer::check_timeout(offer)?;
        Ok(Self {
            mint: key("asset", &offer.asset)?,
            pay_to: key("pay-to", &offer.pay_to)?,
            fee_payer: key("the fee payer", fee_payer)?,
            amount: amount.ok_or_else(|| {
                format!(
                    "amount {:?} is not a decimal number of at most 64 bits without leading zeros",
                    shortened(&offer.amount)
                )
            })?,
            offer: offer.clone(),
            extra,
        })
    }

    /// The name of the network in version 1.
    pub fn v1_network(&self) -> Option<&'static str> {
        crate::networks::v1_name_of(&self.offer.network)
    }

    /// `PaymentRequirements` of version 2.
    pub fn v2(&self) -> Value {
        offer::v2(&self.offer, &self.extra)
    }
}

/// The `extra` of an offer.
pub fn extra(fee_payer: &Key) -> Map<String, Value> {
    Map::from_iter([("feePayer".to_owned(), fee_payer.to_string().into())])
}
