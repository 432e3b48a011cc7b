//! Errors of the HTTP API as RFC 9457 problems.
//!
//! A problem is visible to everyone on the path and in front of decryption, so its words come from the request's
//! form and the host's state, never from a program, an argument or a result.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use hypervisor_protocol::{Error, LimitKind, Problem, ProblemType};

use super::paid_answer::insert;
use crate::attestation::EvidenceError;

/// Seconds after which a refused client may try again.
const RETRY_AFTER: u64 = 1;

/// A refused request. Becomes an answer in [`super::request_id`], which knows the request's id.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    kind: ProblemType,
    detail: String,
    /// What only the log may know.
    cause: Option<String>,
    /// Header fields of the answer: the receipt of a payment.
    headers: Vec<(String, String)>,
    /// Further members of the problem.
    members: Vec<(&'static str, serde_json::Value)>,
}

impl ApiError {
    pub(super) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            cause: None,
            headers: Vec::new(),
            members: Vec::new(),
        }
    }

    /// With more header fields.
    pub(super) fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::MalformedRequest, detail)
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::new(
            ProblemType::BodyTooLarge,
            format!("the body is over the limit of {limit} bytes"),
        )
    }

    pub(super) fn overloaded() -> Self {
        Self::new(
            ProblemType::Overloaded,
            "the host is at its bound of work in progress; try again",
        )
    }

    pub(super) fn receive_timeout(allowed: Duration) -> Self {
        Self::new(
            ProblemType::RequestTimeout,
            format!("the body did not arrive within {} s", allowed.as_secs_f64()),
        )
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(
            ProblemType::UnsupportedMediaType,
            "send application/json or application/cbor",
        )
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            ProblemType::NotFound,
            "there is no such path; GET /openapi.json lists them",
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            ProblemType::MethodNotAllowed,
            "the path exists with another method; GET /openapi.json lists them",
        )
    }

    pub(super) fn no_agent() -> Self {
        Self::new(
            ProblemType::AgentNotFound,
            "there is no such agent, or none that this caller may know of; GET /agents lists the public ones",
        )
    }

    /// An agent was stopped before it answered.
    pub(super) fn agent_limit(which: LimitKind, used: u64, allowed: u64) -> Self {
        let which = serde_json::to_value(which).unwrap_or_default();
        let name = which.as_str().unwrap_or_default();
        Self {
            members: vec![
                ("limit", which.clone()),
                ("used", used.into()),
                ("allowed", allowed.into()),
            ],
            ..Self::new(
                ProblemType::AgentLimit,
                format!("the agent was stopped at its limit `{name}`"),
            )
        }
    }

    pub(super) fn unattested(reason: &str) -> Self {
        Self::new(
            ProblemType::AttestationUnavailable,
            format!("this host gives no evidence: {reason}"),
        )
    }

    /// A failure of the host's own. `cause` goes to the log, not to the client.
    pub(super) fn internal(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                ProblemType::Internal,
                "the host failed; its log has this request's id",
            )
        }
    }

    pub(super) fn into_problem(self, request_id: &str) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(request_id, cause, "internal error");
        }
        let retry = matches!(
            self.kind,
            ProblemType::Overloaded
                | ProblemType::ShuttingDown
                | ProblemType::PaymentUnverified
                | ProblemType::SettlementUnknown
        );
        let problem = Problem::new(self.kind)
            .with_detail(self.detail)
            .with_request_id(request_id);
        let problem = self
            .members
            .into_iter()
            .fold(problem, |problem, (name, value)| {
                problem.with_extension(name, value)
            });
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        insert(&mut response, self.headers);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

impl From<EvidenceError> for ApiError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Busy => Self::overloaded(),
            other => Self::unattested(&other.to_string()),
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error.problem_type() {
            ProblemType::Internal => Self::internal(error.to_string()),
            kind => Self::new(kind, error.to_string()),
        }
    }
}
