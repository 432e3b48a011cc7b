//! Every request gets an id: in the answer's `x-request-id`, in a problem's body, and in the log, to bring the three
//! together. Made here, never taken from the client, so that it says nothing about anyone.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use hypervisor_telemetry as telemetry;
use uuid::Uuid;

use super::inside::Within;
use super::problem::refused;
use crate::executor::micros;
use crate::pipeline::Refusal;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Middleware: gives the request its id, writes problem bodies, logs sizes and times.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let is_from_inside = request.extensions().get::<Within>().is_some();
    let fields = (!is_from_inside).then(|| request.headers());
    let about = telemetry::Request::begin(&method, route.as_ref().map(MatchedPath::as_str), fields);

    let answered = about.run(async {
        let mut response = next.run(request).await;
        finish(&about.id(), &mut response);
        response
    });
    let response = answered.await;
    about.answered(response.status().as_u16());
    tracing::debug!(
        request_id = %about.id().simple(),
        %method,
        // The route's template: a path as sent could carry anything.
        route = route.as_ref().map_or("none", MatchedPath::as_str),
        status = response.status().as_u16(),
        micros = micros(started.elapsed()),
        "request"
    );
    response
}

/// Writes the problem's body, where there is one, and the id.
pub(super) fn finish(id: &Uuid, response: &mut Response) {
    let mut buffer = Uuid::encode_buffer();
    let id = id.simple().encode_lower(&mut buffer);
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        telemetry::failed(refusal.name());
        *response = refused(refusal, id);
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        // What another node answered has that node's id, which is in that node's log.
        response.headers_mut().entry(HEADER).or_insert(value);
    }
}
