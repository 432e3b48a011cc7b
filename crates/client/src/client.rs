//! The connection to one host.

use std::time::Duration;

use hypervisor_protocol::{
    ClientSession, ContentFormat, CreateKeypairRequest, CreateKeypairResponse, PrivateKey, Problem,
    PublicKey,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::Error;
use crate::session::Session;

/// Time to reach the host. An answer may take as long as the program runs, so there is no bound on that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
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
    pub async fn open_session(&self) -> Result<Session, Error> {
        let key = PrivateKey::generate();
        let request = CreateKeypairRequest::new(key.public_key(), None);
        let answer: CreateKeypairResponse = self.post("encrypt/create_keypair", &request).await?;
        let host = PublicKey::from_sec1(&answer.session_pubkey.0).map_err(Error::Verification)?;
        let session = ClientSession::new(key, host, answer.session_id).map_err(Error::Protocol)?;
        Ok(Session::new(self.clone(), session, answer.expires_at))
    }

    /// Posts CBOR, reads CBOR or a problem.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let format = ContentFormat::Cbor;
        let body = format.encode(body).map_err(Error::Protocol)?;
        let request = self
            .http
            .post(self.url(path)?)
            .header(reqwest::header::CONTENT_TYPE, format.media_type());
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|e| self.transport(e))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|e| self.transport(e))?;
        if status.is_success() {
            return format
                .decode(&bytes)
                .map_err(|_| self.unexpected(status.as_u16()));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Error::Refused(Box::new(problem))),
            Err(_) => Err(self.unexpected(status.as_u16())),
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
