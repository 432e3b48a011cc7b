//! Sealing of fields: AES-256-GCM-SIV (RFC 8452) with a nonce from sequence and field number.

use std::fmt;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Tag};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::scrub::without_trace;

/// Bytes that sealing adds to a field: the authentication tag, after the ciphertext (RFC 5116 §5.1 convention).
pub const TAG_LENGTH: usize = 16;

/// Bytes of a nonce.
pub const NONCE_LENGTH: usize = 12;

/// The protocol label that starts every associated data.
const LABEL: &[u8] = b"hypervisor/v1";

/// What a request asks for. It is authenticated with every field, so a request for one can not be replayed as another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Run a WebAssembly component.
    Wasm,
    /// Run a Python script.
    Python,
    /// Run a script in JavaScript or TypeScript.
    Javascript,
    /// Deploy a component as an agent.
    Deploy,
    /// Call a deployed agent.
    Agent,
    /// Remove a deployed agent.
    Remove,
    /// List the agents of an owner.
    List,
    /// Read what an agent wrote to its log.
    Logs,
    /// Set up an environment.
    Setup,
    /// Call the handler of an environment.
    Execute,
    /// Run a turn in an environment.
    Evaluate,
    /// Make a copy of an environment.
    Fork,
    /// Let an environment stay longer.
    Extend,
    /// List the environments of an owner.
    EnvironmentList,
    /// Read what was done with an environment.
    EnvironmentLog,
    /// Remove an environment.
    EnvironmentRemove,
}

impl Operation {
    /// The name in associated data and commitments.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Deploy => "deploy",
            Self::Agent => "agent",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Logs => "logs",
            Self::Setup => "setup",
            Self::Execute => "execute",
            Self::Evaluate => "evaluate",
            Self::Fork => "fork",
            Self::Extend => "extend",
            Self::EnvironmentList => "environment-list",
            Self::EnvironmentLog => "environment-log",
            Self::EnvironmentRemove => "environment-remove",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A sealed field of a request (program, stdin, arguments) or of a response (result, report, chunks of the output).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    /// Request field 0.
    Program,
    /// Request field 1.
    Stdin,
    /// Request field 2 + n, of argument n counted from 0.
    Argument(u32),
    /// Response field 0: what the program wrote to stdout.
    Result,
    /// Response field 1: the encoded [`crate::Report`].
    Report,
    /// Response field 2 + n, of chunk n of a streamed output, counted from 0.
    Chunk(u32),
}

impl Field {
    /// The number in the nonce, or `None` for an argument or a chunk beyond `u32::MAX - 2`. Requests and responses number separately,
    /// as they have different keys.
    pub fn number(self) -> Option<u32> {
        match self {
            Self::Program | Self::Result => Some(0),
            Self::Stdin | Self::Report => Some(1),
            Self::Argument(n) | Self::Chunk(n) => n.checked_add(2),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("program"),
            Self::Stdin => f.write_str("stdin"),
            Self::Argument(n) => write!(f, "argument {n}"),
            Self::Result => f.write_str("result"),
            Self::Report => f.write_str("report"),
            Self::Chunk(n) => write!(f, "chunk {n} of the output"),
        }
    }
}

/// `u64 BE sequence ‖ u32 BE field`.
///
/// A nonce can only be made inside this crate, is consumed by use, and is neither `Clone` nor `Copy`. That no sequence is
/// used twice with one key is enforced by [`crate::ClientSession::seal_request`] for requests, which takes each sequence
/// from a counter, and by [`crate::HostSession::claim`] for responses, which gives each sequence out once.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonce([u8; NONCE_LENGTH]);

impl Nonce {
    /// The nonce of a field.
    pub(crate) fn new(sequence: u64, field: Field) -> Result<Self, Error> {
        let number = field.number().ok_or(Error::TooManyArguments {
            count: usize::MAX,
            maximum: crate::wire::MAX_ARGUMENTS,
        })?;
        let [a, b, c, d, e, f, g, h] = sequence.to_be_bytes();
        let [i, j, k, l] = number.to_be_bytes();
        Ok(Self([a, b, c, d, e, f, g, h, i, j, k, l]))
    }

    /// The 12 bytes.
    pub fn as_bytes(&self) -> &[u8; NONCE_LENGTH] {
        &self.0
    }
}

/// `"hypervisor/v1" ‖ 0x00 ‖ lp(operation) ‖ u32 BE argument count`, the same for every field of a request and its response.
pub(crate) struct AssociatedData(Vec<u8>);

impl AssociatedData {
    pub(crate) fn new(operation: Operation, argument_count: u32) -> Self {
        let operation = operation.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(LABEL.len() + 1 + 4 + operation.len() + 4);
        bytes.extend_from_slice(LABEL);
        bytes.push(0);
        // Operation names are a few bytes.
        bytes.extend_from_slice(&(operation.len() as u32).to_be_bytes());
        bytes.extend_from_slice(operation);
        bytes.extend_from_slice(&argument_count.to_be_bytes());
        Self(bytes)
    }
}

/// One direction's key of a session as a cipher, zeroized on drop. It is on the heap, so that moving a session leaves no copies.
///
/// RFC 8452 §3: a (key, nonce) pair is for one message; [`Nonce`] says where that is enforced. Should it break all the same,
/// AES-GCM-SIV reveals only whether two messages were equal.
pub(crate) struct SealingKey(Box<Aes256GcmSiv>);

impl SealingKey {
    /// Called where the stack is overwritten afterwards.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Aes256GcmSiv::new(key.into())))
    }

    /// Encrypts in place and appends the tag. Nothing is copied when the buffer has 16 bytes of spare capacity.
    pub(crate) fn seal(
        &self,
        nonce: Nonce,
        aad: &AssociatedData,
        field: Field,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        // The key of this one message is derived on the stack.
        let tag = without_trace(|| {
            let message = buffer.as_mut_slice().into();
            self.0
                .encrypt_inout_detached((&nonce.0).into(), &aad.0, message)
        })
        .map_err(|_| Error::TooLong {
            field,
            length: buffer.len(),
        })?;
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts in place and takes the tag off. On failure the buffer holds ciphertext again.
    pub(crate) fn open(
        &self,
        nonce: Nonce,
        aad: &AssociatedData,
        field: Field,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let failed = Error::Authentication { field };
        let Some((ciphertext, tag)) = buffer.split_last_chunk_mut::<TAG_LENGTH>() else {
            return Err(failed);
        };
        let length = ciphertext.len();
        let tag = Tag::from(*tag);
        without_trace(|| {
            self.0
                .decrypt_inout_detached((&nonce.0).into(), &aad.0, ciphertext.into(), &tag)
        })
        .map_err(|_| failed)?;
        buffer.truncate(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
