//! The 64 bytes that a quote signs for its caller. The host owns every one of them.
//!
//! ```text
//!  0  8  "HYPERVSR"
//!  8  1  version = 1
//!  9  1  purpose: 1 session, 2 result batch, 3 identity, 4 session batch,
//!       5 fleet member, 6 fleet joiner
//! 10  1  hash = 1 (SHA-384)
//! 11  1  flags: bit 0 verifier nonce, bit 1 log head, bit 2 register-bound, bit 7 simulated
//! 12  4  zero
//! 16 48  SHA-384("hypervisor/v1 report-data" ‖ 0x00 ‖ first 16 bytes ‖ TLV*)
//! ```
//!
//! The TLVs are in [`crate::binding`].

use std::fmt;

use sha2::{Digest, Sha384};

use crate::Error;

/// Bytes of report data, on TDX and SEV-SNP alike.
pub const LENGTH: usize = 64;
/// Bytes of the header.
pub const HEADER_LENGTH: usize = 16;

const MAGIC: [u8; 8] = *b"HYPERVSR";
const VERSION: u8 = 1;
const SHA384: u8 = 1;
const LABEL: &[u8] = b"hypervisor/v1 report-data";

/// What a quote is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It binds the key of one session.
    Session,
    /// It binds the root over a batch of results.
    ResultBatch,
    /// It binds the host's identity key.
    Identity,
    /// It binds the root over a batch of sessions.
    SessionBatch,
    /// It binds the key of a host that gives the key of its fleet to another one.
    FleetMember,
    /// It binds the key of a host that asks for it.
    FleetJoiner,
}

impl Purpose {
    /// The byte at offset 9.
    pub const fn code(self) -> u8 {
        match self {
            Self::Session => 1,
            Self::ResultBatch => 2,
            Self::Identity => 3,
            Self::SessionBatch => 4,
            Self::FleetMember => 5,
            Self::FleetJoiner => 6,
        }
    }

    /// The name in documents and verdicts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::ResultBatch => "result-batch",
            Self::Identity => "identity",
            Self::SessionBatch => "session-batch",
            Self::FleetMember => "fleet-member",
            Self::FleetJoiner => "fleet-joiner",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [
            Self::Session,
            Self::ResultBatch,
            Self::Identity,
            Self::SessionBatch,
            Self::FleetMember,
            Self::FleetJoiner,
        ]
        .into_iter()
        .find(|purpose| purpose.code() == code)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The flags at offset 11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// Bit 0: the binding holds a verifier's nonce.
    pub nonce: bool,
    /// Bit 1: the binding holds the head of the component log.
    pub log_head: bool,
    /// Bit 2: the component log is also extended into a register of the hardware (RTMR3).
    pub register_bound: bool,
    /// Bit 7: the quote is simulated and proves nothing about hardware.
    pub simulated: bool,
}

impl Flags {
    const NONCE: u8 = 1;
    const LOG_HEAD: u8 = 1 << 1;
    const REGISTER_BOUND: u8 = 1 << 2;
    const SIMULATED: u8 = 1 << 7;

    /// The byte.
    pub const fn bits(self) -> u8 {
        let mut bits = 0;
        if self.nonce {
            bits |= Self::NONCE;
        }
        if self.log_head {
            bits |= Self::LOG_HEAD;
        }
        if self.register_bound {
            bits |= Self::REGISTER_BOUND;
        }
        if self.simulated {
            bits |= Self::SIMULATED;
        }
        bits
    }

    fn from_bits(bits: u8) -> Option<Self> {
        let flags = Self {
            nonce: bits & Self::NONCE != 0,
            log_head: bits & Self::LOG_HEAD != 0,
            register_bound: bits & Self::REGISTER_BOUND != 0,
            simulated: bits & Self::SIMULATED != 0,
        };
        (flags.bits() == bits).then_some(flags)
    }
}

/// The first 16 bytes of report data, which are also the first 16 of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// What the quote is for.
    pub purpose: Purpose,
    /// What it binds.
    pub flags: Flags,
}

impl Header {
    /// The 16 bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let [a, b, c, d, e, f, g, h] = MAGIC;
        let (purpose, flags) = (self.purpose.code(), self.flags.bits());
        [
            a, b, c, d, e, f, g, h, VERSION, purpose, SHA384, flags, 0, 0, 0, 0,
        ]
    }

    /// Reads the 16 bytes.
    ///
    /// # Errors
    /// [`Error::ReportData`] for another magic, version, purpose or hash, an unknown flag, or bytes 12 to 15 that are not zero.
    pub fn from_bytes(bytes: &[u8; HEADER_LENGTH]) -> Result<Self, Error> {
        let refuse = |reason: String| Err(Error::ReportData { reason });
        let [magic @ .., version, purpose, hash, flags, z0, z1, z2, z3] = *bytes;
        if magic != MAGIC {
            return refuse("does not start with \"HYPERVSR\"".to_owned());
        }
        if version != VERSION {
            return refuse(format!("has version {version}, not {VERSION}"));
        }
        let Some(purpose) = Purpose::from_code(purpose) else {
            return refuse(format!("has the unknown purpose {purpose}"));
        };
        if hash != SHA384 {
            return refuse(format!("names hash {hash}, not {SHA384} (SHA-384)"));
        }
        let Some(flags) = Flags::from_bits(flags) else {
            return refuse(format!("has unknown flags in {flags:#010b}"));
        };
        if [z0, z1, z2, z3] != [0; 4] {
            return refuse("is not zero in bytes 12 to 15".to_owned());
        }
        Ok(Self { purpose, flags })
    }
}

/// The 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReportData([u8; LENGTH]);

impl ReportData {
    /// The report data of a binding: its header and the hash over it. `binding` is what [`crate::Binding::encode`] gives;
    /// prefer [`crate::Binding::report_data`].
    ///
    /// # Errors
    /// [`Error::Binding`] when it is shorter than its header.
    pub fn of_encoded(binding: &[u8]) -> Result<Self, Error> {
        let (header, tlvs) = binding
            .split_first_chunk::<HEADER_LENGTH>()
            .ok_or_else(|| Error::Binding {
                reason: format!("{} bytes, its header has 16", binding.len()),
            })?;
        Ok(Self::new(header, tlvs))
    }

    pub(crate) fn new(header: &[u8; HEADER_LENGTH], tlvs: &[u8]) -> Self {
        let digest: [u8; 48] = Sha384::new_with_prefix(LABEL)
            .chain_update([0])
            .chain_update(header)
            .chain_update(tlvs)
            .finalize()
            .into();
        let mut bytes = [0; LENGTH];
        for (to, from) in bytes.iter_mut().zip(header.iter().chain(&digest)) {
            *to = *from;
        }
        Self(bytes)
    }

    /// Report data as found in a quote; nothing is checked.
    pub fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// What the first 16 bytes say.
    ///
    /// # Errors
    /// [`Error::ReportData`] as [`Header::from_bytes`].
    pub fn header(&self) -> Result<Header, Error> {
        self.0
            .first_chunk::<HEADER_LENGTH>()
            .ok_or(Error::ReportData {
                reason: "is shorter than its header".to_owned(),
            })
            .and_then(Header::from_bytes)
    }
}

impl fmt::Debug for ReportData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportData({self})")
    }
}

impl fmt::Display for ReportData {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}
