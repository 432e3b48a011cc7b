//! Sending a request: checked, over a connection of its own, within its times.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue, TE};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use rustls::RootCertStore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, WasiBody};

use crate::address::Networks;
use crate::body::Timed;
use crate::connect::{Stream, connect, connector, secured};
use crate::error::{Error, of_http};
use crate::origin::Origin;
use crate::resolve::{Resolve, destinations};
use crate::share::{Bounds, Share, Taken};

/// Each time that a request does not set: the default of wasi:http hosts.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest time that can be set; longer ones are cut.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most fields in the head of a response.
const MAX_HEADERS: usize = 256;
/// Most bytes of a response's head, and of its body that are buffered.
const MAX_BUFFER: usize = 128 * 1024;

/// How long a request waits, where it says so: 600 seconds each where not. To connect is resolving the name, TCP and TLS together.
pub use wasmtime_wasi_http::RequestOptions as Timeouts;

/// Drives the connection of a response: polled, it moves the bodies of both directions. It ends when the response is complete, and
/// dropping it ends the connection.
pub type Connection = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A response as the hooks of wasi:http have it, with what drives its connection or waits for its end.
pub(crate) type Answered = (
    Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

/// Drives an HTTP/1.1 connection.
pub(crate) type Connected<B> = http1::Connection<TokioIo<Box<dyn Stream>>, B>;

/// Sends requests, each over a connection of its own: HTTP/1.1, TLS for `https`, to addresses that are allowed.
///
/// Cloning is cheap, and clones share everything.
#[derive(Clone)]
pub struct Sender {
    networks: Arc<Networks>,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
    share: Share,
}

impl Sender {
    /// A sender that trusts Mozilla's root certificates.
    ///
    /// # Errors
    /// [`Error::ConfigurationError`] when TLS can not be set up.
    pub fn new(networks: Networks, resolver: Arc<dyn Resolve>) -> Result<Self, Error> {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self::with_roots(networks, resolver, roots)
    }

    /// A sender that trusts the authorities in `roots` and no other.
    ///
    /// # Errors
    /// As [`Sender::new`].
    pub fn with_roots(
        networks: Networks,
        resolver: Arc<dyn Resolve>,
        roots: RootCertStore,
    ) -> Result<Self, Error> {
        Ok(Self {
            networks: Arc::new(networks),
            resolver,
            tls: connector(roots)?,
            share: Share::new(Bounds::default()),
        })
    }

    /// The same, with what `share` allows to be under way at once.
    #[must_use]
    pub fn sharing(self, share: Share) -> Self {
        Self { share, ..self }
    }

    #[cfg(test)]
    pub(crate) fn share(&self) -> Share {
        self.share.clone()
    }

    /// Sends `request`, whose URI is absolute, and gives the head of the response as soon as it is there.
    ///
    /// The [`Connection`] must be polled, in a task as a rule, for either body to move. The caller has decided that the origin is
    /// allowed; the addresses are checked here. What goes out is the origin as it was checked: the field `host` is set from the
    /// URI, whatever the request says, and fields about the connection are replaced. The response's body has ended after an error.
    ///
    /// # Errors
    /// Every [`Error`] that has no text but [`Error::HttpRequestDenied`] and [`Error::LoopDetected`], which are for the caller to use.
    pub async fn send<B>(
        &self,
        request: Request<B>,
        timeouts: Timeouts,
    ) -> Result<(Response<WasiBody>, Connection), Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (origin, request) = prepare(request, true)?;
        let (stream, taken) = self.open(&origin, timeouts.connect_timeout).await?;
        let exchange = exchange(stream, taken, request);
        // The same to the caller as no bytes of a body (RFC 9209 §2.3.10).
        let (response, connection) = timeout(duration(timeouts.first_byte_timeout), exchange)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)??;
        Ok((readable(response, &timeouts)?, connection))
    }

    /// A connection to an address of `origin` that is allowed, taken from the share.
    pub(crate) async fn open(
        &self,
        origin: &Origin,
        limit: Option<Duration>,
    ) -> Result<(Box<dyn Stream>, Taken), Error> {
        // Before anything waits: requests that wait for a name are under way as well.
        let taken = self.share.connection()?;
        self.connect(origin, taken, duration(limit)).await
    }

    async fn connect(
        &self,
        origin: &Origin,
        taken: Taken,
        limit: Duration,
    ) -> Result<(Box<dyn Stream>, Taken), Error> {
        let deadline = Instant::now() + limit;
        let found = destinations(&self.resolver, &self.share, &self.networks, origin);
        let addresses = timeout_at(deadline, found)
            .await
            .map_err(|_| Error::DnsTimeout)??;
        let connected = async {
            let (stream, taken) = connect(addresses, taken, &self.share).await?;
            Ok((secured(&self.tls, origin, stream).await?, taken))
        };
        timeout_at(deadline, connected)
            .await
            .map_err(|_| Error::ConnectionTimeout)?
    }
}

