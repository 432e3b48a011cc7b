//! What a run writes, read while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use hypervisor_protocol::Stream;
use tokio::sync::Notify;

/// Where a run's output waits until somebody reads it; what nobody has read when the run ends is in its [`super::Outcome`]. Clones share it.
/// It has no bound of its own: the limits of a run's output hold for all that is written, read or not.
#[derive(Debug, Clone, Default)]
pub struct Tap {
    shared: Arc<Shared>,
    stdout_only: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    written: Notify,
}

/// What nobody has read yet, from whose front it is taken without moving the rest, and how many bytes were read.
#[derive(Default)]
struct State {
    stdout: (BytesMut, u64),
    stderr: (BytesMut, u64),
}

impl State {
    fn of(&mut self, stream: Stream) -> &mut (BytesMut, u64) {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// Without the output, which is the client's secret.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Tap {
    /// The same, for a run whose standard error is not the caller's.
    pub(super) fn of_stdout(&self) -> Self {
        Self {
            stdout_only: true,
            ..self.clone()
        }
    }

    pub(super) fn has(&self, stream: Stream) -> bool {
        stream == Stream::Stdout || !self.stdout_only
    }

    /// Adds output.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        self.lock().of(stream).0.extend_from_slice(bytes);
        self.shared.written.notify_one();
    }

    /// Waits for output and takes at most `most` bytes of it, of one stream, standard output first. Nothing is lost where the future is
    /// dropped before it is ready. For one reader.
    pub async fn read(&self, most: usize) -> (Stream, Vec<u8>) {
        loop {
            if let Some(output) = self.try_read(most) {
                return output;
            }
            self.shared.written.notified().await;
        }
    }

    fn try_read(&self, most: usize) -> Option<(Stream, Vec<u8>)> {
        let mut state = self.lock();
        [Stream::Stdout, Stream::Stderr]
            .into_iter()
            .find_map(|stream| {
                let (bytes, read) = state.of(stream);
                let output = bytes.split_to(most.min(bytes.len())).to_vec();
                *read = read.saturating_add(u64::try_from(output.len()).unwrap_or(u64::MAX));
                (!output.is_empty()).then_some((stream, output))
            })
    }

    /// Takes what was not read.
    pub fn rest(&self, stream: Stream) -> Vec<u8> {
        std::mem::take(&mut self.lock().of(stream).0).into()
    }

    /// Bytes that were read.
    pub fn taken(&self, stream: Stream) -> u64 {
        self.lock().of(stream).1
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_once_and_the_rest_is_left() {
        let tap = Tap::default();
        tap.write(Stream::Stderr, b"err");
        tap.write(Stream::Stdout, b"abc");
        assert_eq!(tap.read(2).await, (Stream::Stdout, b"ab".to_vec()));
        assert_eq!(tap.read(2).await, (Stream::Stdout, b"c".to_vec()));
        assert_eq!(tap.read(2).await, (Stream::Stderr, b"er".to_vec()));
        assert_eq!(tap.rest(Stream::Stderr), b"r");
        assert!(tap.rest(Stream::Stdout).is_empty());
        assert_eq!(
            (tap.taken(Stream::Stdout), tap.taken(Stream::Stderr)),
            (3, 2)
        );
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_a_write() {
        let tap = Tap::default();
        let reading = tokio::spawn({
            let tap = tap.clone();
            async move { tap.read(9).await }
        });
        tokio::task::yield_now().await;
        tap.write(Stream::Stdout, b"late");
        assert_eq!(reading.await.unwrap(), (Stream::Stdout, b"late".to_vec()));
    }
}
