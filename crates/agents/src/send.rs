//! Sending for components: the sender's terms in those of wasi:http.

use http::Request;
use http_body_util::BodyExt;
use hypervisor_egress::{Error, Sender, Timeouts};
use hypervisor_runtime::{Connection, HttpBody, HttpError, HttpTimeouts, Sent};

/// Sends a request that is allowed.
///
/// # Errors
/// [`Error`].
pub async fn send(
    sender: &Sender,
    request: Request<HttpBody>,
    timeouts: Option<HttpTimeouts>,
) -> Result<Sent, Error> {
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
pub fn http_error(error: Error) -> HttpError {
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
