//! The binding: everything that a quote's report data commits to, in full.
//!
//! A binding is the 16 bytes of the report data's header and then TLVs: u16 BE tag ‖ u32 BE length ‖ value, the tags in
//! ascending order, none twice, unknown ones refused. It travels beside the quote, so that a verifier recomputes all 64 bytes.
//!
//! | tag | value | bytes | in |
//! |---|---|---|---|
//! | 0001 | verifier's nonce | 16 to 64 | any but session batch, where there is one |
//! | 0010 | session public key, SEC1 compressed | 33 | session, fleet member, fleet joiner |
//! | 0011 | session id | 16 | the same |
//! | 0012 | client public key, SEC1 compressed | 33 | the same |
//! | 0013 | identity public key, SEC1 compressed | 33 | all |
//! | 0014 | SHA-256 of the SubjectPublicKeyInfo of the host's TLS certificate | 32 | identity, where it ends TLS itself |
//! | 0021 | Merkle root of the results ‖ u64 BE count | 40 | result batch |
//! | 0022 | Merkle root of the sessions ‖ u64 BE count | 40 | session batch |
//! | 0030 | manifest digest, SHA-384 | 48 | all |
//! | 0031 | head of the component log ‖ u64 BE count | 56 | all |
//! | 0040 | backend: `tdx`, `sev-snp` or `simulated` | 3 to 9 | all |
//! | 0041 | boot id | 16 | all |
//!
//! Where hosts give each other the key of their fleet, the session is their exchange, its key the one that the evidence is of, and
//! the client's key the other host's.
//!
//! "All" and the purposes are exact: a binding that lacks a tag, or has one of another purpose, is refused.

mod session;
mod tlv;

use std::fmt;

use hypervisor_protocol::{PublicKey, SessionId};

use crate::Error;
use crate::error::bound;
use crate::evidence::Evidence;
use crate::log::LogHead;
use crate::merkle::ResultRoot;
use crate::nonce::VerifierNonce;
use crate::report_data::{Flags, HEADER_LENGTH, Header, Purpose, ReportData};

pub use session::{SessionEntry, SessionProof};
use tlv::{Tlvs, Writer};

/// The most bytes of a binding. The longest that can be made has 483.
pub const MAX_LENGTH: usize = 1024;

const NONCE: u16 = 0x0001;
const SESSION_KEY: u16 = 0x0010;
const SESSION_ID: u16 = 0x0011;
const CLIENT_KEY: u16 = 0x0012;
const IDENTITY_KEY: u16 = 0x0013;
const TLS_KEY: u16 = 0x0014;
const RESULTS: u16 = 0x0021;
const SESSIONS: u16 = 0x0022;
const MANIFEST: u16 = 0x0030;
const LOG: u16 = 0x0031;
const BACKEND: u16 = 0x0040;
const BOOT_ID: u16 = 0x0041;

/// What makes the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Intel TDX.
    Tdx,
    /// AMD SEV-SNP.
    SevSnp,
    /// A simulation, which proves nothing about hardware.
    Simulated,
}

impl Backend {
    /// The name, as in the binding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tdx => "tdx",
            Self::SevSnp => "sev-snp",
            Self::Simulated => "simulated",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Tdx, Self::SevSnp, Self::Simulated]
            .into_iter()
            .find(|backend| backend.name().as_bytes() == name)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the quote is about: its purpose and what only that purpose binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One session's key.
    Session {
        /// The session's public key S.
        session_public_key: PublicKey,
        /// The session's id.
        session_id: SessionId,
        /// The client's public key C.
        client_public_key: PublicKey,
    },
    /// A batch of results.
    ResultBatch {
        /// The root over their commitments.
        results: ResultRoot,
    },
    /// The host's identity key, which every binding has.
    Identity,
    /// A batch of sessions.
    SessionBatch {
        /// The root over their entries.
        sessions: ResultRoot,
    },
    /// One end of an exchange in which a host gives another one the key of their fleet.
    Peer(Peer),
}

/// One end of an exchange between two hosts of a fleet. The end that has the key and the end that asks for it make quotes of two
/// purposes, so that neither's can be shown as the other's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Whether it asks for the key; else it has it.
    pub joins: bool,
    /// Its own public key, of this exchange alone.
    pub own_public_key: PublicKey,
    /// Which exchange.
    pub exchange: SessionId,
    /// The other end's public key.
    pub other_public_key: PublicKey,
}

impl Subject {
    /// The purpose.
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Session { .. } => Purpose::Session,
            Self::ResultBatch { .. } => Purpose::ResultBatch,
            Self::Identity => Purpose::Identity,
            Self::SessionBatch { .. } => Purpose::SessionBatch,
            Self::Peer(Peer { joins: false, .. }) => Purpose::FleetMember,
            Self::Peer(Peer { joins: true, .. }) => Purpose::FleetJoiner,
        }
    }
}

/// Everything that a quote's report data commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// What the quote is about.
    pub subject: Subject,
    /// The nonce of the verifier who asked, where one did.
    pub nonce: Option<VerifierNonce>,
    /// The key that signs the host's receipts and statements.
    pub identity_public_key: PublicKey,
    /// SHA-256 of the public key (SubjectPublicKeyInfo) with which the host ends TLS itself, where it does; of an identity alone.
    pub tls_key: Option<[u8; 32]>,
    /// SHA-384 of the manifest.
    pub manifest_digest: [u8; 48],
    /// The head of the component log.
    pub log: LogHead,
    /// Whether the log is also extended into RTMR3.
    pub register_bound: bool,
    /// What makes the quotes.
    pub backend: Backend,
    /// Random, new at each start of the host: tells evidence before a restart from evidence after it.
    pub boot_id: [u8; 16],
}

