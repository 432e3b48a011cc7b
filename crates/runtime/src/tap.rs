//! What a run writes, read while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypervisor_protocol::{Output, Stream};
use tokio::sync::Notify;

/// Where a run's output waits until somebody reads it; what nobody has read when the run ends is in its [`super::Outcome`]. Clones share it.
///
/// It has no bound of its own: the limits of a run's output hold for all that is written, read or not.
#[derive(Debug, Clone, Default)]
pub struct Tap {
    shared: Arc<Shared>,
    stdout_only: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    written: Notify,
}

#[derive(Debug, Default)]
struct State {
    unread: Output,
    /// Bytes that were read, of standard output and standard error.
    read: [u64; 2],
}

impl Tap {
    /// One from which nothing was read.
    pub fn new() -> Self {
        Self::default()
    }

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
        if !bytes.is_empty() {
            self.lock().unread.of(stream).extend_from_slice(bytes);
            self.shared.written.notify_one();
        }
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
        let State { unread, read } = &mut *state;
        let [from_stdout, from_stderr] = read;
        let (stream, count) = match (unread.stdout.is_empty(), unread.stderr.is_empty()) {
            (false, _) => (Stream::Stdout, from_stdout),
            (true, false) => (Stream::Stderr, from_stderr),
            (true, true) => return None,
        };
        let bytes = unread.of(stream);
        let behind = bytes.split_off(most.min(bytes.len()));
        let output = std::mem::replace(bytes, behind);
        *count = count.saturating_add(u64::try_from(output.len()).unwrap_or(u64::MAX));
        Some((stream, output))
    }

    /// Takes what was not read.
    pub fn rest(&self, stream: Stream) -> Vec<u8> {
        std::mem::take(self.lock().unread.of(stream))
    }

    /// Bytes that were read.
    pub fn taken(&self, stream: Stream) -> u64 {
        let [stdout, stderr] = self.lock().read;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_once_and_the_rest_is_left() {
        let tap = Tap::new();
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
        let tap = Tap::new();
        let reading = tokio::spawn({
            let tap = tap.clone();
            async move { tap.read(9).await }
        });
        tokio::task::yield_now().await;
        tap.write(Stream::Stdout, b"late");
        assert_eq!(reading.await.unwrap(), (Stream::Stdout, b"late".to_vec()));
    }
}
