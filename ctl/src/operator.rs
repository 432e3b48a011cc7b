//! The operator's commands to a host that is serving, over its admin port.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use hypervisor::admin::{Fleet, Lines, Place, Spans, Status, Token};
use hypervisor::pipeline::{Replacement, Swapped};
use hypervisor_protocol::{AgentInfo, ContentFormat, Problem};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::error::Error;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 16 << 20;
/// Time that an answer takes at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same of a swap, for which a component is compiled.
const SWAP: Duration = Duration::from_secs(15 * 60);
/// The same of a change of a fleet's key, which waits for a look at it that is under way.
const ROTATE: Duration = Duration::from_secs(60);

/// Where an admin port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminUrl {
    /// A socket, or an address without TLS: `unix:/path`, `http://ip:port`, `ip:port`.
    Plain(Place),
    /// `https://name:port`.
    Tls(String),
}

impl FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(authority) = text.strip_prefix("https://") {
            let authority = authority.trim_end_matches('/');
            return match authority.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Self::Tls(authority.to_owned()))
                }
                _ => Err(format!("`{text}` has no port: write https://NAME:PORT")),
            };
        }
        let address = text.strip_prefix("http://").unwrap_or(text);
        let place = address.trim_end_matches('/').parse();
        place.map(Self::Plain).map_err(|_| {
            format!("`{text}` is none of unix:/PATH, http://IP:PORT and https://NAME:PORT")
        })
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(place) => place.fmt(f),
            Self::Tls(authority) => write!(f, "https://{authority}"),
        }
    }
}

impl AdminUrl {
    /// Whether it is a socket in the file system, which asks for no token.
    pub fn is_socket(&self) -> bool {
        matches!(self, Self::Plain(Place::Unix(_)))
    }
}

/// Reads the token in `file`.
///
/// # Errors
/// Where it cannot be read, and where others than its owner may read it.
pub fn token(file: &Path) -> Result<Token, Error> {
    Ok(
        Token::read(file).map_err(|source| hypervisor::error::Error::AdminToken {
            path: file.to_owned(),
            source,
        })?,
    )
}

/// What is shown and asked for under TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Certificates, PEM, that sign the host's.
    pub ca: Option<PathBuf>,
    /// The operator's certificate and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The admin port of a host.
pub struct Admin {
    url: AdminUrl,
    token: Option<Token>,
    tls: Option<TlsConnector>,
}

