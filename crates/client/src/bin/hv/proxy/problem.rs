//! What the client is told where there is no answer (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use hypervisor_client::attestation::Stage;
use hypervisor_client::protocol::problem::MEDIA_TYPE;
use hypervisor_client::protocol::{Exit, Problem, ProblemType, Rejection};
use hypervisor_client::{Demand, Error, ending};
use serde_json::Map;

use super::answer::{Body, whole};
use crate::Failure;
use crate::console::plain;
use crate::desk::Trouble;

/// What the types of this command's own problems start with; the host's own have theirs.
const PREFIX: &str = "urn:hypervisor:proxy:";
const PAYMENT_REQUIRED: HeaderName = HeaderName::from_static("payment-required");

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    Problem(Box<Problem>),
    /// Nobody here pays: the client may.
    Payment(Box<Demand>),
}

impl Refusal {
    fn own(name: &str, status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem {
            kind: format!("{PREFIX}{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: plain(&detail.into()).into_owned(),
            instance: None,
            request_id: None,
            extensions: Map::new(),
        }))
    }

    fn of_type(kind: ProblemType, detail: impl Into<String>) -> Self {
        let detail = plain(&detail.into()).into_owned();
        Self::Problem(Box::new(Problem::new(kind).with_detail(detail)))
    }

    /// Not one of the clients that this command is for.
    pub(super) fn foreign(detail: &str) -> Self {
        Self::own(
            "foreign-request",
            StatusCode::FORBIDDEN,
            "The request is not taken",
            detail,
        )
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::of_type(ProblemType::MalformedRequest, detail)
    }

    pub(super) fn not_found(detail: &str) -> Self {
        Self::of_type(ProblemType::NotFound, detail)
    }

    pub(super) fn too_large(maximum: usize) -> Self {
        let detail = format!("the body has more than {maximum} bytes");
        Self::of_type(ProblemType::BodyTooLarge, detail)
    }

    pub(super) fn too_slow() -> Self {
        Self::of_type(
            ProblemType::RequestTimeout,
            "the body did not arrive in time",
        )
    }

    pub(super) fn upgrade() -> Self {
        Self::of_type(
            ProblemType::UpgradeUnsupported,
            "sealed calls have no WebSocket and no other upgrades; a response may be streamed instead",
        )
    }

    /// As many requests are under way as are taken at once.
    pub(super) fn busy() -> Self {
        Self::own(
            "busy",
            StatusCode::SERVICE_UNAVAILABLE,
            "Too much is under way",
            "send it again in a moment",
        )
    }

    pub(super) fn late(after: Duration) -> Self {
        let detail = format!(
            "the host did not answer within {} s (--timeout)",
            after.as_secs()
        );
        Self::own(
            "timeout",
            StatusCode::GATEWAY_TIMEOUT,
            "The answer took too long",
            detail,
        )
    }

    /// The host did not prove what it is when a session was to be opened, or there was none.
    pub(super) fn unopened(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(failure) if failure.is_verification_failure() => Self::own(
                "verification-failed",
                StatusCode::BAD_GATEWAY,
                "The host failed verification",
                format!("nothing of the request was sent; {failure}"),
            ),
            other => Self::of_trouble(other),
        }
    }

    pub(super) fn of_trouble(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(Failure::Client(error)) => Self::of_error(error),
            Trouble::Ended => Self::own(
                "session-ended",
                StatusCode::SERVICE_UNAVAILABLE,
                "The session with the host had ended",
                trouble.to_string(),
            ),
            other => Self::failed(&other.to_string()),
        }
    }

    fn failed(detail: &str) -> Self {
        Self::own(
            "failed",
            StatusCode::BAD_GATEWAY,
            "There is no answer",
            detail,
        )
    }

    fn of_error(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::PaymentDemanded(demand) => Self::Payment(demand),
            // The session had ended, and where another one was asked for is another host.
            Error::Attestation(refusal) if refusal.stage() == Stage::Host => Self::own(
                "verification-failed",
                StatusCode::BAD_GATEWAY,
                "The host failed verification",
                format!(
                    "what was sealed for the host that was verified cannot be read by this one; {text}"
                ),
            ),
            error if error.is_verification_failure() => Self::own(
                "unverified-answer",
                StatusCode::BAD_GATEWAY,
                "The answer failed verification",
                format!("it is not passed on; {text}"),
            ),
            // The host's own words, under its own types.
            Error::Refused(problem) => Self::Problem(problem),
            Error::Request { .. } => Self::malformed(text),
            Error::Transport { .. } | Error::Stalled { .. } | Error::Unexpected { .. } => {
                Self::own(
                    "host-unreachable",
                    StatusCode::BAD_GATEWAY,
                    "The host did not answer",
                    text,
                )
            }
            Error::NoAcceptableOffer(_)
            | Error::Challenge { .. }
            | Error::PaymentRefused { .. }
            | Error::Signing { .. } => Self::own(
                "not-paid",
                StatusCode::PAYMENT_REQUIRED,
                "It was not paid for",
                text,
            ),
            Error::PaymentUncertain { .. } | Error::PaidWithoutAnswer { .. } => Self::own(
                "payment-uncertain",
                StatusCode::BAD_GATEWAY,
                "It may have been paid for",
                "there is no answer, and the payment may have been made: standard error of `hv proxy` says which; look for it before this is sent again",
            ),
            _ => Self::failed(&text),
        }
    }

    /// There is no response, for the agent ended otherwise: as the host says it of calls that are not sealed.
    pub(super) fn of_exit(exit: &Exit) -> Self {
        let kind = match exit {
            Exit::Denied { .. } => ProblemType::AgentDenied,
            Exit::Limit { .. } => ProblemType::AgentLimit,
            Exit::Rejected { problem, .. } => match problem {
                Rejection::UnknownAgent | Rejection::NotOwner => ProblemType::AgentNotFound,
                Rejection::InvalidRequest => ProblemType::MalformedRequest,
                _ => ProblemType::AgentRefused,
            },
            _ => ProblemType::AgentFailed,
        };
        let said = match exit {
            // The title says the rest.
            Exit::Rejected { detail, .. } if !detail.is_empty() => detail.clone(),
            _ => ending(exit).unwrap_or_else(|| "it ended without a response".to_owned()),
        };
        let problem = Problem::new(kind).with_detail(plain(&said));
        Self::Problem(Box::new(match exit {
            Exit::Limit {
                which,
                used,
                allowed,
            } => problem
                .with_extension("limit", which.to_string())
                .with_extension("used", *used)
                .with_extension("allowed", *allowed),
            _ => problem,
        }))
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Problem(problem) => {
                StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY)
            }
            Self::Payment(_) => StatusCode::PAYMENT_REQUIRED,
        }
    }

    pub(super) fn response(self) -> Response<Body> {
        let status = self.status();
        let (body, content_type, demand) = match self {
            Self::Problem(problem) => {
                let body = serde_json::to_vec(&problem).unwrap_or_default();
                (
                    Bytes::from(body),
                    Some(HeaderValue::from_static(MEDIA_TYPE)),
                    None,
                )
            }
            Self::Payment(demand) => (demand.body, demand.content_type, demand.header),
        };
        let mut response = Response::new(whole(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if let Some(demand) = demand {
            headers.insert(PAYMENT_REQUIRED, demand);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
