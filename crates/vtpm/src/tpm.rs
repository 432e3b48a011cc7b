//! A TPM, and the little that is asked of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use hypervisor_evidence::vtpm::{PCR, PCRS, RsaKey};

use crate::command::{
    Answer, CREATE_PRIMARY, Code, NV_READ, NV_READ_PUBLIC, PCR_READ, QUOTE, READ_PUBLIC, command,
    sized,
};
use crate::error::Error;

/// Longest answer of a TPM, bytes; TPMs' own buffers have this length.
const MAX_ANSWER: usize = 4096;
/// Who owns what the platform wrote, and who its endorsement keys are of.
const OWNER: u32 = 0x4000_0001;
const ENDORSEMENT: u32 = 0x4000_000b;
/// Bytes of an index that are read at a time: every TPM gives as many.
const NV_CHUNK: u16 = 512;
/// Most bytes of an index.
const MAX_NV: u16 = 16 << 10;
/// How often a command is sent that the TPM was not ready for. Linux does so itself.
const ATTEMPTS: u32 = 16;
/// Numbers of algorithms.
const RSA: u16 = 0x01;
const SHA256: u16 = 0x0b;
const NULL: u16 = 0x10;
const RSASSA: u16 = 0x14;
/// Attributes of a key that the TPM made for itself, and that signs nothing that only looks as if the TPM had made it: fixedTPM, restricted,
/// sign.
const OF_A_QUOTING_KEY: u32 = 1 << 1 | 1 << 16 | 1 << 18;

/// Carries commands to a TPM.
pub trait Transport: Send {
    /// Sends one command and gives its answer, of at most 4096 bytes.
    ///
    /// # Errors
    /// As write(2) and read(2).
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// Linux's device, behind the kernel's resource manager.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Where Linux shows it.
    pub const PATH: &str = "/dev/tpmrm0";

    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Self).map_err(|source| Error::Device {
            path: path.to_owned(),
            source: Arc::new(source),
        })
    }
}

impl Transport for Device {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        // One write is one command, one read its answer.
        self.0.write_all(command)?;
        let mut answer = vec![0; MAX_ANSWER];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// A TPM.
pub struct Tpm(Box<dyn Transport>);

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tpm")
    }
}

