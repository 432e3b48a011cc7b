//! The report of a run: what a client learns beside the result, sealed as response field 1.
//!
//! It is a CBOR map with text keys (RFC 8949). Everything that tells success from failure is in here and nowhere else, so
//! that an observer of the exchange can not tell them apart.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Commitment, Error, HexArray, HexBytes, Metered, format};

/// The version of [`Report`] that this crate writes and reads.
pub const VERSION: u32 = 1;

/// How a run ended and what it used.
///
/// Keys that this crate does not know are ignored on decoding, so later hosts may add some. In JSON the bytes are hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// How the run ended.
    pub exit: Exit,
    /// What the program wrote to stderr, up to the host's limit.
    pub stderr: HexBytes,
    /// Whether the result was cut at the host's limit.
    pub stdout_truncated: bool,
    /// Whether `stderr` was cut at the host's limit.
    pub stderr_truncated: bool,
    /// Processor time of the run, microseconds.
    pub cpu_microseconds: u64,
    /// Elapsed time of the run, microseconds.
    pub wall_microseconds: u64,
    /// The most linear memory in use at one time, bytes.
    pub peak_memory_bytes: u64,
    /// SHA-256 of the program in plaintext.
    pub program_digest: HexArray<32>,
    /// The request commitment as the host computed it from what it received. The seal of the response thereby
    /// authenticates the request: see `docs/decisions/0001-request-commitment-in-the-report.md`.
    pub request_commitment: Commitment,
    /// The policy component's decision, when one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyDecision>,
    /// The payment, when the run was charged for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentReceipt>,
    /// How the price adds up, where the run is paid by use. Not in the signed receipt, which others may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<Metered>,
    /// What of the output was sent before this report, where some was: the result and `stderr` are what came after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streamed: Option<Streamed>,
}

/// The chunks of an output that was sent as it was written: how many, and the commitment to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streamed {
    /// How many chunks.
    pub chunks: u32,
    /// [`crate::commitment::StreamCommitment`] over all of them.
    pub commitment: Commitment,
}

/// How a run ended. A map with the key `kind` and the fields of that kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Exit {
    /// The program returned success.
    Ok,
    /// The program exited with a code that is not zero.
    Code {
        /// The code.
        code: u32,
    },
    /// The program trapped, or a script raised an error.
    Trap {
        /// The trap, with the guest's backtrace where there is one.
        reason: String,
    },
    /// A limit stopped the program.
    Limit {
        /// Which limit.
        which: LimitKind,
        /// What was used, or asked for, when it stopped; in the unit of the limit.
        used: u64,
        /// What is allowed, in the unit of the limit.
        allowed: u64,
    },
    /// The policy refused the request; the program did not run.
    Denied {
        /// The policy's reason.
        reason: String,
    },
    /// The program was authenticated but can not be run.
    Rejected {
        /// What is wrong with it.
        problem: Rejection,
        /// The names concerned (an import and its versions, say).
        detail: String,
    },
}

/// The limits of a run and their units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// Processor time, microseconds.
    Cpu,
    /// Elapsed time, microseconds.
    Wall,
    /// Linear memory, bytes.
    Memory,
    /// Table size, elements.
    Table,
    /// Core instances, a count.
    Instances,
    /// Standard output, bytes. (Standard error beyond its own bound is cut, and ends nothing.)
    Output,
    /// The guest's call stack, bytes.
    Stack,
    /// What the host buffers for the guest, bytes.
    HostBuffer,
    /// Live host resources (streams, pollables, keys), a count.
    Handles,
    /// Compilation time, microseconds.
    CompileTime,
    /// Memory of compilation, bytes.
    CompileMemory,
    /// What use comes to that is paid for by use, in the asset's smallest unit: the most that was signed for.
    Price,
    /// What is kept of the memory of an environment or a session, bytes.
    State,
}

impl std::fmt::Display for LimitKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "processor time",
            Self::Wall => "wall-clock time",
            Self::Memory => "memory",
            Self::Table => "table elements",
            Self::Instances => "instances",
            Self::Output => "standard output",
            Self::Stack => "call stack",
            Self::HostBuffer => "bytes for one host call",
            Self::Handles => "live handles",
            Self::CompileTime => "compile time",
            Self::CompileMemory => "compiler memory",
            Self::Price => "price",
            Self::State => "kept state",
        })
    }
}

