//! The form of requests and answers: JSON or CBOR.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::BodyExt;
use hypervisor_account::Share;
use hypervisor_protocol::ContentFormat;
use serde::{Serialize, de::DeserializeOwned};

use super::peer_of;
use crate::agents::declared_length;
use crate::executor::HttpError;
use crate::pipeline::{Host, Input, Refusal};

/// `Content-Type`, parameters ignored; JSON where there is none.
pub(super) fn format_of(request: &Request) -> Result<ContentFormat, Refusal> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(ContentFormat::Json);
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    [ContentFormat::Json, ContentFormat::Cbor]
        .into_iter()
        .find(|format| essence.eq_ignore_ascii_case(format.media_type()))
        .ok_or_else(Refusal::unsupported_media_type)
}

/// The body of a request, received and decoded, with the share of the account that it takes up.
pub(super) async fn decoded<T: DeserializeOwned>(
    host: &Host,
    format: ContentFormat,
    request: Request,
) -> Result<(T, Share), Refusal> {
    let party = host.account().party(&peer_of(&request));
    let received = host.bodies().receive(&party, input(request)).await?;
    received.decode(format)
}

/// The body of a request, to be received.
pub(super) fn input(request: Request) -> Input {
    let length = declared_length(request.headers());
    let body = request.into_body();
    Input::Body {
        body: body
            .map_err(|_| HttpError::HttpRequestBodySize(None))
            .boxed_unsync(),
        length,
    }
}

/// A 200 answer in the request's own format.
pub(super) fn answer<T: Serialize>(format: ContentFormat, value: &T) -> Result<Response, Refusal> {
    let bytes = format
        .encode(value)
        .map_err(|_| Refusal::internal("encoding an answer"))?;
    Ok(in_format(format, bytes.into()))
}

/// A 200 answer of bytes in a format, not to be kept by a cache.
pub(super) fn in_format(format: ContentFormat, bytes: Bytes) -> Response {
    of_type(format.media_type(), bytes)
}

/// The same of any media type.
pub(super) fn of_type(media_type: &'static str, content: impl Into<Body>) -> Response {
    let mut response = Response::new(content.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
