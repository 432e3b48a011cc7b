//! The certificate table that comes with an SEV-SNP report.
//!
//! GHCB specification (56421), "SNP Extended Guest Request": entries of GUID (16), offset (u32) and length (u32), ended by an
//! entry of zeros; the certificates follow. The host fills it, so it is untrusted, and cut to what it describes.

use crate::error::Error;
use crate::trim::{malformed, u32_at};

/// Bytes of an entry.
const ENTRY: usize = 24;
/// Most entries that are read; the specification names six kinds.
const MAX_ENTRIES: usize = 32;
/// Longest table that is passed on, bytes: a chain is under 8 KiB.
const MAX_CERTIFICATES: usize = 64 * 1024;

/// Cuts a table to the end of its last certificate. `None` when the host gave no certificate.
pub(crate) fn cut(mut blob: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    if blob.is_empty() {
        return Ok(None);
    }
    let mut end = 0;
    let mut certificates = Vec::new();
    for index in 0..=MAX_ENTRIES {
        let at = index.saturating_mul(ENTRY);
        let entry = blob
            .get(at..at.saturating_add(ENTRY))
            .ok_or_else(|| malformed("the certificate table has no last entry"))?;
        end = at.saturating_add(ENTRY);
        if entry.iter().all(|byte| *byte == 0) {
            break;
        }
        if index == MAX_ENTRIES {
            return Err(malformed(format!(
                "the certificate table has more than {MAX_ENTRIES} entries"
            )));
        }
        let offset = u32_at(entry, 16)? as usize;
        let length = u32_at(entry, 20)? as usize;
        certificates.push((offset, offset.saturating_add(length)));
    }
    if certificates.is_empty() {
        return Ok(None);
    }
    let header = end;
    // Bytes that no entry claims would be passed on with the rest, so the certificates must lie side by side.
    certificates.sort_unstable();
    for (from, to) in certificates {
        if from < header || to > blob.len() || to > MAX_CERTIFICATES {
            return Err(malformed(format!(
                "the certificate table points to bytes {from} to {to} of {}",
                blob.len()
            )));
        }
        if from != end {
            blob.get_mut(end.min(from)..from)
                .unwrap_or_default()
                .fill(0);
        }
        end = end.max(to);
    }
    blob.truncate(end);
    Ok(Some(blob))
}
