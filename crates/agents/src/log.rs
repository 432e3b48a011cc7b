//! What an agent wrote and how its calls ended: kept in memory for its owner, up to a bound. Nothing of it goes anywhere else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytesize::ByteSize;
use hypervisor_protocol::AgentLog;
use hypervisor_runtime::{Ended, Witness};

use crate::error::end;
use crate::surroundings::{Event, Surroundings};

/// Longest line, bytes; the rest of a longer one is dropped.
const MAX_LINE: usize = 4 << 10;

/// The log of one agent.
pub(crate) struct Log {
    kept: Mutex<Kept>,
    limit: usize,
    host: Arc<dyn Surroundings>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl Log {
    /// `limit`: bytes of all lines.
    pub(crate) fn new(limit: ByteSize, host: Arc<dyn Surroundings>) -> Self {
        Self {
            kept: Mutex::default(),
            limit: usize::try_from(limit.as_u64()).unwrap_or(usize::MAX),
            host,
        }
    }

    /// The lines, oldest first.
    pub(crate) fn read(&self) -> AgentLog {
        let kept = self.lock();
        AgentLog {
            lines: kept.lines.iter().cloned().collect(),
            dropped: kept.dropped,
        }
    }

    /// Adds what one call wrote, or what the host says about it.
    pub(crate) fn append(&self, stream: &str, bytes: &[u8]) {
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
    fn ended(&self, ended: Ended) {
        let [stdout, stderr] = &ended.written;
        self.append("stdout", stdout);
        self.append("stderr", stderr);
        if let Some(words) = end(&ended.exit) {
            self.append("host", words.as_bytes());
        }
        self.host.note(Event::Called(&ended.exit));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use hypervisor_runtime::{Exit, PrepareError};

    use super::*;
    use crate::surroundings::Measured;

    struct Nowhere;

    impl Surroundings for Nowhere {
        fn measure(&self, _: &Measured<'_>) -> Result<(), PrepareError> {
            Ok(())
        }

        fn takes<'a>(
            &'a self,
            _: &'a str,
            _: Option<&'a str>,
        ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
            Box::pin(async { Ok(()) })
        }

        fn note(&self, _: Event<'_>) {}
    }

    fn log(limit: u64) -> Log {
        Log::new(ByteSize::b(limit), Arc::new(Nowhere))
    }

    fn ended(stderr: &[u8], exit: Exit) -> Ended {
        Ended {
            exit,
            written: [Vec::new(), stderr.to_vec()],
        }
    }

    #[test]
    fn lines_come_with_their_stream_and_traps_with_their_reason() {
        let log = log(10_000);
        let trap = Exit::Trap {
            reason: "unreachable".to_owned(),
        };
        log.ended(ended(b"one\r\ntwo\n", trap));
        let lines = log.read().lines;
        assert!(lines[0].ends_with(" stderr one"), "{lines:?}");
        assert!(lines[1].ends_with(" stderr two"), "{lines:?}");
        assert!(lines[2].ends_with(" host trap: unreachable"), "{lines:?}");
    }

    #[test]
    fn the_oldest_lines_go_first_and_are_counted() {
        let log = log(200);
        (0..100).for_each(|n| log.ended(ended(format!("line {n}").as_bytes(), Exit::Ok)));
        let read = log.read();
        assert!(read.lines.last().unwrap().ends_with("line 99"));
        assert_eq!(read.dropped as usize + read.lines.len(), 100);
        assert!(read.lines.iter().map(String::len).sum::<usize>() <= 200);
    }
}
