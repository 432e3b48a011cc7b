//! Many sessions under one quote, each with its own nonce: what makes up for a platform that makes about one quote a second.
//!
//! The quote's binding has the purpose `session batch` and the Merkle root over the sessions' entries. An entry is the TLVs that a
//! binding of one session has and that of a batch has not: nonce, session key, session id, client key. Its leaf is
//!
//! ```text
//! SHA-256("hypervisor/v1 session-entry" ‖ 0x00 ‖ entry)
//! ```
//!
//! in the place of a result's commitment ([`crate::merkle`]). The entry travels with its proof, where a result's proof is.

use hypervisor_protocol::{Commitment, ContentFormat, HexBytes, PublicKey, SessionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tlv::{Tlvs, Writer};
use super::{CLIENT_KEY, NONCE, Peer, SESSION_ID, SESSION_KEY, Subject};
use crate::error::bound;
use crate::merkle::{self, InclusionProof, ResultRoot};
use crate::nonce::VerifierNonce;
use crate::report_data::Purpose;
use crate::{Error, document};

const WHAT: &str = "session's proof";
const LABEL: &[u8] = b"hypervisor/v1 session-entry";

/// One session, as a batch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry(Vec<u8>);

/// Where a session stands in a batch. CBOR: a map of `entry` and `inclusion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionProof {
    entry: HexBytes,
    inclusion: InclusionProof,
}

impl SessionEntry {
    /// The entry of a session; none of another subject.
    pub fn new(subject: &Subject, nonce: Option<&VerifierNonce>) -> Option<Self> {
        matches!(subject, Subject::Session { .. }).then(|| {
            let mut writer = Writer::default();
            writer.asked(subject, nonce);
            Self(writer.finish())
        })
    }

    /// The leaf's data.
    pub fn commitment(&self) -> Commitment {
        let hash = Sha256::new_with_prefix(LABEL)
            .chain_update([0])
            .chain_update(&self.0);
        Commitment(hash.finalize().into())
    }

    /// The entry with its proof, CBOR.
    ///
    /// # Errors
    /// [`Error::Encode`] should the encoder fail; writing to memory gives it no cause to.
    pub fn prove(self, inclusion: InclusionProof) -> Result<Vec<u8>, Error> {
        let entry = HexBytes(self.0);
        document::encode(
            WHAT,
            ContentFormat::Cbor,
            &SessionProof { entry, inclusion },
        )
    }
}

impl SessionProof {
    /// Reads a proof.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Merkle`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bound(WHAT, bytes, merkle::MAX_LENGTH)?;
        ContentFormat::Cbor
            .decode(bytes)
            .map_err(|error| Error::Merkle {
                reason: format!("{WHAT}: {error}"),
            })
    }

    /// The session, its nonce, and the root that the proof leads to.
    ///
    /// # Errors
    /// [`Error::Binding`] for an entry that is not exactly one session's, [`Error::Merkle`].
    pub fn open(&self) -> Result<(Subject, Option<VerifierNonce>, ResultRoot), Error> {
        let mut tlvs = Tlvs::parse(&self.entry.0)?;
        let subject = tlvs.session()?;
        let nonce = tlvs.nonce()?;
        tlvs.finish(Purpose::Session)?;
        let entry = SessionEntry(self.entry.0.clone());
        Ok((subject, nonce, self.inclusion.root_of(&entry.commitment())?))
    }
}

impl Writer {
    /// What was asked for: the nonce, and the session where it is one.
    pub(super) fn asked(&mut self, subject: &Subject, nonce: Option<&VerifierNonce>) {
        if let Some(nonce) = nonce {
            self.put(NONCE, &[nonce.as_bytes()]);
        }
        if let Some((own, id, other)) = subject.ends() {
            self.put(SESSION_KEY, &[own.as_bytes()]);
            self.put(SESSION_ID, &[id.as_bytes()]);
            self.put(CLIENT_KEY, &[other.as_bytes()]);
        }
    }
}

impl Subject {
    /// The key that the evidence is of, the id of what it is for, and the key of the other end; none where there is no other end.
    pub fn ends(&self) -> Option<(&PublicKey, &SessionId, &PublicKey)> {
        match self {
            Self::Session {
                session_public_key,
                session_id,
                client_public_key,
            } => Some((session_public_key, session_id, client_public_key)),
            Self::Peer(peer) => {
                Some((&peer.own_public_key, &peer.exchange, &peer.other_public_key))
            }
            Self::ResultBatch { .. } | Self::Identity | Self::SessionBatch { .. } => None,
        }
    }
}

impl Tlvs<'_> {
    pub(super) fn peer(&mut self, joins: bool) -> Result<Peer, Error> {
        Ok(Peer {
            joins,
            own_public_key: self.key(SESSION_KEY, "public key")?,
            exchange: SessionId::from_bytes(self.array(SESSION_ID, "exchange")?),
            other_public_key: self.key(CLIENT_KEY, "other end's public key")?,
        })
    }

    pub(super) fn session(&mut self) -> Result<Subject, Error> {
        Ok(Subject::Session {
            session_public_key: self.key(SESSION_KEY, "session public key")?,
            session_id: SessionId::from_bytes(self.array(SESSION_ID, "session id")?),
            client_public_key: self.key(CLIENT_KEY, "client public key")?,
        })
    }

    pub(super) fn nonce(&mut self) -> Result<Option<VerifierNonce>, Error> {
        let nonce = self.take_optional(NONCE);
        nonce.map(VerifierNonce::try_from).transpose()
    }
}
