//! What is known of a payment.

use hypervisor_protocol::HexBytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names and values of header fields.
pub type Fields = Vec<(String, String)>;

/// What a payment is found by: SHA-256 over its id, each part with its length.
pub type Key = [u8; 32];

/// What names a payment, on its chain and anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentId {
    /// The network, as the payment component names it.
    pub chain: String,
    /// The token.
    pub asset: String,
    /// Who pays.
    pub payer: String,
    /// What makes it the only one of its payer's.
    pub nonce: String,
}

/// The key of a payment.
pub fn key(id: &PaymentId) -> Key {
    digest(&[&id.chain, &id.asset, &id.payer, &id.nonce])
}

impl PaymentId {
    /// What all payments of one payer in one token have in common.
    pub(crate) fn purse(&self) -> [u8; 32] {
        digest(&[&self.chain, &self.asset, &self.payer])
    }
}

/// SHA-256 over parts, each with its length.
pub fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What a request is found by for the account that paid for it.
pub(crate) fn buyer((chain, payer): (&str, &str), request: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(digest(&["buyer", chain, payer]));
    hash.chain_update(request).finalize().into()
}

/// A payment that its payer authorized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// What names it.
    pub id: PaymentId,
    /// How much, in the token's smallest unit.
    pub amount: String,
    /// Who is paid.
    pub pay_to: String,
    /// When it can no longer be settled, Unix seconds.
    pub valid_before: u64,
    /// What it is settled and asked about with: a bearer instrument until it is settled.
    pub state: Vec<u8>,
}

/// How far a payment has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Set aside for a request that is running; nothing was submitted.
    Reserved,
    /// It is being settled: after a crash in this state nobody knows whether it was.
    Settling,
    /// Nobody knows whether it was settled.
    Unknown,
    /// It was settled; the headers tell the client.
    Settled {
        /// The transaction on the chain.
        transaction: String,
        /// Names and values of the response headers that tell the client.
        headers: Fields,
        /// The program has run, so that an answer that is not there is lost.
        ran: bool,
    },
}

/// What a payment is brought for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// SHA-256 of its route and of the words in which the payment was brought: one that was settled and for which nothing has
    /// run is good for any request with the same.
    pub scope: [u8; 32],
    /// Only who made it has it, and only they can read the answer: it proves by itself whose answer is asked for.
    pub is_secret: bool,
    /// SHA-256 of the account that pays and of the name that the client gave the purchase; what goes by one is bought once.
    pub name: Option<[u8; 32]>,
}

impl Request {
    /// What the payment of an earlier one is found by, where this one comes with another payment or none.
    pub(crate) fn names(&self) -> impl Iterator<Item = [u8; 32]> {
        let own = self.is_secret.then_some(self.digest);
        own.into_iter().chain(self.name)
    }
}

/// What is kept of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How far it has come.
    pub state: State,
    /// SHA-256 of the request that it pays for.
    pub request: [u8; 32],
    /// When it was reserved, Unix seconds.
    pub created: u64,
    /// The payment.
    pub payment: Payment,
    /// [`Request::scope`]; none in records of earlier versions.
    #[serde(default)]
    pub scope: Option<[u8; 32]>,
    /// [`Request::is_secret`].
    #[serde(default)]
    pub is_secret: bool,
    /// [`Request::name`].
    #[serde(default)]
    pub name: Option<[u8; 32]>,
}

impl Record {
    /// Of a payment that is set aside at the time `created`.
    pub fn new(payment: Payment, request: Request, created: u64) -> Self {
        Self {
            state: State::Reserved,
            request: request.digest,
            created,
            payment,
            scope: Some(request.scope),
            is_secret: request.is_secret,
            name: request.name,
        }
    }

    /// [`Request::names`].
    pub(crate) fn names(&self) -> impl Iterator<Item = [u8; 32]> {
        let own = self.is_secret.then_some(self.request);
        own.into_iter().chain(self.name)
    }

    /// What settled it.
    pub(crate) fn transaction(&self) -> Option<&str> {
        match &self.state {
            State::Settled { transaction, .. } => Some(transaction),
            _ => None,
        }
    }

    /// What its payer finds it by; a secret request is found by itself.
    pub(crate) fn buyer(&self) -> Option<[u8; 32]> {
        let id = &self.payment.id;
        (!self.is_secret).then(|| buyer((&id.chain, &id.payer), &self.request))
    }
}

/// What became of a settlement.
#[derive(Debug)]
pub enum Outcome {
    /// The money moved.
    Settled {
        /// The transaction on the chain.
        transaction: String,
        /// The response headers that tell the client.
        headers: Fields,
    },
    /// It did not, and will not.
    Failed {
        /// The response headers that tell the client.
        headers: Fields,
    },
    /// Nobody knows; the payment with all that is known.
    Unknown(Box<Payment>),
}

/// The answer to a paid request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The media type: that of a sealed answer tells that only its client can open it.
    pub media_type: String,
    /// The body.
    pub body: HexBytes,
}
