//! The egress of plugins: requests to the origins that the operator listed, and to no others.

use std::sync::Arc;

use http::Request;
use hypervisor_agents::send;
use hypervisor_egress::{Bounds, Networks, Origin, Sender, Share, SystemResolver};

use crate::executor::{Chain, Egress, HttpBody, HttpError, HttpTimeouts, Sending};

/// Every address: what the operator names may be anywhere, a facilitator on the host's own network, say.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// What one plugin may have under way.
const BOUNDS: Bounds = Bounds {
    connections: 128,
    lookups: 16,
};

/// A list of origins, and what sends to them.
pub(crate) struct Origins {
    listed: Vec<Origin>,
    sender: Sender,
}

impl Origins {
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn of<'a>(urls: impl Iterator<Item = &'a str>) -> Result<Self, HttpError> {
        let networks = Networks::parse(&ANYWHERE).map_err(|_| HttpError::ConfigurationError)?;
        Ok(Self {
            listed: urls
                .filter_map(|url| Origin::of(&url.parse().ok()?))
                .collect(),
            sender: Sender::new(networks, Arc::new(SystemResolver))?.sharing(Share::new(BOUNDS)),
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
            send(&sender, request, timeouts).await
        })
    }
}
