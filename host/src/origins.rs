//! The egress of plugins: requests to the origins that the operator listed, and to no others.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt;
use hypervisor_egress::{Bounds, Error, Networks, Origin, Sender, Share, SystemResolver, Timeouts};

use crate::executor::{Chain, Connection, Egress, HttpBody, HttpError, HttpTimeouts, Sending};

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
    pub(crate) fn of<'a>(urls: impl Iterator<Item = &'a str>) -> Result<Self, Error> {
        let networks = Networks::parse(&ANYWHERE).map_err(|_| Error::ConfigurationError)?;
        Ok(Self {
            listed: urls
                .filter_map(|url| Origin::of(&url.parse().ok()?))
                .collect(),
            sender: Sender::new(networks, Arc::new(SystemResolver::default()))?
                .sharing(Share::new(BOUNDS)),
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

/// The error of sending, as components see it.
pub(crate) fn http_error(error: Error) -> HttpError {
    match error {
        Error::DnsTimeout => HttpError::DnsTimeout,
        Error::DnsError { rcode } => HttpError::DnsError {
            rcode,
            info_code: None,
        },
        Error::DestinationNotFound => HttpError::DestinationNotFound,
        Error::DestinationUnavailable => HttpError::DestinationUnavailable,
        Error::DestinationIpProhibited => HttpError::DestinationIpProhibited,
        Error::ConnectionRefused => HttpError::ConnectionRefused,
        Error::ConnectionTerminated => HttpError::ConnectionTerminated,
        Error::ConnectionLimitReached => HttpError::ConnectionLimitReached,
        Error::ConnectionTimeout => HttpError::ConnectionTimeout,
        Error::ConnectionReadTimeout => HttpError::ConnectionReadTimeout,
        Error::TlsProtocolError => HttpError::TlsProtocolError,
        Error::TlsCertificateError => HttpError::TlsCertificateError,
        Error::TlsAlertReceived { alert_id } => HttpError::TlsAlertReceived {
            alert_id: Some(alert_id),
            alert_message: None,
        },
        Error::HttpRequestDenied => HttpError::HttpRequestDenied,
        Error::HttpRequestMethodInvalid => HttpError::HttpRequestMethodInvalid,
        Error::HttpRequestUriInvalid => HttpError::HttpRequestUriInvalid,
        Error::HttpResponseIncomplete => HttpError::HttpResponseIncomplete,
        Error::HttpResponseHeaderSectionSize => HttpError::HttpResponseHeaderSectionSize(None),
        Error::HttpResponseTimeout => HttpError::HttpResponseTimeout,
        Error::HttpUpgradeFailed => HttpError::HttpUpgradeFailed,
        Error::HttpProtocolError => HttpError::HttpProtocolError,
        Error::LoopDetected => HttpError::LoopDetected,
        Error::ConfigurationError => HttpError::ConfigurationError,
        Error::InternalError => HttpError::InternalError(None),
    }
}
