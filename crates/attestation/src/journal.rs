//! The component log on the disk: a line for where its register began, and one for each entry as it comes.
//!
//! The register belongs to the guest and outlives this process, so the log has to: after a restart the host goes on with the log
//! that leads to what the register holds. Nothing is believed of the file. If its entries do not lead there, because the guest was
//! started anew or the file is of another, a new log begins. So the file need not outlive the guest, as the disk's own cache does not:
//! nothing waits for the disk.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hypervisor_evidence::{ComponentLog, LogEntry};
use hypervisor_protocol::{ContentFormat, HexArray};
use serde::{Deserialize, Serialize};

const NAME: &str = "component-log.jsonl";

/// The first line, where the log is extended into a register.
#[derive(Serialize, Deserialize)]
struct Start {
    register_start: HexArray<48>,
}

/// The file that entries are written to.
pub(crate) struct Journal {
    file: File,
    /// Bytes of whole lines.
    length: u64,
}

impl Journal {
    /// Opens the file in `folder` and gives the log to go on with. `register` is what the register holds now.
    pub(crate) fn open(
        folder: &Path,
        register: Option<[u8; 48]>,
    ) -> io::Result<(Self, ComponentLog)> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        let Some(register) = register else {
            return Ok((Self::new(File::create(path)?), ComponentLog::new()));
        };
        let log = read(&path, register).unwrap_or_else(|| ComponentLog::with_register(register));
        let journal = Self::write(&path, &log)?;
        Ok((journal, log))
    }

    /// Writes a log in the place of what is there, at once or not at all.
    fn write(path: &Path, log: &ComponentLog) -> io::Result<Self> {
        let new: PathBuf = path.with_extension("new");
        let mut journal = Self::new(File::create(&new)?);
        if let Some(start) = log.register_start() {
            let register_start = HexArray(start);
            journal.line(&Start { register_start })?;
        }
        for entry in log.entries() {
            journal.line(entry)?;
        }
        std::fs::rename(new, path)?;
        Ok(journal)
    }

    fn new(file: File) -> Self {
        Self { file, length: 0 }
    }

    /// Writes an entry. After an error the file is as it was.
    pub(crate) fn append(&mut self, entry: &LogEntry) -> io::Result<()> {
        let before = self.length;
        let written = self.line(entry);
        if written.is_err() {
            self.length = before;
            self.file.set_len(before)?;
            self.file.seek(SeekFrom::Start(before))?;
        }
        written
    }

    fn line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut line = ContentFormat::Json
            .encode(value)
            .map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.length = self
            .length
            .saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// The log of the file, if it leads to `register`. An entry is written before the register is extended, so the last one may have
/// been written in vain.
fn read(path: &Path, register: [u8; 48]) -> Option<ComponentLog> {
    // Twice what a log may have, as JSON with its line ends.
    const MOST: u64 = 2 * hypervisor_evidence::log::MAX_LENGTH as u64;
    if std::fs::metadata(path).ok()?.len() > MOST {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let start: Start = ContentFormat::Json.decode(lines.next()?.as_bytes()).ok()?;
    let mut log = ComponentLog::with_register(start.register_start.0);
    for line in lines {
        if log.register() == Some(register) {
            // What follows was not extended.
            break;
        }
        let entry: LogEntry = ContentFormat::Json.decode(line.as_bytes()).ok()?;
        log.append(entry).ok()?;
    }
    (log.register() == Some(register)).then_some(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> LogEntry {
        LogEntry::new(name, name.as_bytes(), vec!["wasi:io/poll@0.2.6".to_owned()])
    }

    /// A folder with the log of two entries on a register that began at 7.
    fn written() -> (tempfile::TempDir, ComponentLog) {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut log) = Journal::open(folder.path(), Some([7; 48])).unwrap();
        for name in ["payments", "policy"] {
            journal.append(&entry(name)).unwrap();
            log.append(entry(name)).unwrap();
        }
        (folder, log)
    }

    #[test]
    fn a_restart_goes_on_with_the_log_that_leads_to_the_register() {
        let (folder, log) = written();
        for _ in 0..2 {
            let (_, again) = Journal::open(folder.path(), log.register()).unwrap();
            assert_eq!(again, log);
        }
    }

    #[test]
    fn an_entry_that_was_written_and_not_extended_is_dropped() {
        let (folder, log) = written();
        let (mut journal, _) = Journal::open(folder.path(), log.register()).unwrap();
        journal.append(&entry("never loaded")).unwrap();
        let (_, again) = Journal::open(folder.path(), log.register()).unwrap();
        assert_eq!(again, log);
        let text = std::fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(!text.contains("never loaded"));
    }

    #[test]
    fn a_file_that_does_not_lead_to_the_register_is_not_believed() {
        let (folder, log) = written();
        let path = folder.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        for altered in [
            text.replace("payments", "harmless"),
            text.lines().skip(1).collect::<Vec<_>>().join("\n"),
            text.lines().take(2).collect::<Vec<_>>().join("\n"),
            "no JSON".to_owned(),
        ] {
            std::fs::write(&path, altered).unwrap();
            let (_, anew) = Journal::open(folder.path(), log.register()).unwrap();
            assert!(anew.entries().is_empty());
            assert_eq!(anew.register_start(), log.register());
        }
        // A guest that was started anew.
        let (folder, _) = written();
        let (_, anew) = Journal::open(folder.path(), Some([0; 48])).unwrap();
        assert!(anew.entries().is_empty());
    }
}
