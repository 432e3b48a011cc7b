//! Everything that can go wrong in the protocol.

use crate::problem::ProblemType;
use crate::replay::WINDOW;
use crate::sealing::Field;

/// An error of the protocol. Messages never hold key material or plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a P-256 public key in an accepted encoding.
    #[error(
        "invalid P-256 public key: {reason}; send a SEC1 point, 33 bytes compressed or 65 bytes uncompressed"
    )]
    InvalidPublicKey {
        /// What is wrong with the bytes.
        reason: &'static str,
    },
    /// The bytes are not a P-256 private key.
    #[error(
        "invalid P-256 private key: it must be 32 bytes big-endian, not zero, below the group order"
    )]
    InvalidPrivateKey,
    /// The text or bytes are not a session id.
    #[error(
        "invalid session id: it must be a UUID, 36 characters with hyphens or 32 hex digits (16 bytes in CBOR)"
    )]
    InvalidSessionId,
    /// The operating system's random number generator failed.
    #[error("the operating system's random number generator failed")]
    Random,
    /// HKDF refused an output length; the fixed lengths of this protocol give it no cause to.
    #[error("key derivation failed")]
    KeyDerivation,
    /// A field is not authentic: altered, sealed under another session, sequence, operation or number of arguments.
    #[error(
        "{field} failed to authenticate; check session, sequence, operation and number of arguments"
    )]
    Authentication {
        /// The field that failed.
        field: Field,
    },
    /// No key of a fleet that was sealed in this exchange.
    #[error("the fleet's key does not open: it was altered, or sealed in another exchange")]
    FleetKey,
    /// The sequence was used before, or is older than the replay window.
    #[error(
        "sequence {sequence} was already used in this session, or is more than {} below the highest one; use the next sequence", WINDOW - 1
    )]
    Replayed {
        /// The sequence that was refused.
        sequence: u64,
    },
    /// Every sequence of a client session is used up.
    #[error("the session has no sequence left; open a new session")]
    SequenceExhausted,
    /// A request has more arguments than [`crate::wire::MAX_ARGUMENTS`].
    #[error("{count} or more arguments, at most {maximum} are accepted")]
    TooManyArguments {
        /// The number of arguments seen.
        count: usize,
        /// The number accepted.
        maximum: usize,
    },
    /// A field is too long for its 32-bit length prefix.
    #[error("{field} is {length} bytes long, at most 4294967295 can be sealed")]
    TooLong {
        /// The field.
        field: Field,
        /// Its length in bytes.
        length: usize,
    },
    /// A commitment is not the one recomputed from what was sent and received.
    #[error("{which} does not match; the host or someone between altered the exchange")]
    CommitmentMismatch {
        /// The commitment that differs.
        which: CommitmentKind,
    },
    /// The response's nonce is not the one of the request's sequence.
    #[error("the result nonce does not belong to sequence {sequence}")]
    NonceMismatch {
        /// The sequence of the request.
        sequence: u64,
    },
    /// The report has a version that this crate can not read.
    #[error("the report has version {found}, this program reads version 1; update it")]
    ReportVersion {
        /// The version found.
        found: u32,
    },
    /// A streamed answer is not one.
    #[error("the streamed answer {reason}")]
    Stream {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A body or a report could not be decoded.
    #[error("malformed {format}: {reason}")]
    Decode {
        /// `JSON` or `CBOR`.
        format: &'static str,
        /// What the decoder says and where.
        reason: String,
    },
    /// A value could not be encoded.
    #[error("can not encode as {format}: {reason}")]
    Encode {
        /// `JSON` or `CBOR`.
        format: &'static str,
        /// What the encoder says.
        reason: String,
    },
    /// The proof of an owner's key does not hold for this session.
    #[error("the owner's signature does not hold for this session: {reason}")]
    InvalidOwner {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Text is not a component's digest.
    #[error(
        "not a component's digest; write sha256: and 64, or sha384: and 96, lower-case hex digits"
    )]
    InvalidDigest,
    /// Text is not hex.
    #[error("invalid hex: {reason}")]
    InvalidHex {
        /// What is wrong with it.
        reason: String,
    },
}

/// The commitments that a client compares (see [`Error::CommitmentMismatch`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitmentKind {
    /// `request_commitment` of the response body.
    Request,
    /// `result_commitment` of the response body.
    Result,
    /// `request_commitment` inside the sealed report: what the host received is not what the client sent.
    ReportedRequest,
    /// `streamed` inside the sealed report: the chunks that arrived are not those that the host sent.
    Stream,
}

impl std::fmt::Display for CommitmentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Request => "the response's request commitment",
            Self::Result => "the response's result commitment",
            Self::ReportedRequest => "the request commitment in the sealed report",
            Self::Stream => "the sealed report's commitment to the streamed output",
        })
    }
}

impl Error {
    /// The problem type with which a host answers this error.
    pub fn problem_type(&self) -> ProblemType {
        match self {
            Self::InvalidPublicKey { .. } => ProblemType::InvalidKey,
            Self::InvalidOwner { .. } => ProblemType::AuthenticationFailed,
            Self::Authentication { .. } | Self::FleetKey => ProblemType::AuthenticationFailed,
            Self::Replayed { .. } => ProblemType::ReplayedSequence,
            Self::TooManyArguments { .. } => ProblemType::TooManyArguments,
            Self::TooLong { .. } => ProblemType::BodyTooLarge,
            Self::Decode { .. }
            | Self::Stream { .. }
            | Self::InvalidDigest
            | Self::InvalidHex { .. }
            | Self::InvalidSessionId => ProblemType::MalformedRequest,
            Self::InvalidPrivateKey
            | Self::Random
            | Self::KeyDerivation
            | Self::SequenceExhausted
            | Self::CommitmentMismatch { .. }
            | Self::NonceMismatch { .. }
            | Self::ReportVersion { .. }
            | Self::Encode { .. } => ProblemType::Internal,
        }
    }
}
