//! What can go wrong between a client and a host.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hypervisor_protocol::{Exit, Problem, ProblemType};
use reqwest::header::{CONTENT_TYPE, HeaderValue};

use crate::attestation::Refusal;
use crate::client::Answer;
use crate::ending::ending;
use crate::payment::{Authorization, PAYMENT_REQUIRED, PaymentReceipt};

/// Why a request gave no execution.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's address is not one.
    #[error("`{url}` is not a server address: {reason}; give one such as http://127.0.0.1:8080")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host could not be reached, or the connection broke.
    #[error("cannot reach {server}: {}", chain(source))]
    Transport {
        /// The server's address.
        server: String,
        /// What the HTTP client said.
        source: reqwest::Error,
    },
    /// The host went silent.
    #[error("{server} sent nothing for {} s", after.as_secs())]
    Stalled {
        /// The server's address.
        server: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The host's answer is larger than what is taken.
    #[error(
        "the answer of {server} is larger than the {maximum} bytes that are taken for it; have the program write less"
    )]
    AnswerTooLarge {
        /// The server's address.
        server: String,
        /// Most that is taken.
        maximum: usize,
    },
    /// The host refused the request.
    #[error("the host refused the request ({}): {}{}", .0.title, .0.detail, request_id(.0))]
    Refused(Box<Problem>),
    /// The host answered with something that is not its API's.
    #[error("unexpected answer with status {status} from {server}; is it a host of this API?")]
    Unexpected {
        /// The server's address.
        server: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer failed verification: do not use it.
    #[error("verification failed: {0}")]
    Verification(hypervisor_protocol::Error),
    /// What the host attests is not what the policy wants, or not of this exchange: rely on nothing of it.
    #[error("{0}")]
    Attestation(Box<Refusal>),
    /// The host's audit trail is not what it has to be: rely on nothing that the host says of its past.
    #[error("the audit trail is refused: {0}")]
    Audit(hypervisor_tlog::Error),
    /// There is no nonce to ask for evidence with. Nothing was sent.
    #[error("cannot make a nonce: {reason}; nothing was sent")]
    Nonce {
        /// What is missing.
        reason: String,
    },
    /// The protocol failed on this side.
    #[error(transparent)]
    Protocol(hypervisor_protocol::Error),
    /// A price, network, asset, address or agent that was given is not one.
    #[error("`{text}` is not {what}: {reason}")]
    Setting {
        /// What it should be, with an article.
        what: &'static str,
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host did not do what was asked about an agent, or the agent gave no response. How it ended came sealed.
    #[error("{}", ended(.0))]
    Agent(Box<Exit>),
    /// The host did not do what was asked about an environment. How it ended came sealed.
    #[error("{}", ended(.0))]
    Environment(Box<Exit>),
    /// An answer is authentic, and not what it should be.
    #[error("the host's answer is not {what}: {reason}")]
    Answer {
        /// What it should be, with an article.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A request can not be passed on to an agent. Nothing was sent.
    #[error("the request cannot be sent to an agent: {reason}")]
    Request {
        /// What is wrong with it.
        reason: String,
    },
    /// An owner's key can not be used, or not be kept. The text never holds any part of the key.
    #[error("the owner's key in {} cannot be used: {reason}", path.display())]
    OwnerKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The host asks for payment, and there is no payer. Nothing was paid.
    #[error("the host asks for payment for this, and nobody is to pay; nothing was paid")]
    PaymentDemanded(Box<Demand>),
    /// The key that should pay can not be used. The text never holds any part of the key.
    #[error(
        "the payer's key cannot be used: {reason}; it is 32 bytes as 64 hex digits, with or without 0x"
    )]
    Wallet {
        /// What is wrong with it.
        reason: String,
    },
    /// The host's demand for payment is not x402 version 2, or is malformed. Nothing was paid.
    #[error("cannot read the host's demand for payment: {reason}; nothing was paid")]
    Challenge {
        /// What is wrong with it.
        reason: String,
    },
    /// None of the host's offers is within the payer's policy. Nothing was paid.
    #[error("nothing was paid: {}", offers(.0))]
    NoAcceptableOffer(Vec<OfferRefusal>),
    /// The host, or its facilitator, refused the payment: by its word nothing was charged.
    #[error("the host refused the payment: {}", crate::payment::in_words(.reason))]
    PaymentRefused {
        /// As the host gave it.
        reason: String,
    },
    /// A payment was sent and then no usable answer came. Never sign another one before looking for this one.
    #[error(
        "{source}; the payment may have been made: {authorization}; look for it in the token's transfers before you run this again"
    )]
    PaymentUncertain {
        /// What was signed and sent.
        authorization: Box<Authorization>,
        /// What went wrong after that.
        source: Box<Error>,
    },
    /// The payment was made, by the host's word, and the host no longer has the answer.
    #[error(
        "{source}; it was paid for in transaction {}: {}",
        receipt.transaction,
        receipt.authorization
    )]
    PaidWithoutAnswer {
        /// What was paid.
        receipt: Box<PaymentReceipt>,
        /// What the host said.
        source: Box<Error>,
    },
    /// No randomness, or no clock, to sign a payment with. Nothing was paid.
    #[error("cannot sign a payment: {reason}; nothing was paid")]
    Signing {
        /// What is missing.
        reason: String,
    },
}

