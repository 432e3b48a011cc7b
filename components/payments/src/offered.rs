//! The operator's offers, on whatever chains.

use serde_json::Value;

use crate::api::Offer;
use crate::error::Error;
use crate::offer::{self, Resource, Terms};
use crate::svm;

/// An offer that can be used.
#[derive(Clone, Debug)]
pub enum Offered {
    /// On an EVM chain.
    Evm(Terms),
    /// On one of Solana's networks.
    Svm(svm::terms::Terms),
}

/// Checks offers. The error says which one cannot be used, and why.
pub fn check(offers: &[Offer]) -> Result<Vec<Offered>, Error> {
    offer::check_each(offers, |offer| {
        if offer.network.starts_with(svm::NAMESPACE) {
            svm::terms::Terms::read(offer).map(Offered::Svm)
        } else {
            offer::terms(offer).map(Offered::Evm)
        }
    })
}

/// Those on EVM chains.
pub fn evm(offered: &[Offered]) -> Vec<Terms> {
    let evm = offered.iter().filter_map(|offered| match offered {
        Offered::Evm(terms) => Some(terms.clone()),
        Offered::Svm(_) => None,
    });
    evm.collect()
}

/// Those on Solana's networks.
pub fn svm(offered: &[Offered]) -> Vec<&svm::terms::Terms> {
    let svm = offered.iter().filter_map(|offered| match offered {
        Offered::Evm(_) => None,
        Offered::Svm(terms) => Some(terms),
    });
    svm.collect()
}

impl Offered {
    /// As the operator wrote it.
    pub fn offer(&self) -> &Offer {
        match self {
            Self::Evm(terms) => &terms.offer,
            Self::Svm(terms) => &terms.offer,
        }
    }

    /// `PaymentRequirements` of version 2.
    pub fn v2(&self) -> Value {
        match self {
            Self::Evm(terms) => terms.v2(),
            Self::Svm(terms) => terms.v2(),
        }
    }

    /// `PaymentRequirements` of version 1. `None` for a chain that has no name in it.
    pub fn v1(&self, resource: &Resource) -> Option<Value> {
        match self {
            // What it is transferred by may be none of version 1's.
            Self::Evm(terms) => {
                terms.v1_network()?;
                offer::v1(&terms.offer, &terms.extra, resource)
            }
            Self::Svm(terms) => offer::v1(&terms.offer, &terms.extra, resource),
        }
    }
}