impl Admin {
    /// The port at `url`; `token` shows who asks, where something has to.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn new(url: AdminUrl, token: Option<Token>, files: &TlsFiles) -> Result<Self, Error> {
        let tls = match url {
            AdminUrl::Plain(_) => None,
            AdminUrl::Tls(_) => Some(connector(files)?),
        };
        Ok(Self { url, token, tls })
    }

    /// What the host says of itself.
    ///
    /// # Errors
    /// [`Error::Admin`], as of all that follow.
    pub async fn status(&self) -> Result<Status, Error> {
        self.read(Method::GET, "/status", ("", Vec::new())).await
    }

    /// The lines of its log from this number on.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn logs(&self, from: u64) -> Result<Lines, Error> {
        let path = format!("/logs?from={from}");
        self.read(Method::GET, &path, ("", Vec::new())).await
    }

    /// What its last requests took, from the one of this number on.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn spans(&self, from: u64) -> Result<Spans, Error> {
        let path = format!("/spans?from={from}");
        self.read(Method::GET, &path, ("", Vec::new())).await
    }

    /// The hosts that are one service with it.
    ///
    /// # Errors
    /// [`Error::Admin`], also where it is alone.
    pub async fn fleet(&self) -> Result<Fleet, Error> {
        self.read(Method::GET, "/fleet", ("", Vec::new())).await
    }

    /// Has another key take the place of the one that its fleet shares; gives its id, hex.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn rotate(&self) -> Result<String, Error> {
        let asked = self.ask(Method::POST, "/fleet/rotate", ("", Vec::new()), ROTATE);
        Ok(String::from_utf8_lossy(&asked.await?).trim().to_owned())
    }

    /// What it counts, as OpenMetrics.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn metrics(&self) -> Result<String, Error> {
        let asked = self.ask(Method::GET, "/metrics", ("", Vec::new()), PATIENCE);
        let text = String::from_utf8(asked.await?.into());
        text.map_err(|_| self.failed(&"its metrics are no text"))
    }

    /// Sets the levels of its log, as `RUST_LOG` has them; gives those in force.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn set_level(&self, directives: &str) -> Result<String, Error> {
        let body = ("text/plain", directives.as_bytes().to_vec());
        let level = self.ask(Method::PUT, "/level", body, PATIENCE).await?;
        Ok(String::from_utf8_lossy(&level).trim().to_owned())
    }

    /// Has it be not ready, and end when what is under way has ended, where `ends` says so.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn drain(&self, ends: bool) -> Result<(), Error> {
        let path = if ends { "/drain" } else { "/drain?stay" };
        let asked = self.ask(Method::POST, path, ("", Vec::new()), PATIENCE);
        asked.await.map(drop)
    }

    /// Has it be ready again.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn leave_drain(&self) -> Result<(), Error> {
        let asked = self.ask(Method::DELETE, "/drain", ("", Vec::new()), PATIENCE);
        asked.await.map(drop)
    }

    /// Takes down an agent by its name or address; none of one that was kept and not taken up.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn remove(&self, agent: &str) -> Result<Option<AgentInfo>, Error> {
        let path = format!("/agents/{agent}");
        let asked = self.ask(Method::DELETE, &path, ("", Vec::new()), PATIENCE);
        Ok(serde_json::from_slice(&asked.await?).ok())
    }

    /// Takes away all environments of an owner; gives how many there were.
    ///
    /// # Errors
    /// [`Error::Admin`].
    pub async fn remove_environments(&self, owner: &str) -> Result<u64, Error> {
        let path = format!("/owners/{owner}/environments");
        self.read(Method::DELETE, &path, ("", Vec::new())).await
    }

    /// Has it swap a plugin, its rules or both: `payments`, `policy`, `status`, or `NAME.protocol`.
    ///
    /// # Errors
    /// [`Error::NotSwapped`] with the host's words, or with why it was not reached.
    pub async fn swap(&self, plugin: &str, with: Replacement) -> Result<Swapped, Error> {
        let body = match with {
            Replacement {
                component: Some(component),
                rules: None,
            } => ("application/wasm", component.0),
            with => {
                let body = ContentFormat::Cbor.encode(&with);
                let body = body.map_err(|e| Error::NotSwapped(e.to_string()))?;
                (ContentFormat::Cbor.media_type(), body)
            }
        };
        let path = format!("/swap/{plugin}");
        let swapped = self.ask(Method::POST, &path, body, SWAP).await;
        let swapped = swapped.and_then(|body| self.parsed(&body));
        swapped.map_err(|error| Error::NotSwapped(error.to_string()))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: (&str, Vec<u8>),
    ) -> Result<T, Error> {
        let body = self.ask(method, path, body, PATIENCE).await?;
        self.parsed(&body)
    }

    fn parsed<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|e| {
            self.failed(&format!(
                "{e}; is the host of the same version as this program?"
            ))
        })
    }

    fn failed(&self, why: &dyn fmt::Display) -> Error {
        Error::Admin(format!("the admin port {}: {why}", self.url))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: (&str, Vec<u8>),
        patience: Duration,
    ) -> Result<Bytes, Error> {
        let asked = tokio::time::timeout(patience, self.answer(method, path, body)).await;
        let (status, body) = match asked {
            Ok(answer) => answer.map_err(|e| self.failed(&e))?,
            Err(_) => return Err(self.failed(&format!("no answer within {patience:?}"))),
        };
        if status.is_success() {
            return Ok(body);
        }
        let words = serde_json::from_slice::<Problem>(&body).map_or_else(
            |_| String::from_utf8_lossy(&body).trim().to_owned(),
            |problem| problem.detail,
        );
        Err(Error::Admin(words))
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        (media_type, body): (&str, Vec<u8>),
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let host = match &self.url {
            AdminUrl::Plain(Place::Tcp(address)) => address.to_string(),
            AdminUrl::Plain(Place::Unix(_)) => "localhost".to_owned(),
            AdminUrl::Tls(authority) => authority.clone(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .body(Full::new(Bytes::from(body)))?;
        if !media_type.is_empty() {
            let media_type = HeaderValue::from_str(media_type)?;
            request
                .headers_mut()
                .insert(header::CONTENT_TYPE, media_type);
        }
        if let Some(token) = &self.token {
            let mut shown = HeaderValue::from_str(&token.authorization())?;
            shown.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, shown);
        }
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        // Ends with the answer.
        tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER);
        Ok((status, body.collect().await?.to_bytes()))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match (&self.url, &self.tls) {
            (AdminUrl::Plain(Place::Tcp(address)), _) => {
                Box::new(TcpStream::connect(address).await?)
            }
            (AdminUrl::Plain(Place::Unix(path)), _) => Box::new(UnixStream::connect(path).await?),
            (AdminUrl::Tls(authority), Some(tls)) => {
                let name = authority
                    .rsplit_once(':')
                    .map_or(&**authority, |(name, _)| name);
                let name = name.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(name.to_owned())?;
                let stream = TcpStream::connect(authority).await?;
                Box::new(tls.connect(name, stream).await?)
            }
            (AdminUrl::Tls(_), None) => return Err("no TLS".into()),
        })
    }
}

/// What speaks TLS to the host. Its certificate is one that the operator's own file signs: no authority of the system may.
fn connector(files: &TlsFiles) -> Result<TlsConnector, Error> {
    let unusable = |path: &Path, error: &dyn fmt::Display| {
        Error::Admin(format!(
            "{}: {error}; it names a file in PEM",
            path.display()
        ))
    };
    let Some(ca) = &files.ca else {
        return Err(Error::Admin(
            "name the certificate that signs the host's with --tls-ca".to_owned(),
        ));
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| unusable(ca, &e))? {
        let certificate = certificate.map_err(|e| unusable(ca, &e))?;
        roots.add(certificate).map_err(|e| unusable(ca, &e))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(ca, &e))?
        .with_root_certificates(roots);
    let config = match &files.identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| unusable(certificate, &e))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, &e))?;
            let config = config.with_client_auth_cert(chain, secret);
            config.map_err(|e| unusable(key, &e))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_by_its_socket_or_its_address() {
        for (text, shown) in [
            ("unix:/run/h/admin.sock", "unix:/run/h/admin.sock"),
            ("127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://127.0.0.1:8081/", "127.0.0.1:8081"),
            ("https://host.example:9000", "https://host.example:9000"),
            ("https://[::1]:9000/", "https://[::1]:9000"),
        ] {
            assert_eq!(text.parse::<AdminUrl>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "unix:",
            "unix:admin.sock",
            "host.example:9000",
            "http://host.example:9000",
            "https://host.example",
            "https://:9000",
            "ftp://127.0.0.1:1",
        ] {
            assert!(text.parse::<AdminUrl>().is_err(), "{text}");
        }
    }
}
