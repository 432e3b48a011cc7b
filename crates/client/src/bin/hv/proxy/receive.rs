//! The body of a request, whole: it is sealed in one piece.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::problem::Refusal;

/// Bytes of one body: a host takes no more by default.
pub(super) const LARGEST: usize = 64 << 20;
/// Bytes of all bodies at once.
const ALL: usize = 256 << 20;
/// Longest wait for more of a body.
const PAUSE: Duration = Duration::from_secs(30);

/// The room that bodies take up.
pub(super) struct Room(Arc<Semaphore>);

/// A body, which takes up room until it is dropped.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ALL)))
    }

    pub(super) async fn receive(&self, mut body: Incoming) -> Result<Received, Refusal> {
        let declared = body.size_hint().lower();
        if usize::try_from(declared).map_or(true, |declared| declared > LARGEST) {
            return Err(Refusal::too_large(LARGEST));
        }
        let mut received = Received {
            bytes: Vec::new(),
            room: None,
        };
        loop {
            let frame = tokio::time::timeout(PAUSE, body.frame()).await;
            let Some(frame) = frame.map_err(|_| Refusal::too_slow())? else {
                return Ok(received);
            };
            let frame = frame
                .map_err(|error| Refusal::malformed(format!("its body broke off: {error}")))?;
            // Trailers have no place in a sealed request's form here, and may be left out (RFC 9110 §6.5.1).
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            if received.bytes.len().saturating_add(bytes.len()) > LARGEST {
                return Err(Refusal::too_large(LARGEST));
            }
            let more = u32::try_from(bytes.len()).map_err(|_| Refusal::too_large(LARGEST))?;
            let more = Arc::clone(&self.0).try_acquire_many_owned(more);
            let more = more.map_err(|_: TryAcquireError| Refusal::busy())?;
            match &mut received.room {
                Some(room) => room.merge(more),
                none => *none = Some(more),
            }
            received.bytes.extend_from_slice(&bytes);
        }
    }
}
