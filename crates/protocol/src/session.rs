//! Sessions: the key schedule, and the two ends that seal and open with it.
//!
//! ```text
//! prk   = HKDF-Extract(salt = sid, ikm = ECDH x-coordinate)                    RFC 5869 §2.2, SHA-256
//! k_req = HKDF-Expand(prk, "hypervisor/v1 request"  ‖ C ‖ S, 32)               RFC 5869 §2.3
//! k_res = HKDF-Expand(prk, "hypervisor/v1 response" ‖ C ‖ S, 32)
//! ```
//!
//! C and S are the client's and the session's public keys, 33 bytes each; sid is the session id, 16 bytes.

mod client;
mod host;
mod id;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::scrub::without_trace;
use crate::sealing::{Field, NONCE_LENGTH, SealingKey};
use crate::stream::Output;
use crate::{Commitment, Error, PrivateKey, PublicKey, Report};

pub use client::{ClientSession, PendingRequest};
pub use host::{Claim, HostSession};
pub use id::SessionId;

const REQUEST_LABEL: &[u8] = b"hypervisor/v1 request";
const RESPONSE_LABEL: &[u8] = b"hypervisor/v1 response";

/// The two keys of a session, one for each direction; zeroized on drop.
struct SessionSecrets {
    request: SealingKey,
    response: SealingKey,
}

impl SessionSecrets {
    /// Runs the key schedule on the shared point of `own` and `other`, of which one is `client` (C) and one `session` (S).
    fn derive(
        own: &PrivateKey,
        other: &PublicKey,
        [client, session]: [&PublicKey; 2],
        id: SessionId,
    ) -> Result<Self, Error> {
        without_trace(|| {
            let shared = own.diffie_hellman(other);
            let (mut prk, hkdf) =
                Hkdf::<Sha256>::extract(Some(id.as_bytes()), shared.raw_secret_bytes());
            prk.as_mut_slice().zeroize();
            let expand = |label: &[u8]| {
                let info = [label, client.as_bytes(), session.as_bytes()];
                let mut key = Zeroizing::new([0; 32]);
                hkdf.expand_multi_info(&info, key.as_mut_slice())
                    .map_err(|_| Error::KeyDerivation)?;
                Ok(SealingKey::new(&key))
            };
            Ok(Self {
                request: expand(REQUEST_LABEL)?,
                response: expand(RESPONSE_LABEL)?,
            })
        })
    }
}

/// A request as it travels: each field is ciphertext ‖ tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRequest {
    /// Which request of the session this is; used once.
    pub sequence: u64,
    /// The sealed program: a component's or a script's bytes.
    pub program: Vec<u8>,
    /// The sealed standard input, if there is one.
    pub stdin: Option<Vec<u8>>,
    /// The sealed arguments, in order.
    pub arguments: Vec<Vec<u8>>,
}

/// A request that authenticated, in plaintext.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// Which request of the session this is. Not yet consumed: see [`HostSession::claim`].
    pub sequence: u64,
    /// The program: a component's or a script's bytes.
    pub program: Vec<u8>,
    /// The standard input, if there is one.
    pub stdin: Option<Vec<u8>>,
    /// The arguments, in order.
    pub arguments: Vec<Vec<u8>>,
    /// The commitment to the request as it travelled.
    pub commitment: Commitment,
}

impl std::fmt::Debug for OpenRequest {
    /// Sizes only: the plaintext is the client's secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenRequest")
            .field("sequence", &self.sequence)
            .field("program_bytes", &self.program.len())
            .field("stdin_bytes", &self.stdin.as_ref().map(Vec::len))
            .field("arguments", &self.arguments.len())
            .field("commitment", &self.commitment)
            .finish()
    }
}

/// A response as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedResponse {
    /// The nonce of `encrypted_result` (response field 0), 12 bytes.
    pub result_nonce: [u8; NONCE_LENGTH],
    /// What the program wrote to stdout, ciphertext ‖ tag.
    pub encrypted_result: Vec<u8>,
    /// The encoded [`Report`], ciphertext ‖ tag.
    pub encrypted_report: Vec<u8>,
    /// What of the output was sent before, in order: each chunk ciphertext ‖ tag. The report commits to them.
    pub encrypted_chunks: Vec<Vec<u8>>,
    /// The commitment to the request that this answers.
    pub request_commitment: Commitment,
    /// The commitment to this response.
    pub result_commitment: Commitment,
}

/// A response that authenticated and answers the request it was opened for.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenResponse {
    /// What the program wrote to stdout, without what is in `streamed`.
    pub result: Vec<u8>,
    /// How the run ended and what it used.
    pub report: Report,
    /// What was sent as it was written.
    pub streamed: Output,
}

impl std::fmt::Debug for OpenResponse {
    /// Sizes only: the plaintext is the client's secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenResponse")
            .field("result_bytes", &self.result.len())
            .finish_non_exhaustive()
    }
}

/// The arguments of a request with their field names.
fn argument_fields<T>(arguments: impl IntoIterator<Item = T>) -> impl Iterator<Item = (Field, T)> {
    (0..).map(Field::Argument).zip(arguments)
}
