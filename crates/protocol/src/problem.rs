//! Errors of the HTTP API: RFC 9457 problem details with a fixed list of types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What every `type` starts with.
pub const TYPE_PREFIX: &str = "urn:hypervisor:problem:";

/// The media type of a problem, whatever the format of the request.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused. The list is part of the protocol: clients match on `type`, not on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemType {
    /// The body is not what the endpoint takes; `detail` says where.
    MalformedRequest,
    /// The body's media type is neither JSON nor CBOR.
    UnsupportedMediaType,
    /// The body is larger than the host accepts.
    BodyTooLarge,
    /// A public key is not a P-256 point in SEC1 form.
    InvalidKey,
    /// The session does not exist or has expired.
    UnknownSession,
    /// The key has several live sessions and the request names none.
    AmbiguousSession,
    /// A field does not authenticate.
    AuthenticationFailed,
    /// The sequence was used before, or is older than the replay window.
    ReplayedSequence,
    /// The request has more arguments than the host accepts.
    TooManyArguments,
    /// The host's queue is full; `Retry-After` says when to come back.
    Overloaded,
    /// The request did not arrive in time.
    RequestTimeout,
    /// There is nothing at this path.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The host is shutting down.
    ShuttingDown,
    /// The host has no attester, so it can not give evidence.
    AttestationUnavailable,
    /// The host has no engine that runs scripts.
    ScriptsUnavailable,
    /// The host takes no payments, so its paid routes serve nothing.
    PaymentsUnavailable,
    /// The payment could not be verified now; it was neither used nor charged, and may be sent again.
    PaymentUnverified,
    /// Nobody knows whether the payment was made. Send the same request with the same payment again, never a new one.
    SettlementUnknown,
    /// The payment belongs to another request.
    PaymentReused,
    /// The payment was made for this request, whose answer is no longer held; the response's headers are the receipt.
    AnswerGone,
    /// There is no such agent, or none that the caller may know of.
    AgentNotFound,
    /// An agent of the registry can not be deployed; `detail` says why.
    AgentRefused,
    /// The policy does not allow the call, or the deployment.
    AgentDenied,
    /// The agent trapped, or ended without a response.
    AgentFailed,
    /// The agent was stopped at a limit before it gave a response; `limit`, `used` and `allowed` say which.
    AgentLimit,
    /// The request asks for another protocol (WebSocket, say), which WASI 0.2 has no interface for.
    UpgradeUnsupported,
    /// A plugin that was to be swapped in is refused; the one in use stays.
    SwapRefused,
    /// The host failed; the request id finds the reason in its log.
    Internal,
}

impl ProblemType {
    /// Every type.
    pub const ALL: [Self; 29] = [
        Self::MalformedRequest,
        Self::UnsupportedMediaType,
        Self::BodyTooLarge,
        Self::InvalidKey,
        Self::UnknownSession,
        Self::AmbiguousSession,
        Self::AuthenticationFailed,
        Self::ReplayedSequence,
        Self::TooManyArguments,
        Self::Overloaded,
        Self::RequestTimeout,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::ShuttingDown,
        Self::AttestationUnavailable,
        Self::ScriptsUnavailable,
        Self::PaymentsUnavailable,
        Self::PaymentUnverified,
        Self::SettlementUnknown,
        Self::PaymentReused,
        Self::AnswerGone,
        Self::AgentNotFound,
        Self::AgentRefused,
        Self::AgentDenied,
        Self::AgentFailed,
        Self::AgentLimit,
        Self::UpgradeUnsupported,
        Self::SwapRefused,
        Self::Internal,
    ];

