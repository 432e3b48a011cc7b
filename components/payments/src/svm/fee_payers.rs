//! Whom the facilitator pays the fee with, by network: the operator's setting `FEE_PAYERS`.
//!
//! A facilitator says it under `extra.feePayer` in its answer of `/supported`. It is not asked here: offers are made without I/O, and
//! a facilitator with several keys names one of them at random.

use super::is_network;
use super::key::Key;
use crate::error::Error;
use crate::networks;

/// The variable.
pub const VARIABLE: &str = "FEE_PAYERS";

/// The fee payers, by CAIP-2 identifier.
#[derive(Clone, Debug, Default)]
pub struct FeePayers(Vec<(String, Key)>);

impl FeePayers {
    /// Reads the process's environment.
    pub fn from_environment() -> Result<Self, Error> {
        Self::read(&std::env::var(VARIABLE).unwrap_or_default())
    }

    /// Reads pairs `NETWORK=ADDRESS` apart by spaces.
    pub fn read(text: &str) -> Result<Self, Error> {
        let pairs = text.split_whitespace().map(|pair| {
            let (network, address) = pair.split_once('=')?;
            let network = networks::identifier(network).ok()?;
            let is_good = is_network(&network);
            Key::parse(address)
                .filter(|_| is_good)
                .map(|key| (network, key))
        });
        let pairs = pairs.collect::<Option<_>>();
        pairs.map(Self).ok_or_else(|| Error::Setting {
            variable: VARIABLE,
            problem: "a pair is NETWORK=ADDRESS, for example solana=2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"
                .to_owned(),
        })
    }

    /// The fee payer on a network.
    pub fn on(&self, network: &str) -> Result<&Key, String> {
        let found = self.0.iter().find(|(known, _)| known == network);
        found.map(|(_, key)| key).ok_or_else(|| {
            format!(
                "{network} has no fee payer: set {VARIABLE} in [payments.settings] to the facilitator's, which its /supported names"
            )
        })
    }
}
