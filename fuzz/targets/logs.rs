//! Logs: of boots, of files that a kernel measured, and of what was published.

use hypervisor_tlog::note::Note;
use hypervisor_tlog::trail::{self, Consistency, Origin};
use hypervisor_tlog::{Entry, Proof, SignedCheckpoint, SigningKey, VerifierKey};
use hypervisor_verify::boot_log::{BootLog, PcrLog};
use hypervisor_verify::ima::FileList;

use crate::bounded;

/// An event has 10 bytes where it is shortest, and takes 100 in a list that has grown to twice its length.
const TIMES: usize = 64;

/// Logs of firmware, and of IMA.
pub(crate) fn event_logs(bytes: &[u8]) {
    if let Ok(log) = bounded(bytes, TIMES, || BootLog::parse(bytes)) {
        let _ = log.registers();
        for event in log.events() {
            let _ = (event.is_bound(), event.type_name());
            // Text of one byte a character is of two where it was UTF-16, and what is no text of three where it is replaced.
            assert!(event.words().len() <= 3 * event.data.len() + 1);
        }
        let data: usize = log.events().iter().map(|event| event.data.len()).sum();
        assert!(data <= bytes.len());
    }
    if let Ok(log) = bounded(bytes, TIMES, || PcrLog::parse_pcrs(bytes)) {
        let _ = log.pcrs();
    }
    if let Ok(list) = bounded(bytes, TIMES, || FileList::parse(bytes)) {
        assert!(list.until(&[7; 32]).is_none(), "no list leads there");
    }
}

/// What was read is written as it came.
fn same(written: &impl ToString, bytes: &[u8]) {
    assert_eq!(written.to_string().as_bytes(), bytes);
}

/// Notes, checkpoints, proofs, entries and keys of transparency logs. All but keys have one form.
pub(crate) fn transparency(bytes: &[u8]) {
    if let Ok(note) = bounded(bytes, TIMES, || Note::parse(bytes)) {
        same(&note, bytes);
    }
    if let Ok(checkpoint) = bounded(bytes, TIMES, || SignedCheckpoint::parse(bytes)) {
        same(&checkpoint, bytes);
    }
    if let Ok(proof) = bounded(bytes, TIMES, || Proof::parse(bytes)) {
        same(&proof, bytes);
    }
    if let Ok(proof) = bounded(bytes, TIMES, || Consistency::parse(bytes)) {
        same(&proof, bytes);
    }
    if let Ok(entry) = bounded(bytes, TIMES, || Entry::decode(bytes)) {
        assert_eq!(entry.encode().unwrap(), bytes);
    }
    if let Ok(entry) = trail::Entry::decode(bytes) {
        assert_eq!(entry.encode(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(origin) = text.parse::<Origin>() {
            same(&origin, bytes);
        }
        if let Ok(key) = text.parse::<VerifierKey>() {
            same(&key, bytes);
        }
        if let Ok(key) = text.parse::<SigningKey>() {
            assert_eq!(*key.to_text(), text);
        }
    }
}