/// A response as a component reads it, which fails when its bytes are waited for too long.
pub(crate) fn readable(
    response: Response<Incoming>,
    timeouts: &Timeouts,
) -> Result<Response<WasiBody>, Error> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::HttpUpgradeFailed);
    }
    let between_bytes = duration(timeouts.between_bytes_timeout);
    Ok(response.map(|body| Timed::new(body, between_bytes).fuse().boxed_unsync()))
}

/// HTTP/1.1 over `stream`: what sends requests, and what drives the connection.
pub(crate) async fn handshake<B>(
    stream: Box<dyn Stream>,
) -> Result<(SendRequest<B>, Connected<B>), Error>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| of_http(&error))
}

pub(crate) fn duration(chosen: Option<Duration>) -> Duration {
    chosen.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT)
}

/// Sends `request` over `stream` and waits for the head of the response, while the connection moves the request's body.
async fn exchange<B>(
    stream: Box<dyn Stream>,
    taken: Taken,
    request: Request<B>,
) -> Result<(Response<Incoming>, Connection), Error>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut requests, connection) = handshake(stream).await?;
    let mut connection: Connection = Box::pin(async move {
        let _taken = taken;
        connection.await.map_err(|error| of_http(&error))
    });
    let mut response = std::pin::pin!(requests.send_request(request));
    tokio::select! {
        // A head that has arrived counts, whatever became of the connection after it.
        biased;
        answered = &mut response => match answered {
            Ok(response) => Ok((response, connection)),
            Err(error) => Err(of_http(&error)),
        },
        ended = &mut connection => match (response.await, ended) {
            (Ok(response), ended) => Ok((response, Box::pin(std::future::ready(ended)))),
            (Err(_), Err(ended)) => Err(ended),
            (Err(error), Ok(())) => Err(of_http(&error)),
        },
    }
}

/// The origin of `request`, and the request as it goes to the server of that origin: a path for its URI, `host`, and whether it is
/// the last of its connection.
pub(crate) fn prepare<B>(
    mut request: Request<B>,
    is_last: bool,
) -> Result<(Origin, Request<B>), Error> {
    let uri = request.uri();
    let origin = Origin::of(uri).ok_or(Error::HttpRequestUriInvalid)?;
    // RFC 9110 §4.2.4: user information in a URI from someone untrusted is an error.
    if uri.authority().is_none_or(|a| a.as_str().contains('@')) {
        return Err(Error::HttpRequestUriInvalid);
    }
    if request.method() == Method::CONNECT {
        return Err(Error::HttpRequestMethodInvalid);
    }
    let path = match uri.path_and_query() {
        Some(path) => path.clone(),
        None => PathAndQuery::from_static("/"),
    };
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    set_fields(request.headers_mut(), &origin, is_last)?;
    Ok((origin, request))
}