/// A host's demand for payment as it came: what a client of x402 needs to pay it. Nothing of it is verified.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    /// The header PAYMENT-REQUIRED of x402 version 2.
    pub header: Option<HeaderValue>,
    /// The media type of the body.
    pub content_type: Option<HeaderValue>,
    /// The body, at most 1 MiB.
    pub body: Bytes,
}

impl Demand {
    pub(crate) fn of(answer: &Answer) -> Self {
        Self {
            header: answer.headers.get(PAYMENT_REQUIRED).cloned(),
            content_type: answer.headers.get(CONTENT_TYPE).cloned(),
            body: answer.body.clone(),
        }
    }
}

/// Why one offer of a host was not taken. Text of the host is quoted and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferRefusal {
    /// It is not what x402 says an offer is.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// Only `exact` and `upto` are supported.
    #[error("its scheme is {0:?}, and only \"exact\" and \"upto\" are supported")]
    Scheme(String),
    /// The network is not among those that are known or allowed.
    #[error("its network is {network:?}, and allowed are {allowed}")]
    Network {
        /// As offered.
        network: String,
        /// The policy's, joined by commas.
        allowed: String,
    },
    /// The token is not known on that network.
    #[error("its asset {asset:?} is not a known one on {network}")]
    Asset {
        /// As offered.
        asset: String,
        /// The network's name.
        network: String,
    },
    /// The offer's EIP-712 domain is not the token's own.
    #[error("it says that {symbol} signs as {offered}, and it signs as {known}")]
    Domain {
        /// The asset's symbol.
        symbol: String,
        /// Name and version in the offer.
        offered: String,
        /// Name and version of the token.
        known: String,
    },
    /// It wants something other than a signed authorization by EIP-3009 or for Permit2.
    #[error("it asks for {0:?}, and only authorizations by EIP-3009 and for Permit2 are supported")]
    Method(String),
    /// The authorization would be valid for too long, or not at all.
    #[error(
        "its authorization would be valid for {seconds} s, and allowed is 1 to {} s",
        crate::payment::MAX_VALIDITY_SECONDS
    )]
    Validity {
        /// As offered.
        seconds: u64,
    },
    /// It is too expensive.
    #[error("its price is {price} {symbol} on {network}, above the maximum of {cap} {symbol}")]
    AboveCap {
        /// Price in units of the asset.
        price: String,
        /// The policy's cap in units of the asset.
        cap: String,
        /// The asset's symbol.
        symbol: String,
        /// The network's name.
        network: String,
    },
}

impl Error {
    /// Whether the answer was received and found not to be authentic, or the host has nothing to prove it with.
    pub fn is_verification_failure(&self) -> bool {
        match self {
            Self::Verification(_) | Self::Attestation(_) | Self::Audit(_) => true,
            Self::Refused(problem) => {
                problem.problem_type() == Some(ProblemType::AttestationUnavailable)
            }
            Self::PaymentUncertain { source, .. } => source.is_verification_failure(),
            _ => false,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Attestation(Box::new(refusal))
    }
}

fn ended(exit: &Exit) -> String {
    ending(exit).unwrap_or_else(|| match exit {
        Exit::Code { code } => format!("it exited with code {code}"),
        _ => "it ended without an answer".to_owned(),
    })
}

fn request_id(problem: &Problem) -> String {
    problem
        .request_id
        .as_ref()
        .map(|id| format!(" [request {id}]"))
        .unwrap_or_default()
}

fn offers(refusals: &[OfferRefusal]) -> String {
    match refusals {
        [only] => format!("the host's offer is not acceptable: {only}"),
        several => {
            let reasons = several
                .iter()
                .zip(1..)
                .map(|(refusal, number)| format!("offer {number}: {refusal}"));
            format!(
                "none of the host's {} offers is acceptable: {}",
                several.len(),
                reasons.collect::<Vec<_>>().join("; ")
            )
        }
    }
}

/// An HTTP client's error says little without its causes.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
