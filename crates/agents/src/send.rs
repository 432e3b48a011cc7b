//! Sending for components.

use http::Request;
use hypervisor_egress::Sender;
use hypervisor_runtime::{HttpBody, HttpError, HttpTimeouts, Sent};

/// Sends a request that is allowed.
///
/// # Errors
/// The sender's.
pub async fn send(
    sender: &Sender,
    request: Request<HttpBody>,
    timeouts: Option<HttpTimeouts>,
) -> Result<Sent, HttpError> {
    let (response, connection) = sender.send(request, timeouts.unwrap_or_default()).await?;
    Ok((response, Box::new(connection)))
}
