//! Commitments: SHA-256 over the ciphertexts of a request and of its response.
//!
//! A commitment identifies an exchange to a third party without showing it: receipts and quotes are made over it. It is
//! taken over ciphertexts, so whoever relayed the exchange can check it too. Client key, session key and session id
//! determine the sealing keys, hence a commitment stands for one plaintext only, although AES-GCM-SIV by itself does not
//! commit to its key.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::sealing::{Field, NONCE_LENGTH, Operation};
use crate::session::{SealedRequest, SessionId};
use crate::{Error, HexArray, PublicKey};

const REQUEST_LABEL: &[u8] = b"hypervisor/v1 request-commitment";
const RESULT_LABEL: &[u8] = b"hypervisor/v1 result-commitment";
const STREAM_LABEL: &[u8] = b"hypervisor/v1 stream-commitment";

/// A SHA-256 commitment. Encoded like [`HexArray<32>`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commitment(pub [u8; 32]);

impl Commitment {
    /// A commitment from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

impl fmt::Display for Commitment {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl std::str::FromStr for Commitment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse::<HexArray<32>>().map(|array| Self(array.0))
    }
}

impl From<[u8; 32]> for Commitment {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Commitment {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        HexArray(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        HexArray::<32>::deserialize(deserializer).map(|array| Self(array.0))
    }
}

/// SHA-256 with the length prefixes of the protocol.
#[derive(Clone)]
struct Hasher(Sha256);

impl Hasher {
    fn new(label: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(label))
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// A value of fixed, short length.
    fn short<const N: usize>(self, bytes: &[u8; N]) -> Self {
        self.raw(&(N as u32).to_be_bytes()).raw(bytes)
    }

    /// `lp(x)` of a field.
    fn field(self, field: Field, bytes: &[u8]) -> Result<Self, Error> {
        let length = u32::try_from(bytes.len()).map_err(|_| Error::TooLong {
            field,
            length: bytes.len(),
        })?;
        Ok(self.raw(&length.to_be_bytes()).raw(bytes))
    }

    fn finish(self) -> Commitment {
        Commitment(self.0.finalize().into())
    }
}

/// The number of arguments, as sealed and committed to.
pub(crate) fn argument_count(request: &SealedRequest) -> Result<u32, Error> {
    count(request.arguments.len())
}

/// A number of arguments as the protocol writes it.
pub(crate) fn count(arguments: usize) -> Result<u32, Error> {
    u32::try_from(arguments)
        .ok()
        .filter(|_| arguments <= crate::wire::MAX_ARGUMENTS)
        .ok_or(Error::TooManyArguments {
            count: arguments,
            maximum: crate::wire::MAX_ARGUMENTS,
        })
}

/// The commitment to a sealed request:
///
/// ```text
/// SHA-256("hypervisor/v1 request-commitment" ‖ lp(C) ‖ lp(S) ‖ lp(sid) ‖ u64 BE sequence ‖ lp(operation)
///         ‖ lp(encrypted program) ‖ lp(encrypted stdin or "") ‖ u32 BE n ‖ lp(encrypted argument)…)
/// ```
///
/// `client` is C, `session` is S. An encrypted stdin has 16 bytes at least, so an absent one can not be mistaken for it.
///
/// # Errors
/// [`Error::TooLong`] for a field over 4 GiB, [`Error::TooManyArguments`].
pub fn request_commitment(
    client: &PublicKey,
    session: &PublicKey,
    id: SessionId,
    operation: Operation,
    request: &SealedRequest,
) -> Result<Commitment, Error> {
    let operation = operation.as_str().as_bytes();
    let mut hasher = Hasher::new(REQUEST_LABEL)
        .short(client.as_bytes())
        .short(session.as_bytes())
        .short(id.as_bytes())
        .raw(&request.sequence.to_be_bytes())
        // Operation names are six bytes at most.
        .raw(&(operation.len() as u32).to_be_bytes())
        .raw(operation)
        .field(Field::Program, &request.program)?
        .field(Field::Stdin, request.stdin.as_deref().unwrap_or_default())?
        .raw(&argument_count(request)?.to_be_bytes());
    for (n, argument) in (0..).zip(&request.arguments) {
        hasher = hasher.field(Field::Argument(n), argument)?;
    }
    Ok(hasher.finish())
}

/// The commitment to a sealed response:
///
/// ```text
/// SHA-256("hypervisor/v1 result-commitment" ‖ request_commitment ‖ lp(result_nonce)
///         ‖ lp(encrypted_result) ‖ lp(encrypted_report))
/// ```
///
/// # Errors
/// [`Error::TooLong`] for a field over 4 GiB.
pub fn result_commitment(
    request: &Commitment,
    result_nonce: &[u8; NONCE_LENGTH],
    encrypted_result: &[u8],
    encrypted_report: &[u8],
) -> Result<Commitment, Error> {
    Ok(Hasher::new(RESULT_LABEL)
        .raw(&request.0)
        .short(result_nonce)
        .field(Field::Result, encrypted_result)?
        .field(Field::Report, encrypted_report)?
        .finish())
}

/// The commitment to the chunks of a streamed output, while they are sealed or received:
///
/// ```text
/// SHA-256("hypervisor/v1 stream-commitment" ‖ request_commitment ‖ lp(encrypted chunk)…)
/// ```
#[derive(Clone)]
pub struct StreamCommitment {
    hasher: Hasher,
    chunks: u32,
}

impl StreamCommitment {
    /// Of the answer to a request, before its first chunk.
    pub fn new(request: &Commitment) -> Self {
        Self {
            hasher: Hasher::new(STREAM_LABEL).raw(&request.0),
            chunks: 0,
        }
    }

    /// Adds the next chunk, as it travels.
    ///
    /// # Errors
    /// [`Error::TooLong`] for a chunk over 4 GiB, or for more of them than have numbers.
    pub fn add(&mut self, encrypted_chunk: &[u8]) -> Result<(), Error> {
        let field = Field::Chunk(self.chunks);
        let chunks = self.chunks.checked_add(1).ok_or(Error::TooLong {
            field,
            length: encrypted_chunk.len(),
        })?;
        self.hasher = self.hasher.clone().field(field, encrypted_chunk)?;
        self.chunks = chunks;
        Ok(())
    }

    /// Chunks so far.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The commitment to the chunks so far.
    pub fn commitment(&self) -> Commitment {
        self.hasher.clone().finish()
    }
}

impl fmt::Debug for StreamCommitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCommitment")
            .field("chunks", &self.chunks)
            .finish_non_exhaustive()
    }
}
