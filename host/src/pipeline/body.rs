//! Request bodies: received against a clock, and entered in the account byte by byte as they arrive.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hypervisor_account::{Party, Share};
use hypervisor_protocol::ContentFormat;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{Input, Refusal};
use crate::config::Limits;
use crate::executor::HttpBody;

/// Work on more bytes than this would hold up other requests of the same thread, so the runtime is told first.
const HEAVY: usize = 256 << 10;
/// Room that a body gets before its bytes are here.
const FIRST: usize = 64 << 10;

/// Bounds on one body.
#[derive(Debug)]
pub(crate) struct Bodies {
    most: usize,
    receive: Duration,
}

/// A body that is here, in the account until dropped.
#[derive(Debug)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    share: Share,
}

impl Bodies {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most: usize::try_from(limits.body.as_u64()).unwrap_or(usize::MAX),
            receive: limits.receive,
        }
    }

    /// Receives a whole body.
    pub(crate) async fn receive(&self, party: &Party, input: Input) -> Result<Received, Refusal> {
        let (body, length) = match input {
            Input::Received(received) => return Ok(received),
            Input::Body { body, length } => (body, length),
        };
        if length.is_some_and(|length| length > self.most) {
            return Err(Refusal::body_too_large(self.most));
        }
        tokio::time::timeout(self.receive, self.read(party, body, length))
            .await
            .map_err(|_| Refusal::receive_timeout(self.receive))?
    }

    async fn read(
        &self,
        party: &Party,
        mut body: HttpBody,
        length: Option<usize>,
    ) -> Result<Received, Refusal> {
        // What is announced is no reason to set memory aside: only what arrives is. Room doubles up to what was announced.
        let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(FIRST));
        let mut share = party.share();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|_| Refusal::malformed("the body ended before its declared length"))?;
            if let Ok(data) = frame.into_data() {
                let sum = bytes.len().saturating_add(data.len());
                if sum > self.most {
                    return Err(Refusal::body_too_large(self.most));
                }
                share.cover(sum)?;
                if bytes.capacity() < sum {
                    let announced = length.unwrap_or(usize::MAX).saturating_sub(bytes.len());
                    bytes.reserve_exact(announced.min(bytes.len()).max(data.len()));
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(Received { bytes, share })
    }

    /// Reads a body and forgets it, up to the bound of one body. A connection whose request was not read to its end is
    /// closed behind the answer, and a client that sends its next request on it finds it closed.
    pub(crate) async fn discard(&self, input: Input) {
        let Input::Body { mut body, .. } = input else {
            return;
        };
        let discard = async {
            let mut left = self.most;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever is slower is cut off, and was answered nevertheless.
        let _ = tokio::time::timeout(self.receive, discard).await;
    }
}

impl Received {
    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 over what the request says: what the body goes to, its format and the body.
    pub(super) fn fingerprint(&self, target: &str, media_type: &str) -> [u8; 32] {
        fingerprint(target, media_type, &self.bytes)
    }

    /// The body as `T`, where it is one. Long bodies are not tried.
    pub(crate) fn peek<T: DeserializeOwned>(&self, format: ContentFormat) -> Option<T> {
        (self.bytes.len() <= HEAVY).then(|| format.decode(&self.bytes).ok())?
    }

    /// The bytes, which leave the account when they are gone.
    pub(super) fn into_bytes(self) -> Bytes {
        self.share.around(self.bytes)
    }

    /// The body, decoded.
    pub(super) fn read<T: DeserializeOwned>(&self, format: ContentFormat) -> Result<T, Refusal> {
        heavy(self.bytes.len(), || format.decode(&self.bytes))
            .map_err(|e| Refusal::malformed(e.to_string()))
    }

    /// Gives up the bytes and keeps their share: what was decoded is as large.
    pub(super) fn into_share(self) -> Share {
        self.share
    }

    /// Decodes the body and gives up its bytes.
    pub(crate) fn decode<T: DeserializeOwned>(
        self,
        format: ContentFormat,
    ) -> Result<(T, Share), Refusal> {
        Ok((self.read(format)?, self.into_share()))
    }
}

/// SHA-256 over what a request says.
pub(super) fn fingerprint(target: &str, media_type: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"hypervisor/v1 paid-request");
    for part in [target.as_bytes(), media_type.as_bytes()] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    heavy(body.len(), || hash.update(body));
    hash.finalize().into()
}

/// Runs work on `bytes` bytes, moving other tasks to another thread first when that is long.
pub(crate) fn heavy<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > HEAVY {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
