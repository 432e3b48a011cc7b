//! The file of one agent.
//!
//! ```text
//! file    = "HVAGENT" 0x00 ‖ version 0x01 ‖ 16 random bytes ‖ u32 BE length of the sealed head ‖ head ‖ component ‖ code
//! section = 12 random bytes, the nonce ‖ AES-256-GCM-SIV(k_seal, nonce, aad, plaintext), the tag at its end
//! aad     = "hypervisor/v1 agent-file" ‖ 0x00 ‖ version ‖ section 0, 1 or 2 ‖ file id, 32 bytes ‖ the 16 random bytes
//! head    = CBOR, with the lengths of the other two
//! ```
//!
//! The 16 bytes are made anew each time a file is written, so that sections of two writings can not be mixed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use aes_gcm_siv::Tag;
use aes_gcm_siv::aead::AeadInOut;
use zeroize::{Zeroize, Zeroizing};

use super::contents::{Contents, wrong};
use super::keys::Keys;
use super::record::Record;
use crate::error::Damage;

const MAGIC: [u8; 8] = *b"HVAGENT\0";
const VERSION: u8 = 1;
const LABEL: &[u8] = b"hypervisor/v1 agent-file\0";

/// Bytes before the first section.
const PREFIX: u64 = 29;

/// Bytes that a section has beside its plaintext: the nonce and the tag.
const OVERHEAD: u64 = (NONCE + TAG) as u64;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Most bytes of a sealed head: manifest, details and fingerprint at their bounds, and room for the rest.
const MAX_HEAD: u32 = 256 << 10;

/// Why a file can not be read or written.
pub(super) enum Failure {
    Damage(Damage),
    Seal(&'static str),
    Random,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Clone, Copy)]
enum Section {
    Head = 0,
    Component = 1,
    Code = 2,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Component => "component",
            Self::Code => "code",
        }
    }
}

/// What the associated data of every section of one writing begins with.
struct Binding<'a> {
    keys: &'a Keys,
    id: [u8; 32],
    writing: [u8; 16],
}

impl Binding<'_> {
    fn aad(&self, section: Section) -> Vec<u8> {
        [LABEL, &[VERSION, section as u8], &self.id, &self.writing].concat()
    }

    /// Seals a section in place and gives its nonce.
    fn seal(&self, section: Section, buffer: &mut Vec<u8>) -> Result<[u8; NONCE], Failure> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| Failure::Random)?;
        let tag = self
            .keys
            .cipher()
            .encrypt_inout_detached(
                (&nonce).into(),
                &self.aad(section),
                buffer.as_mut_slice().into(),
            )
            .map_err(|_| Failure::Seal("it is too long"))?;
        buffer.extend_from_slice(&tag);
        Ok(nonce)
    }

    /// Opens a section in place.
    fn open(
        &self,
        section: Section,
        nonce: &[u8; NONCE],
        buffer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let failed = || {
            Failure::Damage(Damage::Authentication {
                section: section.name(),
            })
        };
        let (ciphertext, tag) = buffer.split_last_chunk_mut::<TAG>().ok_or_else(failed)?;
        let length = ciphertext.len();
        let tag = Tag::from(*tag);
        self.keys
            .cipher()
            .decrypt_inout_detached(nonce.into(), &self.aad(section), ciphertext.into(), &tag)
            .map_err(|_| failed())?;
        buffer.truncate(length);
        Ok(())
    }
}