    /// URI, HTTP status and title.
    const fn entry(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::MalformedRequest => (
                "urn:hypervisor:problem:malformed-request",
                400,
                "The request is malformed",
            ),
            Self::UnsupportedMediaType => (
                "urn:hypervisor:problem:unsupported-media-type",
                415,
                "The media type is not supported",
            ),
            Self::BodyTooLarge => (
                "urn:hypervisor:problem:body-too-large",
                413,
                "The body is too large",
            ),
            Self::InvalidKey => (
                "urn:hypervisor:problem:invalid-key",
                400,
                "The public key is invalid",
            ),
            Self::UnknownSession => (
                "urn:hypervisor:problem:unknown-session",
                404,
                "The session is unknown or has expired",
            ),
            Self::AmbiguousSession => (
                "urn:hypervisor:problem:ambiguous-session",
                409,
                "The key has several sessions",
            ),
            Self::AuthenticationFailed => (
                "urn:hypervisor:problem:authentication-failed",
                400,
                "The request failed to authenticate",
            ),
            Self::ReplayedSequence => (
                "urn:hypervisor:problem:replayed-sequence",
                409,
                "The sequence was already used",
            ),
            Self::TooManyArguments => (
                "urn:hypervisor:problem:too-many-arguments",
                400,
                "The request has too many arguments",
            ),
            Self::Overloaded => (
                "urn:hypervisor:problem:overloaded",
                503,
                "The host is overloaded",
            ),
            Self::RequestTimeout => (
                "urn:hypervisor:problem:request-timeout",
                408,
                "The request took too long to arrive",
            ),
            Self::NotFound => ("urn:hypervisor:problem:not-found", 404, "Not found"),
            Self::MethodNotAllowed => (
                "urn:hypervisor:problem:method-not-allowed",
                405,
                "The method is not allowed",
            ),
            Self::ShuttingDown => (
                "urn:hypervisor:problem:shutting-down",
                503,
                "The host is shutting down",
            ),
            Self::AttestationUnavailable => (
                "urn:hypervisor:problem:attestation-unavailable",
                503,
                "Attestation is not available",
            ),
            Self::ScriptsUnavailable => (
                "urn:hypervisor:problem:scripts-unavailable",
                503,
                "Scripts are not available",
            ),
            Self::PaymentsUnavailable => (
                "urn:hypervisor:problem:payments-unavailable",
                503,
                "Payments are not available",
            ),
            Self::PaymentUnverified => (
                "urn:hypervisor:problem:payment-unverified",
                503,
                "The payment could not be verified",
            ),
            Self::SettlementUnknown => (
                "urn:hypervisor:problem:settlement-unknown",
                503,
                "The settlement is in doubt",
            ),
            Self::PaymentReused => (
                "urn:hypervisor:problem:payment-reused",
                409,
                "The payment belongs to another request",
            ),
            Self::AnswerGone => (
                "urn:hypervisor:problem:answer-gone",
                409,
                "The answer that was paid for is gone",
            ),
            Self::AgentNotFound => (
                "urn:hypervisor:problem:agent-not-found",
                404,
                "There is no such agent",
            ),
            Self::AgentRefused => (
                "urn:hypervisor:problem:agent-refused",
                422,
                "The agent cannot be deployed",
            ),
            Self::AgentDenied => (
                "urn:hypervisor:problem:agent-denied",
                403,
                "The policy does not allow it",
            ),
            Self::AgentFailed => (
                "urn:hypervisor:problem:agent-failed",
                502,
                "The agent failed",
            ),
            Self::AgentLimit => (
                "urn:hypervisor:problem:agent-limit",
                504,
                "The agent was stopped at a limit",
            ),
            Self::UpgradeUnsupported => (
                "urn:hypervisor:problem:upgrade-unsupported",
                501,
                "Protocol upgrades are not supported",
            ),
            Self::SwapRefused => (
                "urn:hypervisor:problem:swap-refused",
                422,
                "The plugin is refused",
            ),
            Self::Internal => ("urn:hypervisor:problem:internal", 500, "Internal error"),
        }
    }

    /// The `type` of the problem.
    pub const fn uri(self) -> &'static str {
        self.entry().0
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.entry().1
    }

    /// The title: the same for every problem of the type.
    pub const fn title(self) -> &'static str {
        self.entry().2
    }

    /// The name: the URI without [`TYPE_PREFIX`].
    pub fn name(self) -> &'static str {
        self.uri().strip_prefix(TYPE_PREFIX).unwrap_or_default()
    }

    /// The type with this URI, if this crate knows it.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// The body of an error (RFC 9457 §3). It never holds plaintext of the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem; one of [`ProblemType`].
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// What the kind means, in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened this time and what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The id under which the host logged the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Further members (RFC 9457 §3.2).
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

/// The type of a problem that has none (RFC 9457 §4.2.1).
fn about_blank() -> String {
    "about:blank".to_owned()
}

impl Problem {
    /// A problem of a known type, with its status and title.
    pub fn new(kind: ProblemType) -> Self {
        Self {
            kind: kind.uri().to_owned(),
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: String::new(),
            instance: None,
            request_id: None,
            extensions: Map::new(),
        }
    }

    /// The type, if this crate knows it.
    pub fn problem_type(&self) -> Option<ProblemType> {
        ProblemType::from_uri(&self.kind)
    }

    /// With what happened and what to do about it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With the path of the request.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// With the id of the request.
    #[must_use]
    pub fn with_request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request_id = Some(request_id.into());
        self
    }

    /// With a further member. The names of the other fields are taken: such a member is left out.
    #[must_use]
    pub fn with_extension(mut self, name: &str, value: impl Into<Value>) -> Self {
        const TAKEN: [&str; 6] = [
            "type",
            "title",
            "status",
            "detail",
            "instance",
            "request_id",
        ];
        if !TAKEN.contains(&name) {
            self.extensions.insert(name.to_owned(), value.into());
        }
        self
    }
}

impl From<&crate::Error> for Problem {
    fn from(error: &crate::Error) -> Self {
        Self::new(error.problem_type()).with_detail(error.to_string())
    }
}
