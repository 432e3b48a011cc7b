//! The chain as a witness of one payment, whichever chain it is.

use serde_json::Value;

use crate::api::AuthorizedPayment;
use crate::chain::{self, Endpoint, Finding};
use crate::ports::Http;
use crate::settings::Settings;
use crate::{networks, svm};

/// What is looked for.
#[derive(Clone, Debug)]
pub enum Claim {
    /// The use of an authorization.
    Evm(chain::Claim),
    /// A transaction.
    Svm(Box<svm::chain::Claim>),
}

impl Claim {
    /// The transfer of a payment, not made before `since`. `None` if it is not one of this component's.
    pub fn new(payment: &AuthorizedPayment, payload: &Value, since: u64) -> Option<Self> {
        if svm::is_network(&payment.id.chain) {
            let claim = svm::chain::Claim::new(payment, payload, since)?;
            return Some(Self::Svm(Box::new(claim)));
        }
        chain::Claim::new(payment, since).map(Self::Evm)
    }
}

/// An RPC endpoint, and what it is asked for.
pub enum Witness<'a, H> {
    /// On an EVM chain.
    Evm(chain::Rpc<'a, H>, &'a chain::Claim),
    /// On one of Solana's networks.
    Svm(svm::chain::Rpc<'a, H>, &'a svm::chain::Claim),
}

impl<'a, H: Http> Witness<'a, H> {
    /// The endpoint that the operator set for a chain. `None` if there is none.
    pub fn new(
        settings: &'a Settings,
        http: &'a H,
        network: &'a str,
        claim: &'a Claim,
    ) -> Option<Self> {
        let endpoint = Endpoint {
            http,
            url: settings.rpc(network)?,
            timeout_ms: settings.verify_ms,
        };
        let confirmations = settings.confirmations(network);
        Some(match claim {
            Claim::Evm(claim) => {
                let rpc = chain::Rpc {
                    endpoint,
                    chain_id: networks::chain_id(network)?,
                    confirmations,
                };
                Self::Evm(rpc, claim)
            }
            Claim::Svm(claim) => {
                let rpc = svm::chain::Rpc {
                    endpoint,
                    network,
                    is_final: confirmations > 0,
                };
                Self::Svm(rpc, claim)
            }
        })
    }

    /// Finds out what became of the payment. `known` is a transaction that is thought to have made it.
    pub fn find(&self, known: Option<&str>) -> Result<Finding, String> {
        match self {
            Self::Evm(rpc, claim) => chain::find(rpc, claim, known),
            Self::Svm(rpc, claim) => svm::chain::find(rpc, claim, known),
        }
    }

    /// Whether a transaction made the payment; `None` while it is in no block.
    pub fn confirm(&self, transaction: &str) -> Result<Option<bool>, String> {
        match self {
            Self::Evm(rpc, claim) => chain::confirm(rpc, claim, transaction),
            Self::Svm(rpc, claim) => svm::chain::confirm(rpc, claim, transaction),
        }
    }
}
