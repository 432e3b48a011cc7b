//! A request of HTTP/1.1 has one Host field, and no request has two (RFC 9112 §3.2): what stands in front of the host may have taken
//! the other one.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, Version, header};
use uuid::Uuid;

use super::request_id::finish;
use crate::pipeline::Refusal;

/// The refusal of a request that does not name one host.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Response> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_none() && (first.is_some() || request.version() != Version::HTTP_11) {
        return None;
    }
    let refusal = Refusal::malformed("an HTTP/1.1 request must have exactly one Host header");
    let mut response = refusal.into_response();
    finish(&Uuid::now_v7(), &mut response);
    // What follows on the connection may be the rest of a request that was put together wrongly.
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    Some(response)
}
