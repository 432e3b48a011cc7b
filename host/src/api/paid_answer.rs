//! Answers to paid requests: a component's challenge, and what was paid for, with the headers of the payment.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use hypervisor_protocol::{ContentFormat, ExecuteResponse};

use super::App;
use super::binary_http;
use super::body::{answer, heavy};
use super::evidence::quote;
use super::problem::ApiError;
use super::route::Route;
use super::sold::Sold;
use crate::executor::{ChallengeResponse, Header};
use crate::payments::{self, Answer, PaymentFault};

/// A component's response, with more headers.
pub(super) fn to_response(
    challenge: ChallengeResponse,
    more: Vec<Header>,
) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(challenge.status)
        .ok()
        .filter(|status| status.is_client_error())
        .ok_or_else(|| ApiError::from(PaymentFault::Component))?;
    let mut response = Response::new(Body::from(challenge.body));
    *response.status_mut() = status;
    let fields = payments::pairs(challenge.headers.into_iter().chain(more).collect());
    insert(&mut response, fields);
    Ok(response)
}

impl Sold {
    /// An answer that is paid for, or free. On an attested route it gets its quote here: the answer is kept without one.
    pub(super) async fn release(
        &self,
        app: &App,
        kept: Answer,
        headers: Vec<(String, String)>,
    ) -> Result<Response, ApiError> {
        let mut response = match self {
            Self::Sealed(route) if route.attested => {
                let quoted = quoted(app, route, &kept).await;
                quoted.map_err(|error| error.with_headers(headers.clone()))?
            }
            _ if kept.media_type == binary_http::MEDIA_TYPE => {
                let (response, trailers) = binary_http::decode_response(&kept.body)
                    .ok_or_else(|| ApiError::internal("an answer that was kept is damaged"))?;
                response.map(|body| Body::new(binary_http::whole(body, trailers)))
            }
            _ => {
                let mut response = Response::new(Body::from(kept.body));
                if let Ok(media_type) = HeaderValue::from_str(&kept.media_type) {
                    response
                        .headers_mut()
                        .insert(header::CONTENT_TYPE, media_type);
                }
                response
            }
        };
        insert(&mut response, headers);
        Ok(response)
    }
}

async fn quoted(app: &App, route: &Route, kept: &Answer) -> Result<Response, ApiError> {
    let format = [ContentFormat::Json, ContentFormat::Cbor]
        .into_iter()
        .find(|format| format.media_type() == kept.media_type)
        .unwrap_or(ContentFormat::Json);
    let response: ExecuteResponse = heavy(kept.body.len(), || format.decode(&kept.body))
        .map_err(|_| ApiError::internal("an answer that was kept is damaged"))?;
    let response = quote(app, route, response).await?;
    heavy(kept.body.len(), || answer(format, &response))
}

/// Adds a component's header fields; those that are no HTTP fields, or are the connection's own, are left out. Nothing here
/// may be kept by a cache.
pub(super) fn insert(response: &mut Response, fields: Vec<(String, String)>) {
    const NOT_THEIRS: [HeaderName; 4] = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
    ];
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        ) && !NOT_THEIRS.contains(&name)
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
