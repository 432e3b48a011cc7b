//! Standard streams of a guest: input from memory, output into memory up to a limit.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::guest::LimitReached;
use super::tap::Tap;
use hypervisor_protocol::{LimitKind, Stream};

/// Bytes a guest may write at once: what WASI streams usually permit.
const WRITE_PERMIT: usize = 64 << 10;

/// What happens to output beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The execution is stopped: its result would be wrong without the rest.
    Stop,
    /// The rest is dropped.
    Drop,
}

/// Output captured in memory. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Capture {
    state: Arc<Mutex<State>>,
    limit: usize,
    overflow: Overflow,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    truncated: bool,
    /// Where the bytes go instead, and how many went there.
    poured: Option<(Tap, Stream, usize)>,
}

impl State {
    fn len(&self) -> usize {
        let poured = self.poured.as_ref().map_or(0, |(.., poured)| *poured);
        poured.saturating_add(self.bytes.len())
    }

    fn add(&mut self, more: &[u8]) {
        match &mut self.poured {
            None => self.bytes.extend_from_slice(more),
            Some((tap, stream, poured)) => {
                *poured = poured.saturating_add(more.len());
                tap.write(*stream, more);
            }
        }
    }
}

impl Capture {
    pub(super) fn new(limit: usize, overflow: Overflow) -> Self {
        Self {
            state: Arc::default(),
            limit,
            overflow,
        }
    }

    /// Has what is captured from here on read at `tap`, where that has the stream.
    pub(super) fn pour(&self, tap: &Tap, stream: Stream) {
        if tap.has(stream) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.poured = Some((tap.clone(), stream, 0));
        }
    }

    /// Takes what was captured and not read, and whether more was written.
    pub(super) fn take(&self) -> (Vec<u8>, bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match &state.poured {
            None => std::mem::take(&mut state.bytes),
            Some((tap, stream, _)) => tap.rest(*stream),
        };
        (bytes, state.truncated)
    }

    /// Bytes that were captured.
    pub(super) fn len(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        len(state.len())
    }

    fn append(&self, bytes: &[u8]) -> Result<(), LimitReached> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.limit.saturating_sub(state.len());
        match bytes.split_at_checked(room) {
            Some((fits, rest)) if !rest.is_empty() => {
                state.add(fits);
                state.truncated = true;
                match self.overflow {
                    Overflow::Drop => Ok(()),
                    Overflow::Stop => Err(LimitReached {
                        which: LimitKind::Output,
                        used: len(self.limit).saturating_add(len(rest.len())),
                        allowed: len(self.limit),
                    }),
                }
            }
            _ => {
                state.add(bytes);
                Ok(())
            }
        }
    }

    /// Adds `bytes` as the end of what was captured, at the cost of what came before where both do not fit, and it was not poured out.
    pub(super) fn append_end(&self, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let from = bytes.len().saturating_sub(self.limit);
        let bytes = bytes.get(from..).unwrap_or_default();
        let keep = self.limit.saturating_sub(bytes.len());
        if from > 0 || state.bytes.len() > keep {
            state.bytes.truncate(keep);
            state.truncated = true;
        }
        state.add(bytes);
    }
}

fn len(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Of WASI 0.3, which no component here can import.
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes)
            .map_err(|limit| StreamError::Trap(limit.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

/// Standard input from memory, given when the execution begins. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Input {
    bytes: Arc<Mutex<Bytes>>,
}

impl Input {
    pub(super) fn set(&self, bytes: Bytes) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }

    /// At most `most` bytes from the front; none at the end.
    fn take(&self, most: usize) -> Bytes {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let length = most.min(bytes.len());
        bytes.split_to(length)
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        // Of WASI 0.3, which no component here can import.
        Box::new(tokio::io::empty())
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.take(size);
        if bytes.is_empty() && size > 0 {
            Err(StreamError::Closed)
        } else {
            Ok(bytes)
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_up_to_the_limit_is_kept_whole() {
        let capture = Capture::new(4, Overflow::Stop);
        capture.append(b"ab").unwrap();
        capture.append(b"cd").unwrap();
        assert_eq!(capture.take(), (b"abcd".to_vec(), false));
    }

    #[test]
    fn standard_output_beyond_the_limit_stops_with_the_first_part_kept() {
        let capture = Capture::new(3, Overflow::Stop);
        let reached = capture.append(b"abcde").unwrap_err();
        assert_eq!(
            (reached.which, reached.used, reached.allowed),
            (LimitKind::Output, 5, 3)
        );
        assert_eq!(capture.take(), (b"abc".to_vec(), true));
    }

    #[test]
    fn standard_error_beyond_the_limit_is_dropped() {
        let capture = Capture::new(3, Overflow::Drop);
        capture.append(b"abcde").unwrap();
        capture.append(b"fg").unwrap();
        assert_eq!(capture.take(), (b"abc".to_vec(), true));
    }
}
