//! Why a call was not answered, in the terms of the problem and not of HTTP.
//!
//! A refusal is visible to everyone on the path and in front of decryption, so its words come from the request's form and
//! the host's state, never from a program, an argument or a result.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hypervisor_account::Full;
use hypervisor_protocol::{Error, LimitKind, ProblemType};

use crate::attestation::EvidenceError;
use crate::executor::{ChallengeResponse, PrepareError};
use crate::fleet::Tag;
use crate::payments::{LedgerError, PaymentFault};

/// Header fields, as a payment component gives them.
pub(crate) type Fields = Vec<(String, String)>;

/// Why a call was not answered.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// Something is wrong with the request or the host.
    Problem(Box<Problem>),
    /// It has to be paid for: the payment component's own words, and further fields.
    Challenge(Box<ChallengeResponse>, Fields),
}

/// What is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemType,
    pub(crate) detail: String,
    /// What only the log may know.
    pub(crate) cause: Option<String>,
    /// The receipt of a payment.
    pub(crate) fields: Fields,
    /// Further members of the problem.
    pub(crate) members: Vec<(&'static str, serde_json::Value)>,
    /// Who may have the session that is not known here.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// A request of a session that another node may have opened.
#[derive(Clone)]
pub(crate) struct Elsewhere {
    tag: Tag,
    /// As it was received; in the account until it is gone.
    body: Bytes,
}

impl Elsewhere {
    pub(crate) fn into_parts(self) -> (Tag, Bytes) {
        (self.tag, self.body)
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Elsewhere({})", self.tag)
    }
}

impl Refusal {
    pub(crate) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem {
            kind,
            detail: detail.into(),
            cause: None,
            fields: Vec::new(),
            members: Vec::new(),
            elsewhere: None,
        }))
    }

    /// With the node that may have the session, and the body that it would get.
    pub(crate) fn with_elsewhere(mut self, tag: Tag, body: Bytes) -> Self {
        if let Self::Problem(problem) = &mut self {
            problem.elsewhere = Some(Elsewhere { tag, body });
        }
        self
    }

    /// Whom to ask in this host's place.
    pub(crate) fn take_elsewhere(&mut self) -> Option<Elsewhere> {
        match self {
            Self::Problem(problem) => problem.elsewhere.take(),
            Self::Challenge(..) => None,
        }
    }

    /// With the receipt of a payment that was made for what is refused.
    pub(crate) fn with_fields(mut self, fields: Fields) -> Self {
        match &mut self {
            Self::Problem(problem) => problem.fields = fields,
            Self::Challenge(_, more) => *more = fields,
        }
        self
    }

    /// The type of the problem, or that it has to be paid for.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Problem(problem) => problem.kind.name(),
            Self::Challenge(..) => "payment-required",
        }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::MalformedRequest, detail)
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        Self::new(
            ProblemType::BodyTooLarge,
            format!("the body is over the limit of {limit} bytes"),
        )
    }

    pub(crate) fn overloaded() -> Self {
        Self::new(
            ProblemType::Overloaded,
            "the host is at its limit of work in progress; try again later",
        )
    }

    pub(crate) fn receive_timeout(allowed: Duration) -> Self {
        Self::new(
            ProblemType::RequestTimeout,
            format!("the body did not arrive within {} s", allowed.as_secs_f64()),
        )
    }

    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(
            ProblemType::UnsupportedMediaType,
            "send application/json or application/cbor",
        )
    }

    pub(crate) fn no_agent() -> Self {
        Self::new(
            ProblemType::AgentNotFound,
            "there is no such agent, or none that this caller may know of; GET /agents lists the public ones",
        )
    }

    /// An agent was stopped before it answered.
    pub(crate) fn agent_limit(which: LimitKind, used: u64, allowed: u64) -> Self {
        let which = serde_json::to_value(which).unwrap_or_default();
        let name = which.as_str().unwrap_or_default();
        let detail = format!("the agent was stopped at its limit `{name}`");
        let mut refusal = Self::new(ProblemType::AgentLimit, detail);
        if let Self::Problem(problem) = &mut refusal {
            problem.members = vec![
                ("limit", which.clone()),
                ("used", used.into()),
                ("allowed", allowed.into()),
            ];
        }
        refusal
    }

    pub(crate) fn unattested(reason: &str) -> Self {
        Self::new(
            ProblemType::AttestationUnavailable,
            format!("this host gives no evidence: {reason}"),
        )
    }

    pub(crate) fn takes_no_payments() -> Self {
        Self::new(
            ProblemType::PaymentsUnavailable,
            "this host takes no payments; its operator names a component in [payments]",
        )
    }

    /// Nothing more is begun while the audit trail waits for its disk.
    pub(crate) fn unaccountable() -> Self {
        Self::new(
            ProblemType::Overloaded,
            "the host cannot write its audit trail fast enough; nothing was run or charged: try again later",
        )
    }

    /// What is paid cannot be written down.
    pub(crate) fn unwritable() -> Self {
        Self::new(
            ProblemType::PaymentUnverified,
            "the host cannot write to its payment store; nothing was charged, and the payment is still good: try again later",
        )
    }

    pub(crate) fn in_doubt() -> Self {
        Self::new(
            ProblemType::SettlementUnknown,
            "the payment may have been made: send the same request with the same payment again, not a new payment",
        )
    }

    /// A failure of the host's own. `cause` goes to the log, not to the client.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let mut refusal = Self::new(
            ProblemType::Internal,
            "the host failed; its log has this request's id",
        );
        if let Self::Problem(problem) = &mut refusal {
            problem.cause = Some(cause.into());
        }
        refusal
    }
}

impl From<Full> for Refusal {
    fn from(_: Full) -> Self {
        Self::overloaded()
    }
}

impl From<EvidenceError> for Refusal {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Busy => Self::overloaded(),
            other => Self::unattested(&other.to_string()),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.problem_type() {
            ProblemType::Internal => Self::internal(error.to_string()),
            kind => Self::new(kind, error.to_string()),
        }
    }
}

impl From<PaymentFault> for Refusal {
    fn from(fault: PaymentFault) -> Self {
        match fault {
            PaymentFault::Ledger(error) => error.into(),
            PaymentFault::Overloaded(_) => Self::overloaded(),
            PaymentFault::Unsettled => Self::new(
                ProblemType::PaymentUnverified,
                "other payments of the same payer are not settled yet; this one was not charged: send it again",
            ),
            PaymentFault::Unavailable | PaymentFault::Unanswered(_) | PaymentFault::Component => {
                Self::new(
                    ProblemType::PaymentUnverified,
                    "the payment was neither accepted nor refused, and not charged; send it again",
                )
            }
        }
    }
}

/// What cannot be written down is not begun.
impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        let mut refusal = match error {
            LedgerError::TurnLost | LedgerError::Elsewhere => Self::in_doubt(),
            _ => Self::unwritable(),
        };
        if let Self::Problem(problem) = &mut refusal {
            problem.cause = Some(error.to_string());
        }
        refusal
    }
}

/// An agent that cannot be made ready.
impl From<PrepareError> for Refusal {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Program(exit) => super::plain::ended(exit),
            PrepareError::Host(message) => Self::internal(message),
            PrepareError::Busy => Self::overloaded(),
        }
    }
}
