//! The bodies of the endpoints about agents, and what is sealed in them.
//!
//! | endpoint | body | operation | field 0 | field 1 | result (sealed) |
//! |---|---|---|---|---|---|
//! | `POST /agent/deploy` | [`DeployRequest`] | `deploy` | the component | the manifest, TOML | [`AgentInfo`] |
//! | `POST /agent/deploy` | [`RegistryRequest`] | – | – | – | [`DeployResponse`], in plaintext |
//! | `POST /agents/{name}` | [`AgentRequest`] | `agent` | the name | standard input, or a Binary HTTP request | standard output, or a Binary HTTP response |
//! | `DELETE /agents/{name}` | [`AgentRequest`] | `remove` | the name | – | [`AgentInfo`] of what was removed |
//! | `POST /agent/list` | [`AgentRequest`] | `list` | empty | – | [`AgentList`] of the owner's own |
//! | `POST /agent/logs` | [`AgentRequest`] | `logs` | the name | – | [`AgentLog`] |
//! | `GET /agents` | – | – | – | – | [`AgentList`] of the public ones, in plaintext |
//! | `GET /agents/{name}` | – | – | – | – | [`AgentInfo`], in plaintext |
//! | `POST /search` | [`SearchRequest`] | – | – | – | [`SearchResponse`], in plaintext |
//!
//! Sealed results are JSON. A name is that of an agent alone, or `name.owner` with the owner's id; the name in field 0 must be
//! the one in the path, and that of a call may be followed by `@` and the digest of the component ([`crate::ComponentDigest`]). What is wrong with a sealed request is in its sealed report ([`crate::Rejection`]).

use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::owner::OwnerProof;
use crate::wire::{arguments, sealed};
use crate::{HexArray, HexBytes, PublicKey, SealedRequest, SessionId};

/// Body of `POST /agent/deploy` for a component of the client's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The sealed component, field 0.
    pub encrypted_wasm: HexBytes,
    /// The sealed manifest, field 1: TOML, UTF-8.
    pub encrypted_manifest: HexBytes,
    /// The client's public key C.
    pub public_key: HexBytes,
    /// The session; may be left out while the key has exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Which request of the session this is.
    #[serde(default)]
    pub sequence: u64,
    /// Whose agent it becomes.
    pub owner: OwnerProof,
}

/// Body of `POST /agent/deploy` for an agent of the host's registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryRequest {
    /// Its name.
    pub agent: String,
}

/// Answer to [`RegistryRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployResponse {
    /// One sentence for people.
    pub message: String,
    /// What was deployed.
    pub agent: AgentInfo,
}

/// Body of the sealed requests about one agent, or about an owner's agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRequest {
    /// The sealed name of the agent, field 0.
    pub encrypted_agent: HexBytes,
    /// The sealed input, field 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_stdin: Option<HexBytes>,
    /// The sealed arguments of a command, fields 2 and on.
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
    /// Who asks. Needed for everything but a call of a public agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerProof>,
}

/// A deployed agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its name.
    pub name: String,
    /// `name.owner`: the name that only this owner can give. `name.operator` for agents of the registry.
    pub address: String,
    /// Where it answers: `/agents/{name}/`, or `/agents/{name.owner}/` where the bare name is another's.
    pub path: String,
    /// What it does, for people.
    pub description: String,
    /// The version that its owner gave it.
    pub version: String,
    /// What it is called by.
    pub world: AgentWorld,
    /// What it can do, in words to be found by.
    #[serde(default)]
    pub skills: Vec<String>,
    /// Whether only its owner may know of it.
    pub private: bool,
    /// What a call costs, in human units; none where it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// SHA-256 of the component.
    pub digest: HexArray<32>,
    /// SHA-384 of the component, as the component log has it.
    pub sha384: HexArray<48>,
    /// Where it may send requests.
    #[serde(default)]
    pub outgoing: Vec<String>,
    /// Requests that one instance serves, one after the other; 1 gives each request an instance of its own.
    pub reuse: u32,
    /// Its imports, and what the host does about each.
    #[serde(default)]
    pub imports: Vec<AgentImport>,
    /// Whether it survives a restart of the host.
    pub persistent: bool,
    /// Why it does not, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What models are told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<AgentTool>,
    /// When it was deployed: Unix time, seconds.
    pub deployed_at: u64,
}

