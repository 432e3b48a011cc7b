//! What can go wrong: on the way out, in the terms of `wasi:http`, and in what an operator or a manifest lists.

use std::error::Error as _;
use std::io::{self, ErrorKind};

/// Why a request was not answered. None that is made here has a text, or says where the request was going.
pub use wasmtime_wasi_http::Error;

/// What an input or output error of a connection that was made means.
pub(crate) fn of_connection(error: &io::Error) -> Error {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return of_tls(tls);
    }
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::HttpResponseIncomplete,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::NotConnected
        | ErrorKind::BrokenPipe => Error::ConnectionTerminated,
        ErrorKind::TimedOut => Error::ConnectionReadTimeout,
        _ => Error::HttpProtocolError,
    }
}

fn of_tls(error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            Error::TlsCertificateError
        }
        rustls::Error::AlertReceived(alert) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: None,
        },
        _ => Error::TlsProtocolError,
    }
}

/// What an error of an HTTP connection means.
pub(crate) fn of_http(error: &hyper::Error) -> Error {
    let cause = || error.source().and_then(|e| e.downcast_ref::<io::Error>());
    if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if error.is_parse() || error.is_user() {
        Error::HttpProtocolError
    } else if error.is_canceled() || error.is_closed() {
        Error::ConnectionTerminated
    } else {
        cause().map_or(Error::HttpProtocolError, of_connection)
    }
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
    /// Neither a name nor an address.
    #[error(
        "a host is a name of labels of 1 to 63 ASCII letters, digits, `-` and `_` (an international name in its `xn--` form), four decimal numbers with dots, or an IPv6 address in `[` and `]` without a zone"
    )]
    Host,
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
    use rustls::{AlertDescription, CertificateError};

    use super::*;

    #[test]
    fn certificates_alerts_and_other_failures_of_tls_are_told_apart() {
        let of = |tls: rustls::Error| of_connection(&io::Error::new(ErrorKind::InvalidData, tls));
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert!(matches!(of(expired), Error::TlsCertificateError));
        assert!(matches!(
            of(rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure
            )),
            Error::TlsAlertReceived {
                alert_id: Some(40),
                alert_message: None
            }
        ));
        assert!(matches!(
            of(rustls::Error::DecryptError),
            Error::TlsProtocolError
        ));
    }
}
