//! What an agent wrote and how its calls ended: kept in memory for its owner, up to a bound. Nothing of it goes anywhere else.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use hypervisor_protocol::AgentLog;

use crate::executor::{Ended, Exit, Witness};

/// Longest line, bytes; the rest of a longer one is dropped.
const MAX_LINE: usize = 4 << 10;

/// The log of one agent.
#[derive(Debug)]
pub(super) struct Log {
    kept: Mutex<Kept>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl Log {
    /// `limit`: bytes of all lines.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            kept: Mutex::default(),
            limit,
        }
    }

    /// The lines, oldest first.
    pub(super) fn read(&self) -> AgentLog {
        let kept = self.lock();
        AgentLog {
            lines: kept.lines.iter().cloned().collect(),
            dropped: kept.dropped,
        }
    }

    /// Adds what one call wrote.
    fn append(&self, stream: &str, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        for line in bytes.split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                let line = line.get(..MAX_LINE).unwrap_or(line);
                let text = String::from_utf8_lossy(line);
                self.push(format!("{now} {stream} {}", text.trim_end_matches('\r')));
            }
        }
    }

    fn push(&self, line: String) {
        let mut kept = self.lock();
        kept.bytes = kept.bytes.saturating_add(line.len());
        kept.lines.push_back(line);
        while kept.bytes > self.limit
            && let Some(gone) = kept.lines.pop_front()
        {
            kept.bytes = kept.bytes.saturating_sub(gone.len());
            kept.dropped = kept.dropped.saturating_add(1);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Log {
    fn ended(&self, end: Ended) {
        let [stdout, stderr] = &end.written;
        self.append("stdout", stdout);
        self.append("stderr", stderr);
        if let Some(words) = words(&end.exit) {
            self.append("host", words.as_bytes());
        }
        crate::metrics::agent_call(&end.exit);
        if let Exit::Limit {
            which,
            used,
            allowed,
        } = end.exit
        {
            tracing::info!(limit = ?which, used, allowed, "an agent was stopped at a limit");
        }
    }
}

/// How a call ended, where it did not end well.
fn words(exit: &Exit) -> Option<String> {
    match exit {
        Exit::Ok => None,
        Exit::Code { code } => Some(format!("exit code {code}")),
        Exit::Trap { reason } => Some(format!("trap: {reason}")),
        Exit::Limit {
            which,
            used,
            allowed,
        } => Some(format!(
            "stopped at the limit {which:?}: {used} of {allowed}"
        )),
        Exit::Denied { reason } => Some(format!("denied: {reason}")),
        Exit::Rejected { detail, .. } => Some(format!("refused: {detail}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(stderr: &[u8], exit: Exit) -> Ended {
        Ended {
            exit,
            written: [Vec::new(), stderr.to_vec()],
        }
    }

    #[test]
    fn lines_come_with_their_stream_and_traps_with_their_reason() {
        let log = Log::new(10_000);
        let trap = Exit::Trap {
            reason: "unreachable".to_owned(),
        };
        log.ended(end(b"one\r\ntwo\n", trap));
        let lines = log.read().lines;
        assert!(lines[0].ends_with(" stderr one"), "{lines:?}");
        assert!(lines[1].ends_with(" stderr two"), "{lines:?}");
        assert!(lines[2].ends_with(" host trap: unreachable"), "{lines:?}");
    }

    #[test]
    fn the_oldest_lines_go_first_and_are_counted() {
        let log = Log::new(200);
        (0..100).for_each(|n| log.ended(end(format!("line {n}").as_bytes(), Exit::Ok)));
        let read = log.read();
        assert!(read.lines.last().unwrap().ends_with("line 99"));
        assert_eq!(read.dropped as usize + read.lines.len(), 100);
        assert!(read.lines.iter().map(String::len).sum::<usize>() <= 200);
    }
}