/// Why a program that was authenticated can not be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejection {
    /// It is not WebAssembly.
    NotWasm,
    /// It is precompiled machine code, which is never loaded.
    Precompiled,
    /// It is WebAssembly that does not validate.
    InvalidComponent,
    /// It exports nothing that the operation can call.
    NoEntryPoint,
    /// It imports something that the host does not have.
    MissingImport,
    /// It is a component of another world than the operation needs.
    WrongWorld,
    /// An argument can not be passed to it (not UTF-8, say).
    InvalidArgument,
    /// The script is not UTF-8 text.
    InvalidSource,
    /// It is larger than the host compiles.
    ProgramTooLarge,
    /// No program of the digest that was sent in its place is kept for this session ([`crate::digest::named_program`]).
    UnknownProgram,
    /// The manifest can not be read, or asks for what can not be had.
    InvalidManifest,
    /// The request needs the proof of an owner's key, and has none that holds.
    NotOwner,
    /// The name belongs to somebody else.
    NameTaken,
    /// There is no such agent, or none that the caller may know of.
    UnknownAgent,
    /// The agent of this name is another component than the call pins ([`crate::ComponentDigest`]).
    WrongDigest,
    /// The host, or the owner, has as many agents as may be.
    TooManyAgents,
    /// The request that was sealed for a service is no Binary HTTP message (RFC 9292).
    InvalidRequest,
    /// The bundle, the terms or the input of an environment can not be read, or ask for what can not be had.
    InvalidEnvironment,
    /// There is no such environment, or it is another owner's, or its time is over.
    UnknownEnvironment,
    /// The host, or the owner, has as many environments as may be, or keeps as much of them.
    TooManyEnvironments,
    /// The environment was set up by another engine than the host has now: set it up again.
    StaleEnvironment,
    /// Another turn is under way in the environment.
    EnvironmentBusy,
}

/// What was paid for the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReceipt {
    /// The chain, as a CAIP-2 identifier: `eip155:8453`.
    pub network: String,
    /// The asset: on an EVM chain, the token contract's address.
    pub asset: String,
    /// The account that paid.
    pub payer: String,
    /// The account that was paid.
    pub pay_to: String,
    /// The amount, in the smallest unit of the asset.
    pub amount: String,
    /// What the payer's authorization is unique by.
    pub nonce: String,
    /// The transaction. None if the settlement was in doubt when the report was sealed; the response's headers have it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
}

/// What the policy component decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDecision {
    /// Whether the request was allowed.
    pub allowed: bool,
    /// The policy's reason, when it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Digest of the rules that were in force.
    pub rules_digest: HexBytes,
}

impl Report {
    /// A report with the digest of `program` (in plaintext) and nothing used. `request_commitment` is
    /// [`crate::OpenRequest::commitment`].
    pub fn new(exit: Exit, program: &[u8], request_commitment: Commitment) -> Self {
        Self {
            exit,
            ..Self::with_digest(Sha256::digest(program).into(), request_commitment)
        }
    }

    /// A report of a run that ended well and used nothing, to be filled in: for callers that have the SHA-256 digest of the
    /// program already.
    pub fn with_digest(program_digest: [u8; 32], request_commitment: Commitment) -> Self {
        Self {
            version: VERSION,
            exit: Exit::Ok,
            stderr: HexBytes::default(),
            stdout_truncated: false,
            stderr_truncated: false,
            cpu_microseconds: 0,
            wall_microseconds: 0,
            peak_memory_bytes: 0,
            program_digest: HexArray(program_digest),
            request_commitment,
            policy: None,
            payment: None,
            metered: None,
            streamed: None,
        }
    }

    /// The report as CBOR, ready to be sealed: definite lengths, shortest integers, keys in the order of the fields.
    ///
    /// # Errors
    /// [`Error::Encode`] should the encoder fail; writing to memory gives it no cause to.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        // Room for the other fields and for the tag, so that sealing in place does not move the buffer.
        let mut bytes = Vec::with_capacity(self.stderr.0.len().saturating_add(1024));
        format::encode_cbor_into(self, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// [`Error::ReportVersion`] for another version than [`VERSION`]; [`Error::Decode`] for anything that is not a report.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // First, so that a later version is told from a malformed report.
        let Version { version } = format::decode_cbor(bytes)?;
        if version != VERSION {
            return Err(Error::ReportVersion { found: version });
        }
        format::decode_cbor(bytes)
    }
}
