//! What the host reads.

mod bhttp;

use ::bytes::Bytes;
use http::{HeaderMap, Request, Response};

/// A sealed request to a service, in Binary HTTP.
pub fn request(bytes: &[u8]) -> Result<(Request<Bytes>, HeaderMap), String> {
    bhttp::decode_request(bytes)
}

/// A response that was kept.
pub fn response(bytes: &[u8]) -> Option<(Response<Bytes>, HeaderMap)> {
    bhttp::decode_response(bytes)
}

/// A response as it is kept.
pub fn encode(response: &Response<Bytes>, trailers: &HeaderMap) -> Option<Vec<u8>> {
    bhttp::encode(response, trailers)
}
