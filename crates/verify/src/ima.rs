//! Linux's list of the files that it measured (IMA, `binary_runtime_measurements`), little-endian.
//!
//! Each entry was put into PCR10 by the hash of its template data. The kernel goes on measuring, so a list that was read after a quote is
//! longer than what was quoted: [`FileList::until`] is the part that leads to a PCR.

use sha2::{Digest, Sha256};

use crate::boot_log::extend;
use crate::evidence::MAX_IMA_LOG;
use crate::vtpm::PCR;

/// The register that Linux measures files into.
pub const REGISTER: usize = 10;
/// The most entries of a list.
pub const MAX_FILES: usize = 65_536;

/// Length of a SHA-1 digest: what the list itself names its entries by.
const SHA1: usize = 20;
/// The longest name of a template.
const MAX_NAME: usize = 64;
/// Templates whose first two fields are a digest with its hash, and a path.
const TEMPLATES: [&[u8]; 4] = [b"ima-ng", b"ima-ngv2", b"ima-sig", b"ima-sigv2"];
/// The entry that stands for PCR0 to PCR9 as the kernel found them.
const AGGREGATE: &str = "boot_aggregate";

/// Why a list can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the list of measured files can not be read: {reason}")]
pub struct ImaError {
    reason: String,
}

/// A file that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, as the kernel saw it.
    pub path: String,
    /// The hash and the digest of its content, such as `sha256:` and hex.
    pub digest: String,
    /// What PCR10 was extended with.
    pub extension: [u8; PCR],
}

impl File {
    /// Whether it is the entry about PCR0 to PCR9, and no file.
    pub fn is_boot_aggregate(&self) -> bool {
        self.path == AGGREGATE
    }
}

/// A list in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    files: Vec<File>,
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, ImaError> {
    Err(ImaError {
        reason: reason.into(),
    })
}

impl FileList {
    /// Reads a list.
    ///
    /// # Errors
    /// [`ImaError`] for an entry that is cut off, is of another register or of a template that does not name path and digest, for a violation
    /// (a file that was written while it was measured), and for more than [`MAX_FILES`] entries or [`MAX_IMA_LOG`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImaError> {
        if bytes.len() > MAX_IMA_LOG {
            return refuse(format!("it has {} bytes, over {MAX_IMA_LOG}", bytes.len()));
        }
        let (mut rest, mut files) = (bytes, Vec::new());
        while !rest.is_empty() {
            if files.len() >= MAX_FILES {
                return refuse(format!("it has over {MAX_FILES} entries"));
            }
            let file = entry(&mut rest);
            files.push(file.map_err(|ImaError { reason }| ImaError {
                reason: format!("entry {}: {reason}", files.len().saturating_add(1)),
            })?);
        }
        Ok(Self { files })
    }

    /// Every file.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The files that were measured when PCR10 had this value; none where the list never leads to it.
    pub fn until(&self, pcr: &[u8; PCR]) -> Option<&[File]> {
        let mut value = [0; PCR];
        let mut count: usize = 0;
        for file in &self.files {
            if value == *pcr {
                break;
            }
            value = extend(&value, &file.extension);
            count = count.saturating_add(1);
        }
        self.files.get(..count).filter(|_| value == *pcr)
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ImaError> {
    let Some((taken, left)) = rest.split_at_checked(length) else {
        return refuse(format!(
            "cut off: {length} bytes should follow, {} do",
            rest.len()
        ));
    };
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &[u8]) -> Result<usize, ImaError> {
    let bytes = take(rest, 4)?;
    let number = bytes.try_into().map_or(0, u32::from_le_bytes);
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], ImaError> {
    let length = number(rest)?;
    take(rest, length)
}

fn entry(rest: &mut &[u8]) -> Result<File, ImaError> {
    let register = number(rest)?;
    if register != REGISTER {
        return refuse(format!("it is of PCR{register}, not of PCR{REGISTER}"));
    }
    let sha1 = take(rest, SHA1)?;
    if sha1.iter().all(|byte| *byte == 0) {
        return refuse("it is a violation: a file was written to while it was measured");
    }
    let length = number(rest)?;
    let name = take(rest, length.min(MAX_NAME.saturating_add(1)))?;
    if !TEMPLATES.contains(&name) {
        return refuse("its template is not ima-ng or ima-sig");
    }
    let mut data = sized(rest)?;
    let extension = Sha256::digest(data).into();
    let digest = sized(&mut data)?;
    let path = sized(&mut data)?;
    // The name of the hash, `:`, a zero and the digest; a path ends with a zero.
    let colon = digest.windows(2).position(|pair| pair == b":\0");
    let Some((hash, value)) = colon.and_then(|at| {
        let hash = std::str::from_utf8(digest.get(..at)?).ok()?;
        Some((hash, digest.get(at.checked_add(2)?..)?))
    }) else {
        return refuse("its digest does not name its hash");
    };
    let path = path.strip_suffix(&[0]).map(std::str::from_utf8);
    let Some(Ok(path)) = path else {
        return refuse("its path is not text that ends with a zero");
    };
    // ima-ngv2 has the kind of digest in front of the hash.
    let hash = hash.rsplit(':').next().unwrap_or_default();
    Ok(File {
        path: path.to_owned(),
        digest: format!("{hash}:{}", const_hex::encode(value)),
        extension,
    })
}
