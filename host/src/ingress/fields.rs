//! Header fields, and whole answers, that come from components.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hypervisor_ledger::Fields;

use crate::executor::ChallengeResponse;
use crate::payments::{PaymentFault, pairs};

/// A component's response, with more fields.
pub(super) fn challenged<B: From<Vec<u8>>>(
    challenge: ChallengeResponse,
    fields: Fields,
) -> Result<Response<B>, PaymentFault> {
    let status = StatusCode::from_u16(challenge.status)
        .ok()
        .filter(StatusCode::is_client_error)
        .ok_or(PaymentFault::Component)?;
    let mut response = Response::new(B::from(challenge.body));
    *response.status_mut() = status;
    let own = pairs(challenge.headers);
    insert(&mut response, own.into_iter().chain(fields).collect());
    Ok(response)
}

/// Adds a component's header fields; those that are invalid, or belong to the connection, are left out. Nothing here may be
/// kept by a cache.
pub(super) fn insert<B>(response: &mut Response<B>, fields: Fields) {
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
