//! Refusals over HTTP: problems of RFC 9457, and the challenges of a payment component.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use hypervisor_protocol::{ContentFormat, Problem as Document, ProblemType};
use hypervisor_telemetry::metrics;

use super::fields::{challenged, insert};
use crate::payments::PaymentFault;
use crate::pipeline::{Problem, Refusal};

/// Seconds after which a refused client may try again.
const RETRY_AFTER: u64 = 1;

/// Becomes an answer in [`super::request_id`], which knows the request's id.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer that says why there is none.
pub(super) fn refused(refusal: Refusal, request_id: &str) -> Response {
    let problem = match refusal {
        Refusal::Problem(problem) => *problem,
        Refusal::Challenge(challenge, fields) => {
            metrics::unpaid();
            return challenged(*challenge, fields)
                .unwrap_or_else(|fault| refused(fault.into(), request_id));
        }
    };
    let retry = matches!(
        problem.kind,
        ProblemType::Overloaded
            | ProblemType::ShuttingDown
            | ProblemType::PaymentUnverified
            | ProblemType::SettlementUnknown
    );
    let (status, fields) = (problem.kind.status(), problem.fields.clone());
    let body = serde_json::to_vec(&document(problem, request_id)).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    insert(&mut response, fields);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(hypervisor_protocol::problem::MEDIA_TYPE),
    );
    if retry {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    }
    response
}

/// The refusal as a document; its cause goes to the log.
fn document(problem: Problem, request_id: &str) -> Document {
    metrics::refused(problem.kind);
    if let Some(cause) = &problem.cause {
        tracing::error!(request_id, cause, "internal error");
    }
    let document = Document::new(problem.kind)
        .with_detail(problem.detail)
        .with_request_id(request_id);
    let members = problem.members.into_iter();
    members.fold(document, |document, (name, value)| {
        document.with_extension(name, value)
    })
}

/// A refusal that comes when an answer has begun already: the last item of its sequence.
pub(super) fn late(refusal: Refusal, request_id: &str) -> Vec<u8> {
    let problem = match refusal {
        Refusal::Problem(problem) => *problem,
        Refusal::Challenge(..) => return late(PaymentFault::Component.into(), request_id),
    };
    let document = document(problem, request_id);
    ContentFormat::Cbor.encode(&document).unwrap_or_default()
}

/// What the router itself answers.
pub(super) fn not_found() -> Refusal {
    Refusal::new(
        ProblemType::NotFound,
        "there is no such path; GET /openapi.json lists them",
    )
}

pub(super) fn method_not_allowed() -> Refusal {
    Refusal::new(
        ProblemType::MethodNotAllowed,
        "the path exists with another method; GET /openapi.json lists them",
    )
}
