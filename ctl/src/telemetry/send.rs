//! Sending by OTLP over HTTP.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use prost::Message;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};
use url::Url;

use super::settings::Target;
use crate::error::Error;

/// Bytes of a collector's answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Sends to one endpoint of a collector.
pub(super) struct Sender {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) struct NotSent {
    pub(super) words: String,
    /// Whether it may be taken later, and when it is to be sent again, where the collector says so.
    pub(super) again: Option<Option<Duration>>,
}

impl Sender {
    pub(super) fn new(target: Target) -> Result<Self, Error> {
        let Target {
            url,
            mut headers,
            timeout,
            ca,
            identity,
        } = target;
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        // A program that chose another library of cryptography keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // With a redirect the header fields would go elsewhere.
        let mut builder = Client::builder().timeout(timeout).redirect(Policy::none());
        if let Some(file) = &ca {
            let certificates = Certificate::from_pem_bundle(&read(file)?);
            let certificates = certificates.map_err(|e| unusable(file, &e))?;
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = &identity {
            let mut pem = read(key)?;
            pem.extend(read(certificate)?);
            let identity = Identity::from_pem(&pem);
            zeroize::Zeroize::zeroize(&mut pem);
            builder = builder.identity(identity.map_err(|e| unusable(certificate, &e))?);
        }
        let client = builder.build();
        let client = client.map_err(|e| Error::Telemetry(format!("nothing can be sent: {e}")))?;
        Ok(Self {
            client,
            url,
            headers,
        })
    }

    /// Gives the collector's answer. What it did not take of the message is in it.
    pub(super) async fn send<A: Message + Default>(
        &self,
        message: &impl Message,
    ) -> Result<A, NotSent> {
        let request = self.client.post(self.url.clone());
        let request = request.headers(self.headers.clone());
        let answered = request.body(message.encode_to_vec()).send().await;
        let mut answer = answered.map_err(|error| self.unreached(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refused(status, answer.headers()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|e| self.unreached(&e))? {
            if body.len().saturating_add(part.len()) > MAX_ANSWER {
                return Ok(A::default());
            }
            body.extend_from_slice(&part);
        }
        // It was taken, whatever else is said.
        Ok(A::decode(body.as_slice()).unwrap_or_default())
    }

    fn unreached(&self, error: &reqwest::Error) -> NotSent {
        let mut words = format!("{}: no answer", self.place());
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        NotSent {
            words,
            again: Some(None),
        }
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap) -> NotSent {
        let may_be_sent_again = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let after = headers.get(header::RETRY_AFTER);
        let after = after.and_then(|it| it.to_str().ok()?.parse().ok());
        let after = after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
        NotSent {
            words: format!("{}: it answers {status}", self.place()),
            again: may_be_sent_again.then_some(after),
        }
    }

    /// Where it is, without what a URL may have that is secret.
    fn place(&self) -> String {
        let mut shown = self.url.clone();
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_query(None);
        format!("the collector {shown}")
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|e| unusable(file, &e))
}

fn unusable(file: &Path, error: &dyn Display) -> Error {
    Error::Telemetry(format!("{}: {error}", file.display()))
}
