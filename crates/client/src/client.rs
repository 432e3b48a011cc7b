//! The connection to one host.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hypervisor_protocol::{
    ClientSession, ContentFormat, CreateKeypairRequest, CreateKeypairResponse, PrivateKey, Problem,
    PublicKey, StreamReader, stream,
};
use hypervisor_verify::{Connection, Policy, evidence};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::affinity::Affinity;
use crate::error::{Demand, Error};
use crate::live::Opening;
use crate::session::Session;
use crate::tls::Trust;

/// Time to reach the host. An answer may take as long as the program runs, so there is no bound on that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that is gone without a word is noticed after about this time, also while its answer is waited for.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Longest pause in the middle of an answer.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest wait for an answer that no program has to run for. A quote may be waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of an answer that is a few keys and numbers, or a refusal.
const SMALL: usize = 1 << 20;
/// Bytes of a list of agents.
const LIST: usize = 64 << 20;
/// Bytes of the answer to an execution or a call by default: several times what a host lets a program write by default.
const ANSWER: usize = 256 << 20;

/// What is sent and asked for.
const FORMAT: ContentFormat = ContentFormat::Cbor;

/// Evidence of a session may be of one quote over many.
const SESSION_BATCH: &str = "session-batch";
/// And the boot log be in it.
const WITH_BOOT_LOG: &str = "session-batch, boot-log";

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
    /// For evidence, whoever hands it out.
    asking: reqwest::Client,
    tls: Arc<Trust>,
    server: Url,
    /// Bytes of an answer to an execution or a call.
    largest: usize,
    /// What evidence of a session may be, and should hold.
    accepted_evidence: &'static str,
    /// Of the session that it is used for; nothing where it is for none.
    affinity: Affinity,
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
        // For the rest of the program; one that chose another library of cryptography keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = Trust::new();
        let http = |for_evidence| {
            let config = tls.config(for_evidence);
            let config = config.map_err(|error| wrong(error.to_string()))?;
            let http = reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .tcp_keepalive(KEEPALIVE)
                // A payment is for this host alone, and redirecting a post loses its body.
                .redirect(reqwest::redirect::Policy::none())
                .tls_backend_preconfigured(config)
                .tls_info(for_evidence)
                .build();
            http.map_err(|source| Error::Transport {
                server: url.to_string(),
                source,
            })
        };
        Ok(Self {
            http: http(false)?,
            asking: http(true)?,
            tls,
            server: url,
            largest: ANSWER,
            accepted_evidence: SESSION_BATCH,
            affinity: Affinity::default(),
        })
    }

    /// The same, which takes answers to executions and calls of up to `bytes`; by default 256 MiB. The host decides how much it
    /// sends, and nothing of it is known to be right before it is here whole.
    #[must_use]
    pub fn with_largest_answer(self, bytes: usize) -> Self {
        Self {
            largest: bytes,
            ..self
        }
    }

    /// The same, with the boot log in evidence of sessions where the policy knows an image by the events of its boot.
    pub(crate) fn explaining(&self, policy: &Policy) -> Self {
        let mut client = self.clone();
        let rules = &policy.rules;
        let by_rtmrs = rules.tdx.reference.iter().any(|it| it.is_by_events());
        let by_pcrs = rules.vtpm.reference.iter().any(|it| it.needs_boot_log());
        if by_rtmrs || by_pcrs {
            client.accepted_evidence = WITH_BOOT_LOG;
        }
        client
    }

    /// Whom this client takes for the host in TLS.
    pub(crate) fn tls(&self) -> &Trust {
        &self.tls
    }

    /// Where the host is.
    pub(crate) fn server(&self) -> &Url {
        &self.server
    }

    /// Asks `/ping`.
    pub async fn ping(&self) -> Result<(), Error> {
        let answer = self.get("ping", SMALL).await?;
        match &answer.body[..] {
            b"pong" => Ok(()),
            _ => Err(self.unexpected(answer.status.as_u16())),
        }
    }

    /// Opens a session with a fresh key pair. It is not attested: the host's identity is as good as the connection's.
    /// [`Self::open_attested_session`] asks for proof.
    pub async fn open_session(&self) -> Result<Session, Error> {
        let key = PrivateKey::generate();
        let request = CreateKeypairRequest::new(key.public_key(), None);
        let (answer, affinity) = self.open("encrypt/create_keypair", &request).await?;
        let host = PublicKey::from_sec1(&answer.session_pubkey.0).map_err(Error::Verification)?;
        self.session((key, host), &answer, affinity)
    }

    /// Asks for a session; the answer, and what is to be repeated in the session's requests.
    pub(crate) async fn open(
        &self,
        path: &str,
        request: &CreateKeypairRequest,
    ) -> Result<(CreateKeypairResponse, Affinity), Error> {
        let body = Self::encode(request)?;
        let answer = self.send(Method::POST, path, body, (None, None)).await?;
        Ok((self.read(&answer)?, Affinity::of(&answer.headers)))
    }

    /// The session that an answer opened, with the client's key and the host's.
    pub(crate) fn session(
        &self,
        (key, host): (PrivateKey, PublicKey),
        answer: &CreateKeypairResponse,
        affinity: Affinity,
    ) -> Result<Session, Error> {
        let session = ClientSession::new(key, host, answer.session_id).map_err(Error::Protocol)?;
        let client = Self {
            affinity,
            ..self.clone()
        };
        Ok(Session::new(client, session, answer.expires_at))
    }

    /// Gets an answer of at most `maximum` bytes, CBOR where the host has a choice.
    pub(crate) async fn get(&self, path: &str, maximum: usize) -> Result<Answer, Error> {
        Ok(self
            .get_by((&self.http, FORMAT.media_type()), path, maximum)
            .await?
            .0)
    }

    /// As [`Self::get`], of whatever media type.
    pub(crate) async fn get_any(&self, path: &str, maximum: usize) -> Result<Answer, Error> {
        Ok(self.get_by((&self.http, "*/*"), path, maximum).await?.0)
    }

    /// As [`Self::get`], from whoever answers, and whose TLS that was: for what is judged by itself.
    pub(crate) async fn ask(
        &self,
        path: &str,
        maximum: usize,
    ) -> Result<(Answer, Option<Connection>), Error> {
        self.get_by((&self.asking, FORMAT.media_type()), path, maximum)
            .await
    }

    async fn get_by(
        &self,
        (http, accepted): (&reqwest::Client, &str),
        path: &str,
        maximum: usize,
    ) -> Result<(Answer, Option<Connection>), Error> {
        let request = http.get(self.url(path)?);
        let request = request.header(ACCEPT, accepted);
        let response = tokio::time::timeout(PATIENCE, request.send()).await;
        let response = response
            .map_err(|_| self.stalled(PATIENCE))?
            .map_err(|e| self.transport(e))?;
        let certificate = response.extensions().get::<reqwest::tls::TlsInfo>();
        let certificate = certificate.and_then(reqwest::tls::TlsInfo::peer_certificate);
        let connection = certificate.and_then(|it| self.tls.connection(it));
        Ok((self.receive(response, maximum, None).await?, connection))
    }

    /// The whole answer, whose head is there.
    async fn receive(
        &self,
        mut response: reqwest::Response,
        maximum: usize,
        live: Option<&mut Opening<'_>>,
    ) -> Result<Answer, Error> {
        let status = response.status();
        // What is not a success is a problem, or a demand for payment.
        let maximum = if status.is_success() {
            maximum
        } else {
            maximum.min(SMALL)
        };
        let too_large = || Error::AnswerTooLarge {
            server: self.server.to_string(),
            maximum,
        };
        if let Some(live) = live.filter(|_| is_stream(&response)) {
            return self.receive_stream(response, maximum, live).await;
        }
        let declared = response.content_length().unwrap_or_default();
        if usize::try_from(declared).is_ok_and(|declared| declared > maximum) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        loop {
            let chunk = tokio::time::timeout(PAUSE, response.chunk()).await;
            let chunk = chunk
                .map_err(|_| self.stalled(PAUSE))?
                .map_err(|e| self.transport(e))?;
            let Some(chunk) = chunk else { break };
            if body.len().saturating_add(chunk.len()) > maximum {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
        })
    }

    /// An answer that goes out while it is made: chunks, then what the body is otherwise. Between two of them any time may pass.
    async fn receive_stream(
        &self,
        mut response: reqwest::Response,
        maximum: usize,
        live: &mut Opening<'_>,
    ) -> Result<Answer, Error> {
        let mut reader = StreamReader::default();
        let mut left = maximum;
        loop {
            let part = response.chunk();
            let part = match reader.waiting() {
                0 => Ok(part.await),
                _ => tokio::time::timeout(PAUSE, part).await,
            };
            let part = part
                .map_err(|_| self.stalled(PAUSE))?
                .map_err(|e| self.transport(e))?;
            let Some(part) = part else { break };
            left = (left.checked_sub(part.len())).ok_or_else(|| Error::AnswerTooLarge {
                server: self.server.to_string(),
                maximum,
            })?;
            for chunk in reader.push(&part).map_err(Error::Verification)? {
                live.chunk(chunk)?;
            }
        }
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: reader.finish().map_err(Error::Verification)?.into(),
        })
    }

    /// Bytes of the answer to a request to `path`.
    fn largest(&self, path: &str) -> usize {
        match path {
            "encrypt/create_keypair" => SMALL,
            "verifiable/encrypt/create_keypair" => evidence::MAX_LENGTH + SMALL,
            "search" => LIST,
            _ => self.largest,
        }
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
        let answer = self.send(Method::POST, path, body, (None, None)).await?;
        self.read(&answer)
    }

    /// A body as it is sent.
    pub(crate) fn encode(body: &impl Serialize) -> Result<Bytes, Error> {
        FORMAT
            .encode(body)
            .map(Bytes::from)
            .map_err(Error::Protocol)
    }

    /// Sends an encoded body, with a payment if there is one, and receives the whole answer; `live` is given what comes before it.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        (payment, mut live): (Option<&HeaderValue>, Option<&mut Opening<'_>>),
    ) -> Result<Answer, Error> {
        let mut request = self
            .http
            .request(method, self.url(path)?)
            .header(CONTENT_TYPE, FORMAT.media_type())
            .header("accept-evidence", self.accepted_evidence);
        for (name, value) in self.affinity.fields() {
            request = request.header(name, value);
        }
        if let Some(payment) = payment {
            request = request.header(PAYMENT_SIGNATURE, payment);
        }
        if let Some(live) = &mut live {
            live.begin();
            request = request.header(ACCEPT, stream::MEDIA_TYPE);
        }
        let response = request.body(body).send().await;
        let response = response.map_err(|e| self.transport(e))?;
        self.receive(response, self.largest(path), live).await
    }

    /// Reads an answer: CBOR, or a problem.
    pub(crate) fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        if answer.status.is_success() {
            FORMAT.decode(&answer.body).map_err(|_| self.late(answer))
        } else {
            Err(self.refusal(answer))
        }
    }

    /// The problem at the end of an answer that had begun as a success.
    fn late(&self, answer: &Answer) -> Error {
        match FORMAT.decode::<Problem>(&answer.body) {
            Ok(problem) if problem.problem_type().is_some() => Error::Refused(Box::new(problem)),
            _ => self.unexpected(answer.status.as_u16()),
        }
    }

    /// An answer that is no success, as an error.
    pub(crate) fn refusal(&self, answer: &Answer) -> Error {
        if answer.status == StatusCode::PAYMENT_REQUIRED {
            return Error::PaymentDemanded(Box::new(Demand::of(answer)));
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

    fn stalled(&self, after: Duration) -> Error {
        Error::Stalled {
            server: self.server.to_string(),
            after,
        }
    }

    fn unexpected(&self, status: u16) -> Error {
        Error::Unexpected {
            server: self.server.to_string(),
            status,
        }
    }
}

/// Whether an answer goes out while it is made.
fn is_stream(response: &reqwest::Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    response.status().is_success() && media_type.is_some_and(|it| it == stream::MEDIA_TYPE)
}
