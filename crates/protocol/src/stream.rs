//! Output that is sent as it is written: the body of such an answer, and what is in its chunks.
//!
//! A client asks for it with `Accept: application/cbor-seq`. The body is then a CBOR sequence (RFC 8742): one byte string for each sealed
//! chunk, in order, and behind them one map, which is the answer that the request has otherwise, or a problem where the host failed
//! meanwhile.
//!
//! Chunks are response fields 2, 3, … under the response key, so none can be altered, left out before another, or put elsewhere
//! unnoticed; the sealed report says how many there were and commits to them, so none can be cut off at the end either. That is the
//! STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015) with the report as the last segment.

use crate::Error;

/// The media type of a streamed answer.
pub const MEDIA_TYPE: &str = "application/cbor-seq";

/// The most chunks of one answer; what is written after them is in the result.
pub const MAX_CHUNKS: usize = 1 << 20;

/// The most bytes of a sealed chunk.
pub const MAX_CHUNK: usize = 1 << 20;

/// Which of its streams a program wrote a chunk to: the first byte of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, 1.
    Stdout,
    /// Standard error, 2.
    Stderr,
}

impl Stream {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    pub(crate) fn of(number: u8) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::Stdout),
            2 => Ok(Self::Stderr),
            _ => Err(Error::Stream {
                reason: "has a chunk of an unknown stream; update this program",
            }),
        }
    }
}

/// What a program wrote.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// To standard output.
    pub stdout: Vec<u8>,
    /// To standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// What it wrote to one of the two.
    pub fn of(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl std::fmt::Debug for Output {
    /// Sizes only: the plaintext is the client's secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("stdout_bytes", &self.stdout.len())
            .field("stderr_bytes", &self.stderr.len())
            .finish()
    }
}

/// The major types of CBOR (RFC 8949 §3.1) that are told apart here, in the upper three bits.
const BYTE_STRING: u8 = 2 << 5;
const MAJOR_TYPE: u8 = 7 << 5;

/// A sealed chunk as an item of the sequence: a byte string of definite length.
pub fn item(chunk: &[u8]) -> Vec<u8> {
    let length = chunk.len();
    let mut item = Vec::with_capacity(length.saturating_add(9));
    match (
        u8::try_from(length),
        u16::try_from(length),
        u32::try_from(length),
    ) {
        (Ok(short), ..) if short < 24 => item.push(BYTE_STRING | short),
        (Ok(length), ..) => item.extend([BYTE_STRING | 24, length]),
        (_, Ok(length), _) => {
            item.push(BYTE_STRING | 25);
            item.extend(length.to_be_bytes());
        }
        (_, _, Ok(length)) => {
            item.push(BYTE_STRING | 26);
            item.extend(length.to_be_bytes());
        }
        _ => {
            item.push(BYTE_STRING | 27);
            item.extend((length as u64).to_be_bytes());
        }
    }
    item.extend_from_slice(chunk);
    item
}

/// Reads a streamed answer as it arrives.
#[derive(Debug, Default)]
pub struct StreamReader {
    /// What is not whole yet, or the last item.
    rest: Vec<u8>,
    chunks: usize,
}

impl StreamReader {
    /// Takes the next bytes of the body; gives the chunks that they complete, sealed.
    ///
    /// # Errors
    /// [`Error::Stream`] for more or longer chunks than there may be.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.rest.extend_from_slice(bytes);
        let mut chunks = Vec::new();
        let mut from = 0;
        while let Some((chunk, length)) = first(self.rest.get(from..).unwrap_or_default())? {
            if self.chunks >= MAX_CHUNKS {
                return Err(Error::Stream {
                    reason: "has more chunks than one may have",
                });
            }
            self.chunks = self.chunks.saturating_add(1);
            chunks.push(chunk.to_vec());
            from = from.saturating_add(length);
        }
        self.rest.drain(..from);
        Ok(chunks)
    }

    /// Bytes that wait for more.
    pub fn waiting(&self) -> usize {
        self.rest.len()
    }

    /// The last item: a map, not looked into here.
    ///
    /// # Errors
    /// [`Error::Stream`] where the body ended before it.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        match self.rest.first() {
            Some(byte) if byte & MAJOR_TYPE != BYTE_STRING => Ok(self.rest),
            _ => Err(Error::Stream {
                reason: "was cut off before its end",
            }),
        }
    }
}

/// The byte string at the front, where one is and is whole, and its length with its head.
fn first(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Error> {
    let Some((head, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if head & MAJOR_TYPE != BYTE_STRING {
        return Ok(None);
    }
    let width = match head & !MAJOR_TYPE {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => {
            return Err(Error::Stream {
                reason: "has a chunk of indefinite length",
            });
        }
    };
    let Some((length, rest)) = rest.split_at_checked(width) else {
        return Ok(None);
    };
    let length = match width {
        0 => u64::from(head & !MAJOR_TYPE),
        _ => length
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    };
    let length = usize::try_from(length).ok();
    let length = length
        .filter(|&length| length <= MAX_CHUNK)
        .ok_or(Error::Stream {
            reason: "has a chunk that is too long",
        })?;
    Ok(rest
        .get(..length)
        .map(|chunk| (chunk, length.saturating_add(width).saturating_add(1))))
}
