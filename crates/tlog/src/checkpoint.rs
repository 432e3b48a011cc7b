//! Tree heads that a log signed and witnesses cosigned (C2SP tlog-checkpoint and tlog-cosignature, version 1).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::note::{Algorithm, Note, Signature};
use crate::tree::Head;
use crate::{Error, SigningKey, VerifierKey};

const WHAT: &str = "checkpoint";
/// Of a cosignature: the time, then Ed25519.
const COSIGNATURE: usize = 8 + 64;

/// Whose log is believed, and who has to have seen it.
#[derive(Debug, Clone)]
pub struct Trusted {
    /// The log's key, whose name is the log's origin.
    pub log: VerifierKey,
    /// Known witnesses.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them have to have cosigned.
    pub needed: usize,
}

/// A checkpoint as it was read. What it says is worth nothing before [`SignedCheckpoint::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The log's name.
    origin: String,
    head: Head,
    note: Note,
}

/// A number in decimal as C2SP writes it: without leading zeroes.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    // Sizes are signed numbers in the field's other programs.
    text.parse()
        .ok()
        .filter(|n| plain && i64::try_from(*n).is_ok())
}

/// A node in base64.
pub(crate) fn hash(text: &str) -> Option<crate::Hash> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

/// What is signed.
fn text(origin: &str, head: &Head) -> String {
    let root = BASE64_STANDARD.encode(head.root);
    format!("{origin}\n{}\n{root}\n", head.size)
}

fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl SignedCheckpoint {
    /// Signs the head of the log whose name is that of the key.
    pub fn sign(head: Head, key: &SigningKey) -> Self {
        let origin = key.verifier().name().to_owned();
        Self {
            note: Note::signed(text(&origin, &head), key),
            origin,
            head,
        }
    }

    /// The same with a key that somebody else holds, as [`Note::signed_by`].
    pub fn signed_by(head: Head, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let origin = key.name().to_owned();
        Self {
            note: Note::signed_by(text(&origin, &head), key, sign),
            origin,
            head,
        }
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::malformed(WHAT, reason);
        let note = Note::parse(bytes)?;
        let mut lines = note.text.lines();
        let origin = lines.next().filter(|line| !line.is_empty());
        let origin = origin.ok_or_else(|| wrong("it names no log"))?.to_owned();
        let size = lines.next().and_then(decimal);
        let size = size.ok_or_else(|| wrong("its second line is not a size"))?;
        let root = lines.next().and_then(hash);
        let root = root.ok_or_else(|| wrong("its third line is not a root in base64"))?;
        if lines.any(str::is_empty) {
            return Err(wrong("it has an empty line"));
        }
        let head = Head { size, root };
        Ok(Self { origin, head, note })
    }

    /// The head, once key and witnesses were found to have signed it.
    ///
    /// # Errors
    /// [`Error::Origin`], [`Error::Unsigned`], [`Error::Forged`] and [`Error::Witnesses`].
    pub fn verify(&self, trusted: &Trusted) -> Result<Head, Error> {
        let head = self.verify_log(&trusted.log)?;
        let found = self.cosigners(&trusted.witnesses)?.len();
        if found < trusted.needed {
            return Err(Error::Witnesses {
                found,
                known: trusted.witnesses.len(),
                needed: trusted.needed,
            });
        }
        Ok(head)
    }

    /// The head, once the log's key was found to have signed it.
    ///
    /// # Errors
    /// [`Error::Origin`], [`Error::Unsigned`] and [`Error::Forged`].
    pub fn verify_log(&self, key: &VerifierKey) -> Result<Head, Error> {
        if self.origin != key.name() {
            return Err(Error::Origin {
                found: self.origin.escape_debug().to_string(),
                wanted: key.name().to_owned(),
            });
        }
        self.note.verify(key)?;
        Ok(self.head)
    }

    /// Which of these witnesses cosigned: each once, however often it is named.
    ///
    /// # Errors
    /// [`Error::Forged`] for a cosignature that says it is of one of them and is not.
    pub fn cosigners<'k>(
        &self,
        witnesses: &'k [VerifierKey],
    ) -> Result<Vec<&'k VerifierKey>, Error> {
        let mut found: Vec<&VerifierKey> = Vec::new();
        for witness in witnesses {
            let mut made = self
                .note
                .signatures
                .iter()
                .filter(|line| witness.made(line));
            if found.contains(&witness) {
                continue;
            }
            if made.clone().any(|line| !self.is_cosignature(line, witness)) {
                return Err(Error::Forged(witness.name().to_owned()));
            }
            if made.next().is_some() {
                found.push(witness);
            }
        }
        Ok(found)
    }

    fn is_cosignature(&self, line: &Signature, witness: &VerifierKey) -> bool {
        let whole = line.bytes.len() == COSIGNATURE;
        let Some((time, signature)) = line.bytes.split_first_chunk().filter(|_| whole) else {
            return false;
        };
        let time = u64::from_be_bytes(*time);
        witness.algorithm() == Algorithm::Cosignature
            && i64::try_from(time).is_ok()
            && witness.verifies(cosigned(time, &self.note.text).as_bytes(), signature)
    }

    /// The cosignature of a witness. That the log continues what the witness saw before is for the caller to have checked.
    ///
    /// # Errors
    /// [`Error::Key`] for a key that is not a witness'.
    pub fn cosign(&self, witness: &SigningKey, time: u64) -> Result<Signature, Error> {
        if witness.verifier().algorithm() != Algorithm::Cosignature {
            return Err(Error::Key("this one signs logs, a witness needs its own"));
        }
        let mut bytes = time.to_be_bytes().to_vec();
        bytes.extend(witness.sign(cosigned(time, &self.note.text).as_bytes()));
        Ok(witness.line(bytes))
    }

    /// Takes up the cosignature of a witness; an earlier one of the same witness goes.
    ///
    /// # Errors
    /// [`Error::Forged`] for one that is not over this checkpoint, [`Error::NoCosignature`] where the witness' is not among the lines.
    pub fn add(&mut self, lines: &[Signature], witness: &VerifierKey) -> Result<(), Error> {
        let line = lines.iter().find(|line| witness.made(line));
        let line = line.ok_or_else(|| Error::NoCosignature(witness.to_string()))?;
        if !self.is_cosignature(line, witness) {
            return Err(Error::Forged(witness.name().to_owned()));
        }
        self.note.signatures.retain(|old| !witness.made(old));
        self.note.signatures.push(line.clone());
        Ok(())
    }

    /// The log's name, as the checkpoint has it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The head as the checkpoint has it, for those who have its tree to compare it with.
    pub(crate) fn unverified(&self) -> Head {
        self.head
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}
