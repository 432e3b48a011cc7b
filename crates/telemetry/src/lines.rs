//! The last lines of the log, in memory, for the operator who asks the admin port.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept at the most, and bytes of all of them.
const LINES: usize = 1_000;
const BYTES: usize = 256 << 10;
/// Bytes of one line; the rest of it is in the log alone.
const LINE: usize = 4 << 10;

/// Lines of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The number of the line after the last one: what to ask for next.
    pub next: u64,
    /// The lines.
    pub lines: Vec<String>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// Number of the line that comes next.
    next: u64,
}

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// The lines from this number on, as far as they are kept.
pub fn since(from: u64) -> Lines {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    let length = u64::try_from(kept.lines.len()).unwrap_or(u64::MAX);
    let first = kept.next.saturating_sub(length);
    let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
    Lines {
        next: kept.next,
        lines: kept.lines.iter().skip(skipped).cloned().collect(),
    }
}

fn keep(text: &str) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    for line in text.lines() {
        let line = line.get(..line.floor_char_boundary(LINE)).unwrap_or(line);
        let line = plain(line);
        kept.bytes = kept.bytes.saturating_add(line.len());
        kept.lines.push_back(line);
        kept.next = kept.next.saturating_add(1);
        while kept.lines.len() > LINES || kept.bytes > BYTES {
            let oldest = kept.lines.pop_front().unwrap_or_default();
            kept.bytes = kept.bytes.saturating_sub(oldest.len());
        }
    }
}

/// Without the colours that a terminal is written in.
fn plain(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// Writes what the other writer does, and keeps it.
pub(crate) struct Keeping<W>(pub(crate) W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Keeping<W> {
    type Writer = Both<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Both(self.0.make_writer())
    }
}

/// One event is one writing.
pub(crate) struct Both<W>(W);

impl<W: Write> Write for Both<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        keep(&String::from_utf8_lossy(bytes));
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_by_number_within_bounds_and_without_colours() {
        let start = since(u64::MAX).next;
        let mut out = Keeping(io::sink).make_writer();
        out.write_all(b"\x1b[2m2026\x1b[0m \x1b[32m INFO\x1b[0m serving\n")
            .unwrap();
        assert_eq!(since(start).lines, ["2026  INFO serving"]);
        assert_eq!(since(start + 1).lines, [""; 0]);
        out.write_all("ä".repeat(LINE).as_bytes()).unwrap();
        assert_eq!(since(start + 1).lines[0].len(), LINE);
        for number in 0..LINES {
            out.write_all(format!("line {number}\n").as_bytes())
                .unwrap();
        }
        let all = since(0);
        assert!(all.lines.len() <= LINES);
        assert_eq!(all.lines.last().unwrap(), "line 999");
        for _ in 0..LINES {
            out.write_all(&[b'x'; LINE]).unwrap();
        }
        assert!(since(0).lines.iter().map(String::len).sum::<usize>() <= BYTES);
        assert_eq!(since(all.next).lines.len(), BYTES / LINE);
    }
}
