//! Requests that a component sends: only to origins on its list, over wasi:http.

use std::sync::Arc;

use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// An origin (RFC 6454): scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute `http` or `https` URL; none of anything else.
    pub fn of(uri: &http::Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some(Self {
            scheme: scheme.to_owned(),
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default),
        })
    }
}

/// The hooks of wasi:http in one store.
#[derive(Debug, Clone, Default)]
pub(super) struct Outgoing {
    allowed: Arc<[Origin]>,
}

impl Outgoing {
    pub(super) fn to(allowed: Arc<[Origin]>) -> Self {
        Self { allowed }
    }
}

/// What a sent request gives: the response, and what drives its connection.
type Sent = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = wasmtime_wasi_http::Result<Sent>> + Send> {
        let allowed =
            Origin::of(request.uri()).is_some_and(|origin| self.allowed.contains(&origin));
        Box::new(async move {
            if !allowed {
                return Err(Error::HttpRequestDenied);
            }
            let (response, connection) =
                wasmtime_wasi_http::default_send_request(request, options).await?;
            let connection: Box<dyn Future<Output = _> + Send> = Box::new(connection);
            Ok((response.map(BodyExt::boxed_unsync), connection))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Option<Origin> {
        Origin::of(&url.parse().unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(
            origin("https://a.example/x"),
            origin("https://A.example:443/y?z")
        );
        assert_ne!(origin("https://a.example"), origin("http://a.example"));
        assert_ne!(origin("http://a.example"), origin("http://a.example:81"));
        assert_ne!(origin("http://a.example"), origin("http://a.example.org"));
        assert_eq!(origin("ftp://a.example"), None);
        assert_eq!(origin("/path"), None);
    }

    #[test]
    fn user_information_does_not_hide_the_host() {
        assert_eq!(
            origin("http://allowed.example@evil.example/"),
            origin("http://evil.example/")
        );
    }
}
