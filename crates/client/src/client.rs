//! The connection to one host.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hypervisor_protocol::{
    ClientSession, ContentFormat, CreateKeypairRequest, CreateKeypairResponse, PrivateKey, Problem,
    PublicKey,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::Error;
use crate::session::Session;

/// Time to reach the host. An answer may take as long as the program runs, so there is no bound on that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent and asked for.
const FORMAT: ContentFormat = ContentFormat::Cbor;

/// Header of x402 version 2 with a payment.
const PAYMENT_SIGNATURE: &str = "payment-signature";

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Talks to one host; cheap to clone, connections are kept alive and shared.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
}

impl Client {
    /// A client of the host at `server`, an `http` or `https` URL. Nothing is sent yet.
    pub fn new(server: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Address {
            url: server.to_owned(),
            reason,
        };
        let mut url = Url::parse(server).map_err(|e| wrong(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong("it is neither http nor https".to_owned()));
        }
        // Joining a path would replace the last part of one without a slash at its end.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        // A program that chose another library of cryptography keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A payment is for this host alone, and redirecting a post loses its body.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let http = http.map_err(|source| Error::Transport {
            server: url.to_string(),
            source,
        })?;
        Ok(Self { http, server: url })
    }

    /// Asks `/ping`.
    pub async fn ping(&self) -> Result<(), Error> {
        let response = self
            .http
            .get(self.url("ping")?)
            .send()
            .await
            .map_err(|e| self.transport(e))?;
        let status = response.status().as_u16();
        match response
            .text()
            .await
            .map_err(|e| self.transport(e))?
            .as_str()
        {
            "pong" => Ok(()),
            _ => Err(self.unexpected(status)),
        }
    }

    /// Opens a session with a fresh key pair. It is not attested: the host's identity is as good as the connection's.
    /// [`Self::open_attested_session`] asks for proof.
    pub async fn open_session(&self) -> Result<Session, Error> {
        let key = PrivateKey::generate();
        let request = CreateKeypairRequest::new(key.public_key(), None);
        let answer: CreateKeypairResponse = self.post("encrypt/create_keypair", &request).await?;
        let host = PublicKey::from_sec1(&answer.session_pubkey.0).map_err(Error::Verification)?;
        self.session(key, host, &answer)
    }

    /// The session that an answer opened.
    pub(crate) fn session(
        &self,
        key: PrivateKey,
        host: PublicKey,
        answer: &CreateKeypairResponse,
    ) -> Result<Session, Error> {
        let session = ClientSession::new(key, host, answer.session_id).map_err(Error::Protocol)?;
        Ok(Session::new(self.clone(), session, answer.expires_at))
    }

    /// Gets an answer of at most `maximum` bytes, CBOR where the host has a choice.
    pub(crate) async fn get(&self, path: &str, maximum: usize) -> Result<Answer, Error> {
        let mut response = self
            .http
            .get(self.url(path)?)
            .header(ACCEPT, FORMAT.media_type())
            .send()
            .await
            .map_err(|e| self.transport(e))?;
        let status = response.status();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.transport(e))? {
            if body.len().saturating_add(chunk.len()) > maximum {
                return Err(self.unexpected(status.as_u16()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
        })
    }

    /// Gets CBOR or JSON, or a problem.
    pub(crate) async fn fetch<T: DeserializeOwned>(
        &self,
        path: &str,
        maximum: usize,
    ) -> Result<T, Error> {
        let answer = self.get(path, maximum).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        let format = answer.headers.get(CONTENT_TYPE);
        let format =
            format.and_then(|format| ContentFormat::from_media_type(format.to_str().ok()?));
        format
            .and_then(|format| format.decode(&answer.body).ok())
            .ok_or_else(|| self.unexpected(answer.status.as_u16()))
    }

    /// Posts CBOR, reads CBOR or a problem.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = Self::encode(body)?;
        let answer = self.send(Method::POST, path, body, None).await?;
        self.read(&answer)
    }

    /// A body as it is sent.
    pub(crate) fn encode(body: &impl Serialize) -> Result<Bytes, Error> {
        FORMAT
            .encode(body)
            .map(Bytes::from)
            .map_err(Error::Protocol)
    }

    /// Sends an encoded body, with a payment if there is one, and receives the whole answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        payment: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let mut request = self
            .http
            .request(method, self.url(path)?)
            .header(CONTENT_TYPE, FORMAT.media_type());
        if let Some(payment) = payment {
            request = request.header(PAYMENT_SIGNATURE, payment);
        }
        let mut response = request
            .body(body)
            .send()
            .await
            .map_err(|e| self.transport(e))?;
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: response.bytes().await.map_err(|e| self.transport(e))?,
        })
    }

    /// Reads an answer: CBOR, or a problem.
    pub(crate) fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        if answer.status.is_success() {
            FORMAT
                .decode(&answer.body)
                .map_err(|_| self.unexpected(answer.status.as_u16()))
        } else {
            Err(self.refusal(answer))
        }
    }

    /// An answer that is no success, as an error.
    pub(crate) fn refusal(&self, answer: &Answer) -> Error {
        if answer.status == StatusCode::PAYMENT_REQUIRED {
            return Error::PaymentDemanded;
        }
        match serde_json::from_slice::<Problem>(&answer.body) {
            Ok(problem) => Error::Refused(Box::new(problem)),
            Err(_) => self.unexpected(answer.status.as_u16()),
        }
    }

    fn url(&self, path: &str) -> Result<Url, Error> {
        self.server.join(path).map_err(|e| Error::Address {
            url: self.server.to_string(),
            reason: e.to_string(),
        })
    }

    fn transport(&self, source: reqwest::Error) -> Error {
        // The URL is in the message already.
        Error::Transport {
            server: self.server.to_string(),
            source: source.without_url(),
        }
    }

    fn unexpected(&self, status: u16) -> Error {
        Error::Unexpected {
            server: self.server.to_string(),
            status,
        }
    }
}
