//! Why there is no answer, in plain words.

use wasip2::http::types::ErrorCode;

/// Why an exchange failed.
pub struct Failure {
    /// The name of the case of `wasi:http`'s `error-code`.
    pub code: &'static str,
    pub words: String,
}

impl Failure {
    /// What the host says of an exchange with an origin.
    pub fn of(code: &ErrorCode, origin: &str) -> Self {
        let (code, words) = told(code);
        Self {
            code,
            words: words.replace("{}", origin),
        }
    }

    /// Something that HTTP does not take.
    pub fn invalid(what: &str) -> Self {
        Self {
            code: "HTTP-protocol-error",
            words: format!("this {what} cannot be sent over HTTP"),
        }
    }

    /// A header field that the host does not take.
    pub fn header(name: &str) -> Self {
        Self {
            code: "HTTP-protocol-error",
            words: format!("the header '{name}' cannot be sent"),
        }
    }

    /// It ended, and the host does not say why.
    pub fn broken(origin: &str) -> Self {
        Self {
            code: "HTTP-response-incomplete",
            words: format!("the response of {origin} broke off"),
        }
    }
}

/// The name of a case as in WIT, and words in which `{}` stands for the origin.
fn told(code: &ErrorCode) -> (&'static str, String) {
    let own = |words: &str| words.to_owned();
    let more = |words: &str, detail: Option<&String>| match detail.map(String::as_str) {
        None | Some("") => words.to_owned(),
        Some(detail) => format!("{words} ({})", detail.replace("{}", "{ }")),
    };
    match code {
        ErrorCode::HttpRequestDenied => (
            "HTTP-request-denied",
            own(
                "this code may not reach {}: the environment's terms and the operator say where it may send",
            ),
        ),
        ErrorCode::DnsTimeout => (
            "DNS-timeout",
            own("looking up the name of {} took too long"),
        ),
        ErrorCode::DnsError(error) => (
            "DNS-error",
            more("the name of {} was not found", error.rcode.as_ref()),
        ),
        ErrorCode::DestinationNotFound => ("destination-not-found", own("{} was not found")),
        ErrorCode::DestinationUnavailable => {
            ("destination-unavailable", own("{} is not available"))
        }
        ErrorCode::DestinationIpProhibited => (
            "destination-IP-prohibited",
            own("{} has an address that this host sends nothing to"),
        ),
        ErrorCode::DestinationIpUnroutable => (
            "destination-IP-unroutable",
            own("there is no route to the address of {}"),
        ),
        ErrorCode::ConnectionRefused => ("connection-refused", own("{} refused the connection")),
        ErrorCode::ConnectionTerminated => {
            ("connection-terminated", own("{} ended the connection"))
        }
        ErrorCode::ConnectionTimeout => {
            ("connection-timeout", own("connecting to {} took too long"))
        }
        ErrorCode::ConnectionReadTimeout => (
            "connection-read-timeout",
            own("{} sent nothing for too long"),
        ),
        ErrorCode::ConnectionWriteTimeout => (
            "connection-write-timeout",
            own("{} took nothing for too long"),
        ),
        ErrorCode::ConnectionLimitReached => (
            "connection-limit-reached",
            own("too many requests are under way for another one to {}"),
        ),
        ErrorCode::TlsProtocolError => ("TLS-protocol-error", own("TLS with {} failed")),
        ErrorCode::TlsCertificateError => (
            "TLS-certificate-error",
            own("the certificate of {} is not valid"),
        ),
        ErrorCode::TlsAlertReceived(alert) => (
            "TLS-alert-received",
            more("{} ended TLS", alert.alert_message.as_ref()),
        ),
        ErrorCode::HttpRequestLengthRequired => (
            "HTTP-request-length-required",
            own("the request to {} needs a length"),
        ),
        ErrorCode::HttpRequestBodySize(_) => (
            "HTTP-request-body-size",
            own("the body for {} has not the length that it may or should have"),
        ),
        ErrorCode::HttpRequestMethodInvalid => (
            "HTTP-request-method-invalid",
            own("the method of the request to {} is not valid"),
        ),
        ErrorCode::HttpRequestUriInvalid => (
            "HTTP-request-URI-invalid",
            own("the URL of the request to {} is not valid"),
        ),
        ErrorCode::HttpRequestUriTooLong => (
            "HTTP-request-URI-too-long",
            own("the URL of the request to {} is too long"),
        ),
        ErrorCode::HttpRequestHeaderSectionSize(_) => (
            "HTTP-request-header-section-size",
            own("the headers for {} are too long"),
        ),
        ErrorCode::HttpRequestHeaderSize(_) => (
            "HTTP-request-header-size",
            own("a header for {} is too long"),
        ),
        ErrorCode::HttpRequestTrailerSectionSize(_) => (
            "HTTP-request-trailer-section-size",
            own("the trailers for {} are too long"),
        ),
        ErrorCode::HttpRequestTrailerSize(_) => (
            "HTTP-request-trailer-size",
            own("a trailer for {} is too long"),
        ),
        ErrorCode::HttpResponseIncomplete => (
            "HTTP-response-incomplete",
            own("the response of {} broke off"),
        ),
        ErrorCode::HttpResponseHeaderSectionSize(_) => (
            "HTTP-response-header-section-size",
            own("the headers of {} are too long"),
        ),
        ErrorCode::HttpResponseHeaderSize(_) => (
            "HTTP-response-header-size",
            own("a header of {} is too long"),
        ),
        ErrorCode::HttpResponseBodySize(_) => (
            "HTTP-response-body-size",
            own("the response of {} is too long"),
        ),
        ErrorCode::HttpResponseTrailerSectionSize(_) => (
            "HTTP-response-trailer-section-size",
            own("the trailers of {} are too long"),
        ),
        ErrorCode::HttpResponseTrailerSize(_) => (
            "HTTP-response-trailer-size",
            own("a trailer of {} is too long"),
        ),
        ErrorCode::HttpResponseTransferCoding(coding) => (
            "HTTP-response-transfer-coding",
            more("the transfer coding of {} is unknown", coding.as_ref()),
        ),
        ErrorCode::HttpResponseContentCoding(coding) => (
            "HTTP-response-content-coding",
            more("the content coding of {} is unknown", coding.as_ref()),
        ),
        ErrorCode::HttpResponseTimeout => {
            ("HTTP-response-timeout", own("{} did not answer in time"))
        }
        ErrorCode::HttpUpgradeFailed => {
            ("HTTP-upgrade-failed", own("{} did not change the protocol"))
        }
        ErrorCode::HttpProtocolError => (
            "HTTP-protocol-error",
            own("{} does not speak HTTP as it should"),
        ),
        ErrorCode::LoopDetected => ("loop-detected", own("requests to {} go in a circle")),
        ErrorCode::ConfigurationError => (
            "configuration-error",
            own("the host is not set up to send to {}"),
        ),
        ErrorCode::InternalError(detail) => (
            "internal-error",
            more("the request to {} failed in the host", detail.as_ref()),
        ),
    }
}
