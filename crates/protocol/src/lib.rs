//! The `hypervisor/v1` protocol: what a client and a confidential component host say to each other.
//!
//! A client and a host agree on a session with P-256 ECDH and HKDF-SHA-256 ([`keys`], [`session`]), seal the fields of a
//! request and of its response with AES-256-GCM-SIV ([`sealing`]), and each derives two hashes over the ciphertexts
//! ([`commitment`]) to which receipts and quotes refer. The bodies of the HTTP API are in [`wire`], [`stream`] and [`problem`], and
//! what a run amounted to is a [`report::Report`] sealed beside the result.
//!
//! There is no I/O and no async here: both ends use the same code. `docs/PROTOCOL.md` is the specification and
//! `vectors/v1.json` holds every intermediate value for other implementations.
//!
//! ```
//! use std::sync::Arc;
//! use hypervisor_protocol::{ClientSession, Exit, HostSession, Operation, PrivateKey, Report, SessionId};
//!
//! # fn main() -> Result<(), hypervisor_protocol::Error> {
//! let (host, client) = (PrivateKey::generate(), PrivateKey::generate());
//! let id = SessionId::new();
//! let at_host = Arc::new(HostSession::new(&host, client.public_key().clone(), id)?);
//! let at_client = ClientSession::new(client, host.public_key().clone(), id)?;
//!
//! let (request, pending) = at_client.seal_request(Operation::Wasm, b"\0asm", None, &["argument"])?;
//! let opened = at_host.open_request(Operation::Wasm, request)?;
//! assert_eq!(opened.arguments, [b"argument"]);
//!
//! let claim = at_host.claim(opened.sequence)?;
//! let report = Report::new(Exit::Ok, &opened.program, opened.commitment).encode()?;
//! let response = claim.seal_response(Operation::Wasm, 1, &opened.commitment, b"result".to_vec(), report)?;
//! assert_eq!(at_client.open_response(&pending, response)?.result, b"result");
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub mod agent;
pub mod commitment;
pub mod digest;
pub mod environment;
pub mod error;
pub mod fleet_key;
mod format;
pub mod hex_bytes;
pub mod keys;
pub mod metered;
pub mod owner;
pub mod problem;
pub mod replay;
pub mod report;
mod scrub;
pub mod sealing;
pub mod session;
pub mod stream;
pub mod wire;

pub use agent::{
    AgentImport, AgentInfo, AgentList, AgentLog, AgentRequest, AgentTool, AgentWorld,
    DeployRequest, DeployResponse, Found, RegistryRequest, SearchRequest, SearchResponse,
};
pub use commitment::Commitment;
pub use digest::ComponentDigest;
pub use environment::EnvironmentRequest;
pub use error::Error;
pub use hex_bytes::{HexArray, HexBytes};
pub use keys::{PrivateKey, PublicKey};
pub use metered::Metered;
pub use owner::{OwnerKey, OwnerProof};
pub use problem::{Problem, ProblemType};
pub use replay::ReplayWindow;
pub use report::{Exit, LimitKind, PaymentReceipt, PolicyDecision, Rejection, Report, Streamed};
pub use sealing::{Field, Nonce, Operation};
pub use session::{
    Claim, ClientSession, HostSession, OpenRequest, OpenResponse, PendingRequest, SealedRequest,
    SealedResponse, SessionId,
};
pub use stream::{Output, Stream, StreamReader};
pub use wire::{
    ContentFormat, CreateKeypairRequest, CreateKeypairResponse, ExecutePythonRequest,
    ExecuteResponse, ExecuteScriptRequest, ExecuteWasmRequest,
};
