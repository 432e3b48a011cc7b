//! The bodies of the HTTP API, in JSON and CBOR alike (see [`ContentFormat`]).
//!
//! A request with a field that is not listed is refused; a response may have more fields than are listed.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

pub use crate::format::ContentFormat;
use crate::stream::MAX_CHUNKS;
use crate::{Commitment, HexArray, HexBytes, PublicKey, SealedRequest, SealedResponse, SessionId};

/// The most arguments that can be sealed into a request.
pub const MAX_ARGUMENTS: usize = 16_384;

/// Body of `POST /encrypt/create_keypair` and of its verifiable form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKeypairRequest {
    /// The client's public key C: SEC1, 33 or 65 bytes.
    pub pubkey: HexBytes,
    /// A value of the client's choice that the evidence must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<HexBytes>,
}

/// Answer to [`CreateKeypairRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateKeypairResponse {
    /// The session's public key S: SEC1, 33 bytes.
    pub session_pubkey: HexBytes,
    /// The session's id.
    pub session_id: SessionId,
    /// When the session ends at the latest: Unix time, seconds.
    pub expires_at: u64,
    /// The quote over this session, as the hardware made it (verifiable form).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<HexBytes>,
    /// Evidence of the purpose session, CBOR: that quote and all that a verifier needs beside it (verifiable form).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<HexBytes>,
}

/// A body that brings what runs: they differ in the name of its field alone.
macro_rules! executes {
    ($(#[$doc:meta])* $name:ident, $(#[$program_doc:meta])* $program:ident, $operation:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(#[$program_doc])*
            pub $program: HexBytes,
            /// The sealed arguments; after [`MAX_ARGUMENTS`] + 1 of them the rest is dropped, and opening refuses the request
            /// ([`crate::Error::TooManyArguments`]).
            #[serde(default, deserialize_with = "arguments")]
            pub encrypted_arguments: Vec<HexBytes>,
            /// The client's public key C.
            pub public_key: HexBytes,
            /// The session; may be left out while the key has exactly one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub session_id: Option<SessionId>,
            /// Which request of the session this is.
            #[serde(default)]
            pub sequence: u64,
            /// The sealed standard input.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub encrypted_stdin: Option<HexBytes>,
        }

        impl $name {
            #[doc = concat!("The body of a request sealed for [`crate::Operation::", stringify!($operation), "`].")]
            pub fn new(
                public_key: &PublicKey,
                session_id: SessionId,
                request: SealedRequest,
            ) -> Self {
                Self {
                    $program: request.program.into(),
                    encrypted_arguments: request.arguments.into_iter().map(HexBytes).collect(),
                    public_key: public_key.to_bytes().to_vec().into(),
                    session_id: Some(session_id),
                    sequence: request.sequence,
                    encrypted_stdin: request.stdin.map(HexBytes),
                }
            }
        }

        impl From<$name> for SealedRequest {
            fn from(body: $name) -> Self {
                sealed(
                    body.sequence,
                    body.$program,
                    body.encrypted_stdin,
                    body.encrypted_arguments,
                )
            }
        }
    };
}

executes! {
    /// Body of the endpoints that run a component.
    ExecuteWasmRequest,
    /// The sealed component.
    encrypted_wasm,
    Wasm
}
executes! {
    /// Body of the endpoints that run a Python script.
    ExecutePythonRequest,
    /// The sealed script.
    encrypted_python,
    Python
}
executes! {
    /// Body of the endpoints that run a script in JavaScript or TypeScript.
    ExecuteScriptRequest,
    /// The sealed script.
    encrypted_script,
    Javascript
}

