//! Everything that can go wrong on the way out.

use std::io::ErrorKind;

/// Why a request was not answered.
///
/// The variants are those of `wasi:http` that can occur, so that a host translates one by one. No message says where the request
/// was going: messages reach logs, and the address is the component's own matter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name was not resolved within the connect timeout.
    #[error("the host's name was not resolved in time; allow more time to connect")]
    DnsTimeout,
    /// The resolver found no answer.
    #[error("the host's name can not be resolved; check its spelling and the resolver")]
    DnsError {
        /// The resolver's response code, where it says one.
        rcode: Option<String>,
    },
    /// The name has no address.
    #[error("the host's name has no address")]
    DestinationNotFound,
    /// No address answers on the network.
    #[error("the destination can not be reached; check the route to it")]
    DestinationUnavailable,
    /// An address of the destination is not public, and not among the networks that are allowed.
    #[error(
        "the destination has an address that is not public; the operator can allow its network"
    )]
    DestinationIpProhibited,
    /// Nothing listens at the destination.
    #[error("the destination refused the connection")]
    ConnectionRefused,
    /// The connection ended before the response did.
    #[error("the connection ended before the response was complete")]
    ConnectionTerminated,
    /// As many connections are open as the component, its owner or all of them together may have.
    #[error("too many connections are open; wait for a response to end before the next request")]
    ConnectionLimitReached,
    /// There was no connection within the connect timeout, TLS included.
    #[error("the connection was not made in time; allow more time to connect")]
    ConnectionTimeout,
    /// No byte came within the timeout of the first byte, or between two of the body's.
    #[error("the destination sent nothing for too long; allow more time between bytes")]
    ConnectionReadTimeout,
    /// The TLS handshake failed, or a record was not authentic.
    #[error(
        "TLS failed: the destination does not speak it, or no version and cipher suite in common"
    )]
    TlsProtocolError,
    /// The certificate is not one for this host from an authority that is trusted.
    #[error("the destination's TLS certificate is not valid for it, or not of a trusted authority")]
    TlsCertificateError,
    /// The destination ended TLS with an alert.
    #[error("the destination ended TLS with alert {alert_id}")]
    TlsAlertReceived {
        /// The alert's number (RFC 8446 §6).
        alert_id: u8,
    },
    /// The origin is not one that the component may send to.
    #[error("requests to this origin are not allowed; name it in the list of outgoing origins")]
    HttpRequestDenied,
    /// CONNECT asks for a tunnel, which is not offered.
    #[error("the method CONNECT is not supported")]
    HttpRequestMethodInvalid,
    /// The URI has no origin that a request can be sent to.
    #[error(
        "the URI is not one to send to: it needs `http` or `https` and a host in ASCII, and may have no user information"
    )]
    HttpRequestUriInvalid,
    /// The response ended too early.
    #[error("the response is not complete")]
    HttpResponseIncomplete,
    /// The response's head is too large.
    #[error("the response's head is larger than is accepted")]
    HttpResponseHeaderSectionSize,
    /// The response did not come in time.
    #[error("the response was not complete in time")]
    HttpResponseTimeout,
    /// The destination changed to another protocol, which nobody asked for.
    #[error("the destination changed to another protocol")]
    HttpUpgradeFailed,
    /// What the destination sent is not HTTP/1.1, or the request's body failed.
    #[error("the exchange is not HTTP/1.1, or the request's body did not end as announced")]
    HttpProtocolError,
    /// The request passed through too many agents.
    #[error("the request passed through too many agents")]
    LoopDetected,
    /// TLS can not be set up in this program.
    #[error("TLS can not be set up with this program's provider")]
    ConfigurationError,
    /// A fault of this program.
    #[error("a fault in the host")]
    InternalError,
}

impl Error {
    /// The variant's name in snake case, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DnsTimeout => "dns_timeout",
            Self::DnsError { .. } => "dns_error",
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationIpProhibited => "destination_ip_prohibited",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsAlertReceived { .. } => "tls_alert_received",
            Self::HttpRequestDenied => "http_request_denied",
            Self::HttpRequestMethodInvalid => "http_request_method_invalid",
            Self::HttpRequestUriInvalid => "http_request_uri_invalid",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpUpgradeFailed => "http_upgrade_failed",
            Self::HttpProtocolError => "http_protocol_error",
            Self::LoopDetected => "loop_detected",
            Self::ConfigurationError => "configuration_error",
            Self::InternalError => "internal_error",
        }
    }

    /// What an input or output error of a connection that was made means.
    pub(crate) fn of_connection(error: &std::io::Error) -> Self {
        if let Some(tls) = inner::<rustls::Error>(error) {
            return Self::of_tls(tls);
        }
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::HttpResponseIncomplete,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe => Self::ConnectionTerminated,
            ErrorKind::TimedOut => Self::ConnectionReadTimeout,
            _ => Self::HttpProtocolError,
        }
    }

    /// What an error of TLS means.
    pub(crate) fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Self::TlsCertificateError
            }
            rustls::Error::AlertReceived(alert) => Self::TlsAlertReceived {
                alert_id: u8::from(*alert),
            },
            _ => Self::TlsProtocolError,
        }
    }

    /// What an error of an HTTP connection means.
    pub(crate) fn of_http(error: &hyper::Error) -> Self {
        if error.is_timeout() {
            return Self::HttpResponseTimeout;
        }
        if error.is_parse_too_large() {
            return Self::HttpResponseHeaderSectionSize;
        }
        if error.is_incomplete_message() {
            return Self::HttpResponseIncomplete;
        }
        if error.is_parse() || error.is_user() {
            return Self::HttpProtocolError;
        }
        if error.is_canceled() || error.is_closed() {
            return Self::ConnectionTerminated;
        }
        match std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>()) {
            Some(cause) => Self::of_connection(cause),
            None => Self::HttpProtocolError,
        }
    }
}

