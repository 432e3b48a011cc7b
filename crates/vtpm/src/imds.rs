//! Azure's metadata service: it has a quote made of a TD's report, and knows the certificate of a chip. It is the cloud's, outside of
//! what is trusted, and nothing that it says is believed: verifiers hold all of it against the hardware's roots.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::error::Error;

/// Longest time for connecting, and for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: u64 = 256 << 10;

/// The service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imds {
    address: SocketAddr,
}

impl Default for Imds {
    fn default() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::new(169, 254, 169, 254), 80)))
    }
}

#[derive(Deserialize)]
struct QuoteAnswer {
    quote: String,
}

#[derive(Deserialize)]
struct Certification {
    #[serde(rename = "vcekCert")]
    vcek: String,
}

impl Imds {
    /// The service at another address. Given in code only: what answers there has quotes made.
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// A quote of this TD's report.
    ///
    /// # Errors
    /// [`Error::Imds`].
    pub fn quote(&self, report: &[u8]) -> Result<Vec<u8>, Error> {
        const WHAT: &str = "quote";
        let body = format!("{{\"report\":\"{}\"}}", URL_SAFE_NO_PAD.encode(report));
        let answer: QuoteAnswer = self.ask(WHAT, "POST /acc/tdquote", &body)?;
        let quote = answer.quote.trim_end_matches('=');
        URL_SAFE_NO_PAD
            .decode(quote)
            .map_err(|error| self.failed(WHAT, error.to_string()))
    }

    /// The certificate of this chip's key, DER.
    ///
    /// # Errors
    /// [`Error::Imds`].
    pub fn vcek(&self) -> Result<Vec<u8>, Error> {
        const WHAT: &str = "certificate of the chip's key";
        let answer: Certification = self.ask(WHAT, "GET /metadata/THIM/amd/certification", "")?;
        let text: String = answer
            .vcek
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        STANDARD
            .decode(text.trim())
            .map_err(|error| self.failed(WHAT, error.to_string()))
    }

    fn failed(&self, what: &'static str, reason: impl Into<String>) -> Error {
        Error::Imds {
            address: self.address,
            what,
            reason: reason.into(),
        }
    }

    /// HTTP/1.0, so that the answer ends where the connection does.
    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        what: &'static str,
        request: &str,
        body: &str,
    ) -> Result<T, Error> {
        let whole = format!(
            "{request} HTTP/1.0\r\nHost: {}\r\nMetadata: true\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address.ip(),
            body.len()
        );
        let exchange = || {
            let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(whole.as_bytes())?;
            let mut answer = Vec::new();
            stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = exchange().map_err(|error| self.failed(what, error.to_string()))?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let Some((head, body)) = end.and_then(|end| answer.split_at_checked(end)) else {
            return Err(self.failed(what, "its answer is not HTTP"));
        };
        let head = String::from_utf8_lossy(head);
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !head.starts_with("HTTP/1.") || status != "200" {
            let status: String = status
                .chars()
                .filter(char::is_ascii_digit)
                .take(3)
                .collect();
            return Err(self.failed(what, format!("it answers with status {status}")));
        }
        serde_json::from_slice(body).map_err(|error| self.failed(what, error.to_string()))
    }
}
