//! Pages in browsers: which may ask, and what they are told before they do.

use front::http::{Incoming, Outgoing};

use crate::error::A2aError;
use crate::settings::Settings;

/// Header fields of answers that pages may read.
pub const EXPOSED: &str = "a2a-extensions, etag, payment-required, payment-response, retry-after";
/// Header fields that pages may send.
const TAKEN: &str = "a2a-extensions, a2a-version, accept, authorization, content-type, if-none-match, payment-signature, x-a2a-extensions, x-payment";

/// The origin of a page, where a page asks and may. Who seals requests is no page.
pub fn allowed(settings: &Settings, incoming: &Incoming) -> Result<Option<String>, A2aError> {
    Ok(settings.reach.allowed(incoming)?)
}

/// What a browser asks before it sends a request to another origin.
pub fn preflight() -> Outgoing {
    let headers = [
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", TAKEN),
        ("access-control-max-age", "3600"),
    ];
    Outgoing {
        status: 204,
        headers: headers
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
        body: Vec::new(),
    }
}