impl Tpm {
    /// A TPM behind `transport`.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self(Box::new(transport))
    }

    fn run(
        &mut self,
        code: Code,
        handles: &[u32],
        authorized: bool,
        parameters: &[&[u8]],
    ) -> Result<Vec<u8>, Error> {
        let command = command(code, handles, authorized, parameters);
        let mut attempts: u32 = 1;
        loop {
            let answer = self.0.transmit(&command);
            let answer = answer.map_err(|error| Error::Transport(Arc::new(error)))?;
            if attempts >= ATTEMPTS || !wants_it_again(&answer) {
                return Ok(answer);
            }
            attempts = attempts.saturating_add(1);
        }
    }

    /// All bytes of an index that the platform wrote.
    ///
    /// # Errors
    /// [`Error`].
    pub fn nv_read(&mut self, index: u32) -> Result<Vec<u8>, Error> {
        let answer = self.run(NV_READ_PUBLIC, &[index], false, &[])?;
        let mut answer = Answer::of(NV_READ_PUBLIC, &answer)?;
        // Index, hash of its name, attributes; then who may use it, and its size.
        answer.bytes(2 + 4 + 2 + 4)?;
        answer.sized()?;
        let size = answer.u16()?.min(MAX_NV);
        let mut value = Vec::with_capacity(size.into());
        for offset in (0..size).step_by(NV_CHUNK.into()) {
            let length = NV_CHUNK.min(size.saturating_sub(offset));
            let parameters = [&length.to_be_bytes()[..], &offset.to_be_bytes()];
            let answer = self.run(NV_READ, &[OWNER, index], true, &parameters)?;
            let mut answer = Answer::of(NV_READ, &answer)?.parameters()?;
            let chunk = answer.sized()?;
            if chunk.len() != usize::from(length) {
                return Err(answer.malformed());
            }
            value.extend_from_slice(chunk);
        }
        Ok(value)
    }

    /// The public part of a key that can quote: RSA, made by the TPM, and of no use for signing anything else.
    ///
    /// # Errors
    /// [`Error::Key`] for any other key.
    pub fn quoting_key(&mut self, handle: u32) -> Result<RsaKey, Error> {
        let answer = self.run(READ_PUBLIC, &[handle], false, &[])?;
        let mut answer = Answer::of(READ_PUBLIC, &answer)?;
        // The length of the public area, then its type and the hash of its name.
        answer.bytes(2)?;
        let (kind, _, attributes) = (answer.u16()?, answer.u16()?, answer.u32()?);
        answer.sized()?;
        if kind != RSA {
            return Err(Error::Key {
                reason: "is not an RSA key; make one that is, and name it",
            });
        }
        if attributes & OF_A_QUOTING_KEY != OF_A_QUOTING_KEY {
            return Err(Error::Key {
                reason: "is not a restricted signing key of this TPM, so its quotes could be made by anyone who may use it",
            });
        }
        // A restricted signing key encrypts nothing.
        let (symmetric, scheme) = (answer.u16()?, answer.u16()?);
        if (symmetric, scheme) != (NULL, RSASSA) || answer.u16()? != SHA256 {
            return Err(Error::Key {
                reason: "does not sign by RSASSA with SHA-256",
            });
        }
        let _bits = answer.u16()?;
        let e = match answer.u32()? {
            0 => 65_537,
            e => e,
        };
        let n = answer.sized()?.to_vec();
        let e = e.to_be_bytes();
        let e = e.iter().copied().skip_while(|byte| *byte == 0).collect();
        Ok(RsaKey { n, e })
    }

    /// Makes the key of a template under the endorsement hierarchy: the same one each time. Its handle lives as long as the device is open.
    ///
    /// # Errors
    /// [`Error`].
    pub fn create_primary(&mut self, template: &[u8]) -> Result<u32, Error> {
        // No password and no data, the template, nothing from outside, no PCRs.
        let sensitive = sized(&[0; 4]);
        let template = sized(template);
        let parameters = [&sensitive[..], &template, &sized(&[]), &[0; 4]];
        let answer = self.run(CREATE_PRIMARY, &[ENDORSEMENT], true, &parameters)?;
        Answer::of(CREATE_PRIMARY, &answer)?.u32()
    }

    /// PCR0 to PCR23 of the bank SHA-256.
    ///
    /// # Errors
    /// [`Error`].
    pub fn pcrs(&mut self) -> Result<[[u8; PCR]; PCRS], Error> {
        let mut pcrs = [[0; PCR]; PCRS];
        // A TPM gives eight at a time.
        for (start, some) in (0_usize..).step_by(8).zip(pcrs.chunks_mut(8)) {
            let mut bitmap = [0; 3];
            if let Some(byte) = bitmap.get_mut(start / 8) {
                *byte = 0xff;
            }
            let answer = self.run(PCR_READ, &[], false, &[&selection(bitmap)])?;
            let mut answer = Answer::of(PCR_READ, &answer)?;
            // A counter; the selection as it was, unless the bank is not there.
            answer.bytes(4)?;
            if answer.bytes(selection(bitmap).len())? != selection(bitmap) {
                return Err(answer.malformed());
            }
            if answer.u32()? != 8 {
                return Err(answer.malformed());
            }
            for pcr in some {
                *pcr = answer.sized()?.try_into().map_err(|_| answer.malformed())?;
            }
        }
        Ok(pcrs)
    }

    /// A quote over all PCRs and `data`, and its signature.
    ///
    /// # Errors
    /// [`Error`].
    pub fn quote(&mut self, key: u32, data: &[u8; 64]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let data = sized(data);
        let parameters = [&data[..], &NULL.to_be_bytes(), &selection([0xff; 3])];
        let answer = self.run(QUOTE, &[key], true, &parameters)?;
        let mut answer = Answer::of(QUOTE, &answer)?.parameters()?;
        let quote = answer.sized()?.to_vec();
        if (answer.u16()?, answer.u16()?) != (RSASSA, SHA256) {
            return Err(Error::Key {
                reason: "does not sign by RSASSA with SHA-256",
            });
        }
        Ok((quote, answer.sized()?.to_vec()))
    }
}

/// `TPM_RC_RETRY`: the TPM did something else first, such as a test of itself.
fn wants_it_again(answer: &[u8]) -> bool {
    answer.get(6..10) == Some(&[0, 0, 0x09, 0x22])
}

/// One bank, SHA-256, and which of its registers.
fn selection(bitmap: [u8; 3]) -> [u8; 10] {
    let [a, b, c] = bitmap;
    let [high, low] = SHA256.to_be_bytes();
    [0, 0, 0, 1, high, low, 3, a, b, c]
}