/// Writes a whole file.
pub(super) fn seal(
    file: &mut dyn Write,
    keys: &Keys,
    id: &[u8; 32],
    contents: &Contents,
    record: &Record<'_>,
) -> Result<(), Failure> {
    let mut writing = [0; 16];
    getrandom::fill(&mut writing).map_err(|_| Failure::Random)?;
    let binding = Binding {
        keys,
        id: *id,
        writing,
    };
    // Room for all of it from the start: what grows leaves copies behind.
    let mut head = Zeroizing::new(Vec::with_capacity(MAX_HEAD as usize));
    ciborium::into_writer(contents, &mut *head).map_err(|_| Failure::Seal("it has no CBOR"))?;
    let nonce = binding.seal(Section::Head, &mut head)?;
    let length = u32::try_from(head.len())
        .ok()
        .filter(|length| *length <= MAX_HEAD)
        .ok_or(Failure::Seal("its head is too long"))?;
    file.write_all(&MAGIC)?;
    file.write_all(&[VERSION])?;
    file.write_all(&writing)?;
    file.write_all(&length.to_be_bytes())?;
    file.write_all(&nonce)?;
    file.write_all(&head)?;
    for (section, plaintext) in [
        (Section::Component, record.component),
        (Section::Code, record.code),
    ] {
        let mut buffer = Vec::with_capacity(plaintext.len().saturating_add(TAG));
        buffer.extend_from_slice(plaintext);
        let nonce = binding.seal(section, &mut buffer)?;
        file.write_all(&nonce)?;
        file.write_all(&buffer)?;
    }
    Ok(())
}

/// A file whose head was read.
pub(super) struct Sealed<'a> {
    file: File,
    binding: Binding<'a>,
    /// Bytes of the sealed head.
    head: u32,
}

impl<'a> Sealed<'a> {
    /// Reads the head, and checks that the file has the length that follows from it.
    pub(super) fn open(
        mut file: File,
        keys: &'a Keys,
        id: [u8; 32],
    ) -> Result<(Self, Contents), Failure> {
        let damaged = |damage| Err(Failure::Damage(damage));
        let found = file.metadata()?.len();
        let expected = PREFIX + OVERHEAD;
        if found < expected {
            return damaged(Damage::Length { found, expected });
        }
        let (magic, [version]) = (read(&mut file)?, read(&mut file)?);
        if magic != MAGIC {
            return damaged(Damage::Foreign);
        }
        if version != VERSION {
            return damaged(Damage::Version { found: version });
        }
        let writing = read(&mut file)?;
        let head = u32::from_be_bytes(read(&mut file)?);
        if head > MAX_HEAD {
            return damaged(Damage::Foreign);
        }
        let expected = (PREFIX + NONCE as u64).saturating_add(head.into());
        if found < expected {
            return damaged(Damage::Length { found, expected });
        }
        let mut sealed = Self {
            file,
            binding: Binding { keys, id, writing },
            head,
        };
        let mut plaintext = sealed.section(Section::Head, head as usize)?;
        let contents = ciborium::from_reader(plaintext.as_slice());
        plaintext.zeroize();
        let contents: Contents = contents.map_err(|error| {
            // The library's words may repeat what it read.
            let _: ciborium::de::Error<io::Error> = error;
            Failure::Damage(wrong("it is not what this program writes"))
        })?;
        let expected = expected
            .saturating_add(2 * OVERHEAD)
            .saturating_add(contents.component_length)
            .saturating_add(contents.code_length);
        if found != expected {
            return damaged(Damage::Length { found, expected });
        }
        Ok((sealed, contents))
    }

    pub(super) fn component(&mut self, contents: &Contents) -> Result<Vec<u8>, Failure> {
        self.at(0, Section::Component, contents.component_length)
    }

    pub(super) fn code(&mut self, contents: &Contents) -> Result<Vec<u8>, Failure> {
        let before = OVERHEAD.saturating_add(contents.component_length);
        self.at(before, Section::Code, contents.code_length)
    }

    /// The section that begins `before` bytes after the head. Its length was compared with the file's.
    fn at(&mut self, before: u64, section: Section, length: u64) -> Result<Vec<u8>, Failure> {
        let head = (PREFIX + NONCE as u64).saturating_add(self.head.into());
        self.file
            .seek(SeekFrom::Start(head.saturating_add(before)))?;
        let length = usize::try_from(length)
            .map_err(|_| Failure::Damage(wrong("it is longer than memory")))?;
        self.section(section, length.saturating_add(TAG))
    }

    /// Reads and opens the section that begins here.
    fn section(&mut self, section: Section, sealed: usize) -> Result<Vec<u8>, Failure> {
        let nonce = read(&mut self.file)?;
        let mut buffer = vec![0; sealed];
        self.file.read_exact(&mut buffer)?;
        self.binding.open(section, &nonce, &mut buffer)?;
        Ok(buffer)
    }
}

fn read<const N: usize>(file: &mut File) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