/// The error of type `E` that an I/O error carries.
pub(crate) fn inner<E: std::error::Error + 'static>(error: &std::io::Error) -> Option<&E> {
    error.get_ref()?.downcast_ref()
}

/// Why a text is no pattern of origins. Messages do not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Neither `http` nor `https`.
    #[error("an origin begins with `http://` or `https://`; `*` alone is any origin")]
    Scheme,
    /// Something after host and port.
    #[error("an origin ends after host and port: leave out path, query and fragment")]
    Path,
    /// `user@` in front of the host.
    #[error("an origin has no user information: leave out everything up to `@`")]
    UserInformation,
    /// The port is no number, or not one that can be connected to.
    #[error("a port is a number from 1 to 65535; leave out the colon for the scheme's own port")]
    Port,
    /// A `*` elsewhere than as the first label, or in front of an address.
    #[error("`*` stands for one or more labels in front of a name, as in `https://*.example.com`")]
    Wildcard,
    /// A character that no host name has.
    #[error(
        "a host name is ASCII letters, digits, `-`, `_` and dots, without percent signs; write an international name in its `xn--` form"
    )]
    HostCharacter,
    /// Labels or the whole have a length that no host name has.
    #[error("a host name has labels of 1 to 63 characters and at most 253 characters in all")]
    HostLength,
    /// It looks like an address and is none.
    #[error(
        "an address is four decimal numbers with dots, or an IPv6 address in `[` and `]` without a zone"
    )]
    HostAddress,
}

/// Why a text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Not `address/prefix`.
    #[error("`{text}` is not a range of addresses; write `10.1.0.0/16`, `fd00::/8` or one address")]
    Invalid {
        /// The text, cut.
        text: String,
    },
    /// The address has bits after the prefix.
    #[error("`{text}` has bits set after its prefix; write `{network}`")]
    HostBits {
        /// The text.
        text: String,
        /// The range that the prefix names.
        network: String,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// One of each variant; the match keeps the list complete.
    fn all() -> Vec<Error> {
        let errors = vec![
            Error::DnsTimeout,
            Error::DnsError { rcode: None },
            Error::DestinationNotFound,
            Error::DestinationUnavailable,
            Error::DestinationIpProhibited,
            Error::ConnectionRefused,
            Error::ConnectionTerminated,
            Error::ConnectionTimeout,
            Error::ConnectionReadTimeout,
            Error::TlsProtocolError,
            Error::TlsCertificateError,
            Error::TlsAlertReceived { alert_id: 40 },
            Error::HttpRequestDenied,
            Error::HttpRequestMethodInvalid,
            Error::HttpRequestUriInvalid,
            Error::HttpResponseIncomplete,
            Error::HttpResponseHeaderSectionSize,
            Error::HttpResponseTimeout,
            Error::HttpUpgradeFailed,
            Error::HttpProtocolError,
            Error::LoopDetected,
            Error::ConfigurationError,
            Error::InternalError,
        ];
        assert_eq!(errors.len(), 23);
        errors
    }

    #[test]
    fn the_kind_is_the_variants_name_in_snake_case() {
        for error in all() {
            let debug = format!("{error:?}");
            let variant = debug.split([' ', '{']).next().unwrap();
            let mut snake = String::new();
            for letter in variant.chars() {
                if letter.is_ascii_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(letter.to_ascii_lowercase());
            }
            assert_eq!(error.kind(), snake);
        }
    }

    #[test]
    fn no_two_variants_share_a_kind_or_a_message() {
        let errors = all();
        let kinds: HashSet<_> = errors.iter().map(Error::kind).collect();
        let messages: HashSet<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!((kinds.len(), messages.len()), (errors.len(), errors.len()));
    }

    #[test]
    fn certificates_alerts_and_other_failures_of_tls_are_told_apart() {
        use rustls::{AlertDescription, CertificateError};
        for (tls, error) in [
            (
                rustls::Error::InvalidCertificate(CertificateError::Expired),
                Error::TlsCertificateError,
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::HandshakeFailure),
                Error::TlsAlertReceived { alert_id: 40 },
            ),
            (rustls::Error::DecryptError, Error::TlsProtocolError),
        ] {
            assert_eq!(Error::of_tls(&tls), error);
            let wrapped = std::io::Error::new(ErrorKind::InvalidData, tls);
            assert_eq!(Error::of_connection(&wrapped), error);
        }
    }
}