impl Binding {
    /// The header that this binding implies.
    pub fn header(&self) -> Header {
        Header {
            purpose: self.subject.purpose(),
            flags: Flags {
                nonce: self.nonce.is_some(),
                log_head: true,
                register_bound: self.register_bound,
                simulated: self.backend == Backend::Simulated,
            },
        }
    }

    /// The binding as it travels.
    pub fn encode(&self) -> Vec<u8> {
        [&self.header().to_bytes()[..], &self.tlvs()].concat()
    }

    fn tlvs(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.asked(&self.subject, self.nonce.as_ref());
        writer.put(IDENTITY_KEY, &[self.identity_public_key.as_bytes()]);
        if let Some(key) = &self.tls_key {
            writer.put(TLS_KEY, &[key]);
        }
        if let Subject::ResultBatch { results } = &self.subject {
            writer.put(RESULTS, &[&results.root, &results.count.to_be_bytes()]);
        }
        if let Subject::SessionBatch { sessions } = &self.subject {
            writer.put(SESSIONS, &[&sessions.root, &sessions.count.to_be_bytes()]);
        }
        writer.put(MANIFEST, &[&self.manifest_digest]);
        writer.put(LOG, &[&self.log.head, &self.log.count.to_be_bytes()]);
        writer.put(BACKEND, &[self.backend.name().as_bytes()]);
        writer.put(BOOT_ID, &[&self.boot_id]);
        writer.finish()
    }

    /// The report data to ask a quote for.
    pub fn report_data(&self) -> ReportData {
        ReportData::new(&self.header().to_bytes(), &self.tlvs())
    }

    /// What evidence is about: its binding, and for one session of a batch that session and its nonce in the batch's place.
    ///
    /// # Errors
    /// As [`Self::decode`], and [`Error::Merkle`] for a session that is not proved to be in the batch.
    pub fn of(evidence: &Evidence) -> Result<Self, Error> {
        let binding = Self::decode(&evidence.binding)?;
        let Subject::SessionBatch { sessions } = binding.subject else {
            return Ok(binding);
        };
        let unproved = |reason: &str| Error::Merkle {
            reason: reason.to_owned(),
        };
        let proof = evidence.inclusion.as_deref();
        let proof = proof.ok_or_else(|| unproved("no proof that the session is in the batch"))?;
        let (subject, nonce, root) = SessionProof::decode(proof)?.open()?;
        if root != sessions {
            return Err(unproved(
                "the session is not in the batch that the quote is over",
            ));
        }
        Ok(Self {
            subject,
            nonce,
            ..binding
        })
    }

    /// Reads a binding.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::ReportData`] for the header, and [`Error::Binding`] for a TLV that is cut off, out of
    /// order, repeated, unknown, of a wrong length, missing, or of another purpose than the header's.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bound("binding", bytes, MAX_LENGTH)?;
        let (header, rest) =
            bytes
                .split_first_chunk::<HEADER_LENGTH>()
                .ok_or_else(|| Error::Binding {
                    reason: format!("{} bytes, its header has 16", bytes.len()),
                })?;
        let header = Header::from_bytes(header)?;
        let mut tlvs = Tlvs::parse(rest)?;
        let subject = match header.purpose {
            Purpose::Session => tlvs.session()?,
            Purpose::ResultBatch => {
                let (root, count) = tlvs.counted(RESULTS, "result root")?;
                Subject::ResultBatch {
                    results: ResultRoot { root, count },
                }
            }
            Purpose::Identity => Subject::Identity,
            Purpose::SessionBatch => {
                let (root, count) = tlvs.counted(SESSIONS, "session root")?;
                Subject::SessionBatch {
                    sessions: ResultRoot { root, count },
                }
            }
            Purpose::FleetMember => Subject::Peer(tlvs.peer(false)?),
            Purpose::FleetJoiner => Subject::Peer(tlvs.peer(true)?),
        };
        // Each session of a batch has its own.
        let nonce = match header.purpose {
            Purpose::SessionBatch => None,
            _ => tlvs.nonce()?,
        };
        let tls_key = match header.purpose {
            Purpose::Identity => tlvs.optional_array(TLS_KEY, "TLS public key")?,
            _ => None,
        };
        let (head, count) = tlvs.counted(LOG, "log head")?;
        let backend = tlvs.take(BACKEND, "backend")?;
        let binding = Self {
            subject,
            nonce,
            identity_public_key: tlvs.key(IDENTITY_KEY, "identity public key")?,
            tls_key,
            manifest_digest: tlvs.array(MANIFEST, "manifest digest")?,
            log: LogHead { head, count },
            register_bound: header.flags.register_bound,
            backend: Backend::from_name(backend).ok_or_else(|| Error::Binding {
                reason: "tag 0040 names a backend that is not tdx, sev-snp or simulated".to_owned(),
            })?,
            boot_id: tlvs.array(BOOT_ID, "boot id")?,
        };
        tlvs.finish(header.purpose)?;
        if binding.header() != header {
            return Err(Error::Binding {
                reason: "the flags of the header do not say what the tags hold".to_owned(),
            });
        }
        Ok(binding)
    }
}
