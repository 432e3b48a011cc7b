//! A payment on Solana as the client sent it, and the offer that it is for.

use serde_json::{Map, Value};

use super::offline;
use super::terms::Terms;
use super::transfer::Transfer;
use super::{NETWORKS, is_network};
use crate::api::PaymentId;
use crate::error::{Error, Refusal, code};
use crate::evm;
use crate::header::Version;
use crate::offer::EXACT;
use crate::payload::{accepts, named, object, text};
use crate::ports::Crypto;

/// A transaction that pays. Its signature has not been checked, and it has not been compared with an offer.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The version of the protocol that it is in and is to be answered in.
    pub version: Version,
    /// All of it, for the facilitator.
    pub raw: Map<String, Value>,
    /// What is paid.
    pub transfer: Transfer,
}

impl Payment {
    /// Whether this is what a payment's `payload` holds on Solana.
    pub fn is_in(payload: &Map<String, Value>) -> bool {
        payload.contains_key("transaction") && !payload.contains_key("authorization")
    }

    /// Reads a payment.
    pub fn read(version: Version, raw: Map<String, Value>) -> Result<Self, Refusal> {
        let transfer = Transfer::read(text(object(&raw, "payload")?, "transaction")?)?;
        Ok(Self {
            version,
            raw,
            transfer,
        })
    }

    /// The network that the client says it is on, as CAIP-2.
    fn network(&self) -> Option<&str> {
        let members = match self.version {
            Version::V1 => &self.raw,
            Version::V2 => self.raw.get("accepted")?.as_object()?,
        };
        let network = text(members, "network").ok()?;
        match self.version {
            Version::V1 => {
                let mut known = NETWORKS.iter().filter(|(name, _)| *name == network);
                known.next().map(|(_, network)| *network)
            }
            Version::V2 => is_network(network).then_some(network),
        }
    }

    /// Whether both are one transaction on one network.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.transfer.digest == other.transfer.digest && self.network() == other.network()
    }

    /// The name that it has if it is good for the offer that the client says it is for.
    pub fn id(&self) -> Option<PaymentId> {
        Some(self.id_on(self.network()?))
    }

    fn id_on(&self, network: &str) -> PaymentId {
        PaymentId {
            chain: network.to_owned(),
            asset: self.transfer.mint.to_string(),
            payer: self.transfer.payer.to_string(),
            nonce: evm::text(self.transfer.digest),
        }
    }

    /// The offer that it is good for. The error is a failure of the host's crypto.
    ///
    /// In version 2 the client says which. In version 1 it names scheme and network alone, and the offers on that network differ
    /// in what the transaction must hold.
    pub fn choose<'a>(
        &self,
        terms: &[&'a Terms],
        crypto: &impl Crypto,
    ) -> Result<Result<&'a Terms, Refusal>, Error> {
        let candidates = match self.candidates(terms) {
            Ok(candidates) => candidates,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut refusal = None;
        for candidate in candidates {
            match offline::check(&self.transfer, candidate, crypto).map_err(Error::Crypto)? {
                Ok(()) => return Ok(Ok(candidate)),
                Err(why) => refusal.get_or_insert(why),
            };
        }
        Ok(Err(refusal.unwrap_or_else(not_offered)))
    }

    fn candidates<'a>(&self, terms: &[&'a Terms]) -> Result<Vec<&'a Terms>, Refusal> {
        let is_offered = |name: &dyn Fn(&Terms) -> bool| terms.iter().any(|terms| name(terms));
        let candidates: Vec<&Terms> = match self.version {
            Version::V1 => {
                let name = named(&self.raw, &[EXACT], &|name| {
                    is_offered(&|terms| terms.v1_network() == Some(name))
                })?;
                let on_it = |terms: &&&Terms| terms.v1_network() == Some(name);
                terms.iter().filter(on_it).copied().collect()
            }
            Version::V2 => {
                let accepted = object(&self.raw, "accepted")?;
                named(accepted, &[EXACT], &|name| {
                    is_offered(&|terms| terms.offer.network == name)
                })?;
                let is_it = |terms: &&&Terms| accepts(accepted, terms.v2(), &terms.extra);
                terms.iter().filter(is_it).copied().collect()
            }
        };
        if candidates.is_empty() {
            return Err(not_offered());
        }
        Ok(candidates)
    }

    /// Its name under an offer.
    pub fn id_for(&self, terms: &Terms) -> PaymentId {
        self.id_on(&terms.offer.network)
    }
}

fn not_offered() -> Refusal {
    Refusal::new(
        code::INVALID_REQUIREMENTS,
        "accepted is not one of the offers: send one back as it was received",
    )
}