/// Answer to [`ExecuteWasmRequest`], [`ExecutePythonRequest`] and [`ExecuteScriptRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteResponse {
    /// The session of the request.
    pub session_id: SessionId,
    /// The sealed result.
    pub encrypted_result: HexBytes,
    /// The nonce of the result.
    pub result_nonce: HexArray<12>,
    /// The sealed [`crate::Report`].
    pub encrypted_report: HexBytes,
    /// The sealed chunks of an output that was streamed, in order. In a streamed answer they come before this and are not in it; an
    /// answer that is given again has them here. At most [`crate::stream::MAX_CHUNKS`].
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "chunks"
    )]
    pub encrypted_chunks: Vec<HexBytes>,
    /// The commitment to the request.
    pub request_commitment: Commitment,
    /// The commitment to this response.
    pub result_commitment: Commitment,
    /// COSE_Sign1 over the commitments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<HexBytes>,
    /// The newest head of the host's audit trail, a checkpoint by the key that signs the receipt (docs/AUDIT.md): the answer is in a
    /// tree that continues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<String>,
    /// The quote over the result (verifiable endpoints).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_quote: Option<HexBytes>,
    /// Evidence of the purpose result batch, CBOR: that quote, its binding, and the proof that this result is in the batch
    /// (verifiable endpoints).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_evidence: Option<HexBytes>,
}

/// A list of byte strings of which no more than one beyond the limit is kept, so that a small body of empty arguments can not
/// take many times its size in memory.
pub(crate) fn arguments<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<HexBytes>, D::Error> {
    first(deserializer, MAX_ARGUMENTS)
}

/// As [`arguments`], of chunks.
fn chunks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HexBytes>, D::Error> {
    first(deserializer, MAX_CHUNKS)
}

/// The first byte strings of a list, one more than `most`.
fn first<'de, D: Deserializer<'de>>(
    deserializer: D,
    most: usize,
) -> Result<Vec<HexBytes>, D::Error> {
    struct Fields(usize);

    impl<'de> Visitor<'de> for Fields {
        type Value = Vec<HexBytes>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of sealed fields")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<HexBytes>, A::Error> {
            let mut kept = Vec::new();
            while kept.len() <= self.0 {
                match list.next_element()? {
                    Some(field) => kept.push(field),
                    None => return Ok(kept),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }

    deserializer.deserialize_seq(Fields(most))
}

pub(crate) fn sealed(
    sequence: u64,
    program: HexBytes,
    stdin: Option<HexBytes>,
    arguments: Vec<HexBytes>,
) -> SealedRequest {
    SealedRequest {
        sequence,
        program: program.0,
        stdin: stdin.map(Vec::from),
        arguments: arguments.into_iter().map(Vec::from).collect(),
    }
}

impl CreateKeypairRequest {
    /// Asks for a session with a key.
    pub fn new(pubkey: &PublicKey, nonce: Option<Vec<u8>>) -> Self {
        Self {
            pubkey: pubkey.to_bytes().to_vec().into(),
            nonce: nonce.map(HexBytes),
        }
    }
}

impl ExecuteResponse {
    /// The body of a sealed response, without receipt and evidence.
    pub fn new(session_id: SessionId, response: SealedResponse) -> Self {
        Self {
            session_id,
            encrypted_result: response.encrypted_result.into(),
            result_nonce: response.result_nonce.into(),
            encrypted_report: response.encrypted_report.into(),
            encrypted_chunks: response
                .encrypted_chunks
                .into_iter()
                .map(HexBytes)
                .collect(),
            request_commitment: response.request_commitment,
            result_commitment: response.result_commitment,
            receipt: None,
            audit_head: None,
            result_quote: None,
            result_evidence: None,
        }
    }
}

impl From<ExecuteResponse> for SealedResponse {
    fn from(body: ExecuteResponse) -> Self {
        Self {
            result_nonce: body.result_nonce.0,
            encrypted_result: body.encrypted_result.0,
            encrypted_report: body.encrypted_report.0,
            encrypted_chunks: body.encrypted_chunks.into_iter().map(Vec::from).collect(),
            request_commitment: body.request_commitment,
            result_commitment: body.result_commitment,
        }
    }
}
