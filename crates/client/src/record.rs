//! What a client keeps of a run, so that it can be verified years later, offline, by itself or by somebody whom it convinces.
//!
//! A [`Record`] is one CBOR document (docs/EVIDENCE.md): the policy, the evidence of the session, and the host's sealed answer with
//! its receipt and the evidence of the result, as they came. [`Record::verify`] makes every check of the run again.
//!
//! It holds the client's private key of that one session. Only with that key can anybody see that the sealed report is the
//! session's, and which program it names; whoever has the record reads the result and what was sent in that session. It is a
//! file for its owner, and for those who may see the result.

use std::fmt;

use hypervisor_protocol::{
    ClientSession, ContentFormat, ExecuteResponse, HexArray, HexBytes, Operation, PendingRequest,
    PrivateKey, PublicKey,
};
use hypervisor_verify::{Challenge, Policy, VerifierNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::attestation::{Exchange, SessionAttestation, verify_execution};
use crate::error::Error;
use crate::session::Execution;

/// The kind of the document.
pub const KIND: &str = "urn:hypervisor:record:v1";

/// A run, kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    kind: String,
    /// Where the client found the host.
    pub server: String,
    /// The path of the request there.
    pub path: String,
    /// The policy that was met, as its file says it.
    pub policy: String,
    nonce: HexBytes,
    nonce_made_at: u64,
    client_key: HexArray<32>,
    session_pubkey: HexBytes,
    session_evidence: HexBytes,
    session_verified_at: u64,
    /// What was asked for.
    pub operation: Operation,
    sequence: u64,
    argument_count: u32,
    quoted: bool,
    response: ExecuteResponse,
    /// When the answer was verified: Unix time, seconds, by the client's clock.
    pub kept_at: u64,
}

impl fmt::Debug for Record {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("server", &self.server)
            .field("path", &self.path)
            .field("session_id", &self.response.session_id)
            .field("kept_at", &self.kept_at)
            .finish_non_exhaustive()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.client_key.0);
    }
}

/// What a record proves.
#[derive(Debug)]
pub struct Verified {
    /// The policy that it was held against.
    pub policy: Policy,
    /// What the host proved when the session was opened.
    pub session: SessionAttestation,
    /// The run, its receipt, and the verdict on the evidence of its result.
    pub execution: Execution,
}

/// What a session remembers for the records of its runs.
pub(crate) struct Keeping {
    pub(crate) server: String,
    pub(crate) policy: String,
    pub(crate) client_key: Zeroizing<[u8; 32]>,
    pub(crate) host: PublicKey,
    pub(crate) challenge: Challenge,
    pub(crate) evidence: Vec<u8>,
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeping")
    }
}

impl Keeping {
    /// The record of an answer that was verified `at`.
    pub(crate) fn record(
        &self,
        path: &str,
        pending: &PendingRequest,
        (quoted, response): (bool, ExecuteResponse),
        (session_verified_at, at): (u64, u64),
    ) -> Record {
        Record {
            kind: KIND.to_owned(),
            server: self.server.clone(),
            path: path.to_owned(),
            policy: self.policy.clone(),
            nonce: HexBytes(self.challenge.nonce.as_bytes().to_vec()),
            nonce_made_at: self.challenge.made_at,
            client_key: HexArray(*self.client_key),
            session_pubkey: HexBytes(self.host.to_bytes().to_vec()),
            session_evidence: HexBytes(self.evidence.clone()),
            session_verified_at,
            operation: pending.operation,
            sequence: pending.sequence,
            argument_count: pending.argument_count,
            quoted,
            // It is in the evidence.
            response: ExecuteResponse {
                result_quote: None,
                ..response
            },
            kept_at: at,
        }
    }
}

impl Record {
    /// Whether a document is a record, of whatever version.
    pub fn is_record(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        let kind = ContentFormat::Cbor.decode::<Kind>(bytes);
        kind.is_ok_and(|document| document.kind.starts_with("urn:hypervisor:record:"))
    }

    /// The document.
    ///
    /// # Errors
    /// [`Error::Protocol`] should the encoder fail; writing to memory gives it no cause to.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let bytes = ContentFormat::Cbor.encode(self);
        bytes.map(Zeroizing::new).map_err(Error::Protocol)
    }

    /// Reads a record. Nothing of it is verified.
    ///
    /// # Errors
    /// [`Error::Verification`] for anything else than a record of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let record: Self = ContentFormat::Cbor
            .decode(bytes)
            .map_err(Error::Verification)?;
        if record.kind == KIND {
            Ok(record)
        } else {
            Err(Error::Answer {
                what: "a record that this program reads",
                reason: format!("it is of the kind {:?}; update this program", record.kind),
            })
        }
    }

    /// Makes every check of the run again, as of the times when they were made: the evidence of the session, the seal of the answer
    /// and both commitments, the receipt, and the evidence of the result where there is some. Nothing is asked of anybody.
    ///
    /// The times are the record's own word, and they decide which certificates and collateral count as in date. The receipt's
    /// time is the host's word.
    ///
    /// # Errors
    /// [`Error::Attestation`] and [`Error::Verification`] when something does not hold; [`Error::Setting`] for a policy that cannot
    /// be used.
    pub fn verify(&self, policy: Option<&Policy>) -> Result<Verified, Error> {
        let policy = match policy {
            Some(policy) => policy.clone(),
            None => Policy::parse(&self.policy).map_err(|error| Error::Setting {
                what: "a policy",
                text: "the policy in the record".to_owned(),
                reason: error.to_string(),
            })?,
        };
        let key = PrivateKey::from_bytes(&self.client_key.0).map_err(Error::Verification)?;
        let host = PublicKey::from_sec1(&self.session_pubkey.0).map_err(Error::Verification)?;
        let id = self.response.session_id;
        let nonce = VerifierNonce::new(self.nonce.0.clone()).map_err(|error| Error::Nonce {
            reason: error.to_string(),
        })?;
        let challenge = Challenge {
            nonce,
            made_at: self.nonce_made_at,
        };
        let attestation = SessionAttestation::verify(
            &policy,
            challenge,
            (key.public_key(), &host, id),
            Some(&self.session_evidence.0),
            self.session_verified_at,
        )?;
        let session = ClientSession::new(key, host, id).map_err(Error::Protocol)?;
        let pending = PendingRequest {
            sequence: self.sequence,
            operation: self.operation,
            argument_count: self.argument_count,
            commitment: self.response.request_commitment,
        };
        let mut answer = self.response.clone();
        let exchange = Exchange {
            session_id: id,
            sequence: pending.sequence,
            request_commitment: pending.commitment,
            result_commitment: answer.result_commitment,
            receipt: answer.receipt.take(),
            audit_head: answer.audit_head.take(),
            evidence: answer.result_evidence.take(),
            quoted: self.quoted,
        };
        let opened = session
            .open_response(&pending, answer.into())
            .map_err(Error::Verification)?;
        let result_commitment = exchange.result_commitment;
        let run = verify_execution(&attestation, exchange, self.kept_at)?;
        Ok(Verified {
            policy,
            session: attestation,
            execution: Execution::new(&pending, opened, result_commitment, Some(run)),
        })
    }
}
