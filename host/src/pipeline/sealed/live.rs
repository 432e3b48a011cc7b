//! Output that goes to the caller while the work is under way, sealed in chunks, where nothing is left to pay for it.
//!
//! Otherwise it would be given away: what is paid for after the work goes out with the answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypervisor_account::{Party, Share};
use hypervisor_protocol::stream::{self, MAX_CHUNKS};
use hypervisor_protocol::{HexBytes, Stream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::executor::Tap;
use crate::pipeline::{Fields, Refusal};

/// Bytes of output in one chunk.
const CHUNK: usize = 64 << 10;
/// Time from one chunk to the next: a program that writes byte by byte makes no more of them.
const PACE: Duration = Duration::from_millis(10);
/// Bytes of the account that a stream takes up: a chunk that is sealed, one that waits and one that is sent.
const ROOM: usize = 4 * CHUNK;

/// A part of an answer that is not whole yet.
pub(crate) struct Part {
    /// The payment's header fields.
    pub(crate) fields: Fields,
    /// An item of the sequence that is the body.
    pub(crate) item: Bytes,
}

/// Parts, on their way to the caller.
pub(crate) type Parts = mpsc::Receiver<Part>;

/// A caller who asked for output as it is written.
pub(crate) struct Live {
    parts: mpsc::Sender<Part>,
    cleared: Option<Cleared>,
}

/// That nothing is left to pay.
struct Cleared {
    fields: Fields,
    share: Share,
    is_paid: bool,
}

/// The output of work that is about to begin.
pub(super) struct Flow {
    pub(super) tap: Tap,
    parts: mpsc::Sender<Part>,
    fields: Fields,
    share: Arc<Share>,
    /// What was sent, where the answer is kept for who asks again.
    sent: Option<Vec<HexBytes>>,
    chunks: usize,
}

/// What went out before the answer.
#[derive(Default)]
pub(super) struct Flown {
    /// The chunks, where the answer is kept.
    pub(super) chunks: Vec<HexBytes>,
    /// Bytes of output.
    pub(super) bytes: u64,
}

impl Live {
    /// One, and where its parts arrive.
    pub(crate) fn new() -> (Self, Parts) {
        let (parts, receiver) = mpsc::channel(1);
        let live = Self {
            parts,
            cleared: None,
        };
        (live, receiver)
    }

    /// Lets output out, with the header fields of what was paid. It goes with the answer where the account has no room for more.
    pub(super) fn clear(&mut self, party: &Party, fields: Fields, is_paid: bool) {
        let mut share = party.share();
        if share.cover(ROOM).is_ok() {
            self.cleared = Some(Cleared {
                fields,
                share,
                is_paid,
            });
        }
    }

    /// The way out, where there is one.
    pub(super) fn flow(self) -> Option<Flow> {
        let Cleared {
            fields,
            share,
            is_paid,
        } = self.cleared?;
        Some(Flow {
            tap: Tap::default(),
            parts: self.parts,
            fields,
            share: Arc::new(share),
            sent: is_paid.then(Vec::new),
            chunks: 0,
        })
    }
}

impl Flow {
    /// Does the work, and meanwhile seals what it writes and sends it. What is not sent when it ends goes with the answer.
    pub(super) async fn during<T>(
        mut self,
        work: impl Future<Output = Result<T, Refusal>>,
        mut seal: impl FnMut(Stream, &[u8]) -> Result<Vec<u8>, Refusal>,
    ) -> Result<(T, Flown), Refusal> {
        let mut work = pin!(work);
        let (mut due, mut is_open) = (Instant::now(), true);
        let done = loop {
            let part = async {
                let room = self.parts.reserve().await.ok()?;
                tokio::time::sleep_until(due).await;
                Some((room, self.tap.read(CHUNK).await))
            };
            // What is due goes first: work that always goes on would leave no turn to it.
            let (room, (stream, output)) = tokio::select! {
                biased;
                part = part, if is_open => match part {
                    Some(part) => part,
                    // The caller is gone, and what was paid for goes on.
                    None => {
                        is_open = false;
                        continue;
                    }
                },
                done = &mut work => break done?,
            };
            let chunk = seal(stream, &output)?;
            let item = Held {
                item: stream::item(&chunk),
                _share: Arc::clone(&self.share),
            };
            room.send(Part {
                fields: std::mem::take(&mut self.fields),
                item: Bytes::from_owner(item),
            });
            if let Some(sent) = &mut self.sent {
                sent.push(HexBytes(chunk));
            }
            self.chunks = self.chunks.saturating_add(1);
            is_open = self.chunks < MAX_CHUNKS;
            due = Instant::now() + PACE;
        };
        let streams = [Stream::Stdout, Stream::Stderr].into_iter();
        let flown = Flown {
            chunks: self.sent.unwrap_or_default(),
            bytes: streams.map(|stream| self.tap.taken(stream)).sum(),
        };
        Ok((done, flown))
    }
}

/// An item in the account.
struct Held {
    item: Vec<u8>,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.item
    }
}