fn set_fields(fields: &mut HeaderMap, origin: &Origin, is_last: bool) -> Result<(), Error> {
    // About one connection (RFC 9110 §7.6.1), which is the sender's own and not the caller's.
    // `host` stays where it is, which is first, to be replaced there.
    for name in DEFAULT_FORBIDDEN_HEADERS.iter().filter(|n| **n != HOST) {
        fields.remove(name);
    }
    // RFC 9110 §10.1.4: whoever sends TE names it here.
    let options = match (fields.contains_key(TE), is_last) {
        (true, true) => Some("TE, close"),
        (true, false) => Some("TE"),
        (false, true) => Some("close"),
        (false, false) => None,
    };
    if let Some(options) = options {
        fields.insert(CONNECTION, HeaderValue::from_static(options));
    }
    // RFC 9112 §3.2: the URI decides. A server of several sites would else serve one that the origin does not name.
    let host =
        HeaderValue::try_from(origin.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
    fields.insert(HOST, host);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(request: http::request::Builder) -> Result<(Origin, Request<()>), Error> {
        prepare(request.body(()).unwrap(), true)
    }

    fn get(uri: &str) -> http::request::Builder {
        Request::get(uri)
    }

    #[test]
    fn a_request_goes_out_with_a_path_and_the_host_of_its_uri() {
        let (origin, request) = prepared(get("http://A.example.:8080/a/b?c=d")).unwrap();
        assert_eq!(origin.to_string(), "http://a.example:8080");
        assert_eq!(request.uri(), "/a/b?c=d");
        assert_eq!(request.headers()[HOST], "a.example:8080");
        assert_eq!(request.headers()[CONNECTION], "close");
        assert_eq!(request.version(), Version::HTTP_11);
    }

    #[test]
    fn a_uri_without_path_asks_for_the_root() {
        let (_, request) = prepared(get("https://a.example")).unwrap();
        assert_eq!(request.uri(), "/");
        assert_eq!(request.headers()[HOST], "a.example");
        let (_, request) = prepared(get("https://a.example?q")).unwrap();
        assert_eq!(request.uri(), "/?q");
    }

    #[test]
    fn a_host_field_of_another_site_is_replaced() {
        let request = get("https://a.example/")
            .header(HOST, "b.example")
            .header(HOST, "c.example");
        let (_, request) = prepared(request).unwrap();
        let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
        assert_eq!(hosts, ["a.example"]);
    }

    #[test]
    fn fields_about_the_connection_are_the_senders() {
        let request = get("http://a.example/")
            .header("connection", "keep-alive, x-secret")
            .header("transfer-encoding", "gzip, chunked")
            .header("upgrade", "websocket")
            .header("te", "trailers")
            .header("x-other", "stays");
        let (_, request) = prepared(request).unwrap();
        assert_eq!(request.headers()[CONNECTION], "TE, close");
        assert!(!request.headers().contains_key("transfer-encoding"));
        assert!(!request.headers().contains_key("upgrade"));
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["x-other"], "stays");
    }

    #[test]
    fn a_connection_that_is_kept_is_not_said_to_close() {
        let kept = |request: http::request::Builder| prepare(request.body(()).unwrap(), false);
        let (_, request) = kept(get("http://a.example/").header("connection", "close")).unwrap();
        assert!(!request.headers().contains_key(CONNECTION));
        let (_, request) = kept(get("http://a.example/").header("te", "trailers")).unwrap();
        assert_eq!(request.headers()[CONNECTION], "TE");
    }

    #[test]
    fn a_uri_without_origin_or_with_user_information_is_refused() {
        for uri in [
            "/path",
            "ftp://a.example/",
            "http://user@a.example/",
            "http://127.1/",
        ] {
            let refused = prepared(get(uri));
            assert!(
                matches!(refused, Err(Error::HttpRequestUriInvalid)),
                "{uri}"
            );
        }
    }

    #[test]
    fn tunnels_are_refused() {
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://a.example/");
        assert!(matches!(
            prepared(request),
            Err(Error::HttpRequestMethodInvalid)
        ));
    }

    #[test]
    fn a_time_that_is_not_set_is_ten_minutes_and_none_is_longer_than_a_day() {
        assert_eq!(duration(None), Duration::from_secs(600));
        assert_eq!(duration(Some(Duration::ZERO)), Duration::ZERO);
        assert_eq!(duration(Some(Duration::MAX)), Duration::from_secs(86_400));
    }
}
