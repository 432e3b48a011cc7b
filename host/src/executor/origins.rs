//! The egress of plugins: requests to the origins that the operator listed, and to no others.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt;
use hypervisor_egress::{Error, Networks, Origin, Sender, SystemResolver, Timeouts};

use super::outgoing::{
    Chain, Connection, Egress, HttpBody, HttpError, HttpTimeouts, Sending, http_error,
};

/// Every address: what the operator names may be anywhere, a facilitator on the host's own network, say.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// A list of origins, and what sends to them.
pub(super) struct Origins {
    listed: Vec<Origin>,
    sender: Sender,
}

impl Origins {
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn of<'a>(urls: impl Iterator<Item = &'a str>) -> Result<Self, Error> {
        let networks = Networks::parse(&ANYWHERE).map_err(|_| Error::ConfigurationError)?;
        Ok(Self {
            listed: urls
                .filter_map(|url| Origin::of(&url.parse().ok()?))
                .collect(),
            sender: Sender::new(networks, Arc::new(SystemResolver::default()))?,
        })
    }
}

impl Egress for Origins {
    fn send(
        &self,
        request: Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        _: Chain,
    ) -> Sending {
        let allowed = Origin::of(request.uri()).is_some_and(|origin| self.listed.contains(&origin));
        let sender = self.sender.clone();
        Box::pin(async move {
            if !allowed {
                return Err(HttpError::HttpRequestDenied);
            }
            send(&sender, request, timeouts).await.map_err(http_error)
        })
    }
}

/// Sends a request that is allowed.
pub(crate) async fn send(
    sender: &Sender,
    request: Request<HttpBody>,
    timeouts: Option<HttpTimeouts>,
) -> Result<(http::Response<HttpBody>, Connection), Error> {
    let timeouts = timeouts.unwrap_or_default();
    let timeouts = Timeouts {
        connect: timeouts.connect_timeout,
        first_byte: timeouts.first_byte_timeout,
        between_bytes: timeouts.between_bytes_timeout,
    };
    let (response, connection) = sender.send(request, timeouts).await?;
    let connection: Connection = Box::new(async move { connection.await.map_err(http_error) });
    let response = response.map(|body| body.map_err(http_error).boxed_unsync());
    Ok((response, connection))
}