/// An agent as a tool of models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTool {
    /// What it does, where that is another text than the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Path and query that it is asked at, by POST.
    pub path: String,
    /// A JSON Schema of the object that it is sent; none where it takes text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<serde_json::Value>,
}

/// What an agent is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentWorld {
    /// `wasi:http/incoming-handler@0.2.x`: it answers HTTP requests.
    Service,
    /// `wasi:cli/run@0.2.x`: arguments and standard input in, standard output out.
    Command,
}

/// An import of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentImport {
    /// Its name, version included.
    pub name: String,
    /// `granted`, `inert` (present and empty) or `missing`.
    pub standing: String,
    /// The version that the host has, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_version: Option<String>,
}

/// Agents, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentList {
    /// The agents.
    pub agents: Vec<AgentInfo>,
}

/// What an agent wrote to its standard output and error, and how its calls ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentLog {
    /// Lines, oldest first, as far as the host keeps them.
    pub lines: Vec<String>,
    /// Lines that were dropped since the host began to keep them.
    pub dropped: u64,
}

/// Body of `POST /search`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// What is looked for, in words.
    pub description: String,
    /// The most agents in the answer; 10 where it is left out, 100 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Answer to [`SearchRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchResponse {
    /// The name of the best match, or `no agent found`.
    pub message: String,
    /// The agents found, best first.
    pub agents: Vec<Found>,
}

/// An agent that a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// `name.owner`.
    pub address: String,
    /// What it does.
    pub description: String,
    /// The version that its owner gave it.
    pub version: String,
    /// What it can do.
    #[serde(default)]
    pub skills: Vec<String>,
    /// How well it matches: above 0, larger is better, comparable within one answer only.
    #[serde(deserialize_with = "number")]
    pub score: f64,
    /// What a call costs; none where it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// SHA-256 of the component.
    pub digest: HexArray<32>,
    /// Whether it is deployed; else it is in the registry and `POST /agent/deploy` with its name deploys it.
    pub deployed: bool,
}

impl Eq for Found {}

impl DeployRequest {
    /// The body of a request sealed for [`crate::Operation::Deploy`], the manifest in the place of standard input.
    pub fn new(
        public_key: &PublicKey,
        session_id: SessionId,
        owner: OwnerProof,
        request: SealedRequest,
    ) -> Self {
        Self {
            encrypted_wasm: request.program.into(),
            encrypted_manifest: request.stdin.unwrap_or_default().into(),
            public_key: public_key.to_bytes().to_vec().into(),
            session_id: Some(session_id),
            sequence: request.sequence,
            owner,
        }
    }
}

impl From<DeployRequest> for SealedRequest {
    fn from(body: DeployRequest) -> Self {
        let manifest = Some(body.encrypted_manifest);
        sealed(body.sequence, body.encrypted_wasm, manifest, Vec::new())
    }
}

impl AgentRequest {
    /// The body of a request sealed for one of the operations about agents.
    pub fn new(
        public_key: &PublicKey,
        session_id: SessionId,
        owner: Option<OwnerProof>,
        request: SealedRequest,
    ) -> Self {
        Self {
            encrypted_agent: request.program.into(),
            encrypted_stdin: request.stdin.map(HexBytes),
            encrypted_arguments: request.arguments.into_iter().map(HexBytes).collect(),
            public_key: public_key.to_bytes().to_vec().into(),
            session_id: Some(session_id),
            sequence: request.sequence,
            owner,
        }
    }
}

impl From<AgentRequest> for SealedRequest {
    fn from(body: AgentRequest) -> Self {
        sealed(
            body.sequence,
            body.encrypted_agent,
            body.encrypted_stdin,
            body.encrypted_arguments,
        )
    }
}

/// A number of any width: CBOR writes one in the fewest bytes that hold it, down to two.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }

        fn visit_f32<E>(self, value: f32) -> Result<f64, E> {
            Ok(value.into())
        }

        fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
            Ok(value as f64)
        }
    }

    deserializer.deserialize_any(Number)
}
