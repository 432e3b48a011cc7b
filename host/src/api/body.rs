//! Request bodies: bounded one by one and all together, received against a clock, JSON or CBOR.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, header};
use http_body_util::BodyExt;
use hypervisor_protocol::ContentFormat;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::ApiError;
use crate::config::Limits;

/// Work on more bytes than this would hold up other requests of the same thread, so the runtime is told first.
const HEAVY: usize = 256 << 10;
/// Granularity of the account of body bytes: a semaphore counts no further than 2^32.
const UNIT: usize = 1 << 10;

/// Bounds on bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    one: usize,
    all: Arc<Semaphore>,
    receive: Duration,
}

/// A received body; its share of the account is given back when dropped.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) format: ContentFormat,
    bytes: Vec<u8>,
    /// Held until the response is done: the decoded request is as large.
    pub(super) share: Share,
}

/// Part of the account of body bytes.
#[derive(Debug)]
pub(super) struct Share(
    #[expect(dead_code, reason = "held for its drop")] Vec<OwnedSemaphorePermit>,
);

impl Bodies {
    pub(super) fn new(limits: &Limits) -> Self {
        let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let units = bytes(limits.bodies)
            .div_ceil(UNIT)
            .min(Semaphore::MAX_PERMITS);
        Self {
            one: bytes(limits.body),
            all: Arc::new(Semaphore::new(units)),
            receive: limits.receive,
        }
    }

    /// Receives the whole body of `request`.
    pub(super) async fn receive(&self, request: Request) -> Result<Received, ApiError> {
        let format = format_of(&request)?;
        self.receive_as(format, request).await
    }

    /// Receives the whole body of `request`, whatever it is.
    pub(super) async fn receive_any(&self, request: Request) -> Result<Received, ApiError> {
        self.receive_as(ContentFormat::Json, request).await
    }

    async fn receive_as(
        &self,
        format: ContentFormat,
        request: Request,
    ) -> Result<Received, ApiError> {
        let declared = declared_length(&request);
        if declared.is_some_and(|length| length > self.one) {
            return Err(ApiError::body_too_large(self.one));
        }
        let read = self.read(request.into_body(), declared);
        let (bytes, share) = tokio::time::timeout(self.receive, read)
            .await
            .map_err(|_| ApiError::receive_timeout(self.receive))??;
        Ok(Received {
            format,
            bytes,
            share,
        })
    }

    /// Reads a body and forgets it, up to the bound of one body. A connection whose request was not read to its end is
    /// closed behind the answer, and a client that sends its next request on it meets a closed door.
    pub(super) async fn discard(&self, mut body: Body) {
        let discard = async {
            let mut left = self.one;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len()));
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever is slower is cut off, and was answered nevertheless.
        let _ = tokio::time::timeout(self.receive, discard).await;
    }

    async fn read(
        &self,
        mut body: Body,
        declared: Option<usize>,
    ) -> Result<(Vec<u8>, Share), ApiError> {
        let mut share = Vec::new();
        let mut reserved = 0_usize;
        let mut bytes = Vec::new();
        if let Some(length) = declared {
            self.reserve(length, &mut reserved, &mut share)?;
            bytes.reserve_exact(length);
        }
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|_| ApiError::malformed("the body ended before its declared length"))?;
            if let Ok(data) = frame.into_data() {
                let length = bytes.len().saturating_add(data.len());
                if length > self.one {
                    return Err(ApiError::body_too_large(self.one));
                }
                self.reserve(length, &mut reserved, &mut share)?;
                bytes.extend_from_slice(&data);
            }
        }
        Ok((bytes, Share(share)))
    }

    /// Makes the share cover `length` bytes, or refuses: waiting would let slow uploads block quick ones.
    fn reserve(
        &self,
        length: usize,
        reserved: &mut usize,
        share: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<(), ApiError> {
        let more = length.div_ceil(UNIT).saturating_sub(*reserved);
        if more > 0 {
            let units = u32::try_from(more).map_err(|_| ApiError::body_too_large(self.one))?;
            share.push(
                Arc::clone(&self.all)
                    .try_acquire_many_owned(units)
                    .map_err(|_| ApiError::overloaded())?,
            );
            *reserved = reserved.saturating_add(more);
        }
        Ok(())
    }
}

impl Received {
    /// SHA-256 over what the request says: the route, the format and the body.
    pub(super) fn fingerprint(&self, path: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"hypervisor/v1 paid-request");
        for part in [path.as_bytes(), self.format.media_type().as_bytes()] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        heavy(self.bytes.len(), || hash.update(&self.bytes));
        hash.finalize().into()
    }

    /// The body as `T`, where it is one.
    pub(super) fn peek<T: DeserializeOwned>(&self) -> Option<T> {
        if self.bytes.len() > HEAVY {
            return None;
        }
        self.format.decode(&self.bytes).ok()
    }

    /// The bytes and their share, as they are.
    pub(super) fn into_bytes(self) -> (bytes::Bytes, Share) {
        (self.bytes.into(), self.share)
    }

    /// Decodes the body, gives up its bytes and keeps its share.
    pub(super) fn decode<T: DeserializeOwned>(self) -> Result<(T, Share, ContentFormat), ApiError> {
        let Self {
            format,
            bytes,
            share,
        } = self;
        let value = heavy(bytes.len(), || format.decode(&bytes))
            .map_err(|e| ApiError::malformed(e.to_string()))?;
        Ok((value, share, format))
    }
}

/// Runs work on `bytes` bytes, moving other tasks to another thread first when that is long.
pub(super) fn heavy<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > HEAVY {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// A 200 answer in the request's own format.
pub(super) fn answer<T: Serialize>(format: ContentFormat, value: &T) -> Result<Response, ApiError> {
    let bytes = format
        .encode(value)
        .map_err(|_| ApiError::internal("encoding an answer"))?;
    Ok(in_format(format, bytes))
}

/// A 200 answer of bytes in a format, not to be kept by a cache.
pub(super) fn in_format(format: ContentFormat, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `Content-Type`, parameters ignored; JSON where there is none.
fn format_of(request: &Request) -> Result<ContentFormat, ApiError> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(ContentFormat::Json);
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    [ContentFormat::Json, ContentFormat::Cbor]
        .into_iter()
        .find(|format| essence.eq_ignore_ascii_case(format.media_type()))
        .ok_or_else(ApiError::unsupported_media_type)
}

fn declared_length(request: &Request) -> Option<usize> {
    request
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
