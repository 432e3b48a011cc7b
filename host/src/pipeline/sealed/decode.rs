//! The bodies of sealed requests: decoded, their session found, and the proof of an owner checked.

use std::sync::Arc;

use hypervisor_account::Share;
use hypervisor_protocol::{
    AgentRequest, DeployRequest, EnvironmentRequest, ExecutePythonRequest, ExecuteScriptRequest,
    ExecuteWasmRequest, HexBytes, HostSession, Operation, OwnerProof, ProblemType, PublicKey,
    SealedRequest, SessionId,
};
use serde::de::DeserializeOwned;

use super::Sealed;
use crate::fleet::Tag;
use crate::pipeline::body::Received;
use crate::pipeline::{Host, Refusal};
use crate::sessions::NotFound;

/// A request whose body was read.
pub(super) struct Decoded {
    pub(super) session: Arc<HostSession>,
    pub(super) owner: Option<PublicKey>,
    pub(super) request: SealedRequest,
    pub(super) share: Share,
}

/// The body of a sealed request.
trait Body: DeserializeOwned + Into<SealedRequest> {
    fn session(&self) -> (Option<&SessionId>, &HexBytes);

    fn owner(&self) -> Option<&OwnerProof> {
        None
    }
}

impl Body for ExecuteWasmRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }
}

impl Body for ExecutePythonRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }
}

impl Body for ExecuteScriptRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }
}

impl Body for DeployRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }

    fn owner(&self) -> Option<&OwnerProof> {
        Some(&self.owner)
    }
}

impl Body for AgentRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }

    fn owner(&self) -> Option<&OwnerProof> {
        self.owner.as_ref()
    }
}

impl Body for EnvironmentRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }

    fn owner(&self) -> Option<&OwnerProof> {
        Some(&self.owner)
    }
}

/// Decodes the body of a request.
pub(super) fn decode(host: &Host, way: &Sealed, received: Received) -> Result<Decoded, Refusal> {
    match way.route.operation {
        Operation::Wasm => decode_as::<ExecuteWasmRequest>(host, way, received),
        Operation::Python => decode_as::<ExecutePythonRequest>(host, way, received),
        Operation::Javascript => decode_as::<ExecuteScriptRequest>(host, way, received),
        Operation::Deploy => decode_as::<DeployRequest>(host, way, received),
        Operation::Agent | Operation::Remove | Operation::List | Operation::Logs => {
            decode_as::<AgentRequest>(host, way, received)
        }
        Operation::Setup
        | Operation::Execute
        | Operation::Evaluate
        | Operation::Fork
        | Operation::Extend
        | Operation::EnvironmentList
        | Operation::EnvironmentLog
        | Operation::EnvironmentRemove => decode_as::<EnvironmentRequest>(host, way, received),
    }
}

fn decode_as<T: Body>(host: &Host, way: &Sealed, received: Received) -> Result<Decoded, Refusal> {
    let body = received.read::<T>(way.format)?;
    let (id, public_key) = body.session();
    // Its id says that another node has it: that its key is on the curve is that one's to find out.
    if let Some(tag) = id.and_then(|id| foreign(host, id)) {
        return Err(unknown().with_elsewhere(tag, received.into_bytes()));
    }
    let session = find_session(host, id, public_key)?;
    let share = received.into_share();
    let owner = body.owner().map(|proof| session.owner(proof)).transpose()?;
    Ok(Decoded {
        session,
        owner,
        request: body.into(),
        share,
    })
}

/// The tag of another node in a session's id.
fn foreign(host: &Host, id: &SessionId) -> Option<Tag> {
    let tag = Tag::of(id.as_bytes());
    host.fleet().filter(|it| it.tag() != tag).map(|_| tag)
}

fn find_session(
    host: &Host,
    id: Option<&SessionId>,
    public_key: &HexBytes,
) -> Result<Arc<HostSession>, Refusal> {
    let sessions = host.sessions();
    if let Some(session) = id.and_then(|id| sessions.find_named(id, &public_key.0)) {
        return Ok(session);
    }
    let client = client_key(public_key, "public_key")?;
    sessions.find(id, &client).map_err(|error| match error {
        NotFound::Unknown if id.is_none() && host.fleet().is_some() => Refusal::new(
            ProblemType::AmbiguousSession,
            "this host has no session of `public_key`, and others may; name it in `session_id`",
        ),
        NotFound::Unknown => unknown(),
        NotFound::Ambiguous => Refusal::new(
            ProblemType::AmbiguousSession,
            "`public_key` has several live sessions; name one in `session_id`",
        ),
    })
}

fn unknown() -> Refusal {
    Refusal::new(
        ProblemType::UnknownSession,
        "no live session has this `session_id` and `public_key`; open one with POST /encrypt/create_keypair",
    )
}

/// A client's key from field `field` of a request.
pub(crate) fn client_key(bytes: &HexBytes, field: &str) -> Result<PublicKey, Refusal> {
    PublicKey::from_sec1(&bytes.0)
        .map_err(|e| Refusal::new(ProblemType::InvalidKey, format!("`{field}`: {e}")))
}

pub(super) fn argument_count(host: &Host, request: &SealedRequest) -> Result<u32, Refusal> {
    let (count, limit) = (request.arguments.len(), host.config().limits.arguments);
    if count > limit {
        let detail =
            format!("{count} arguments are over the limit of {limit}; pass data on standard input");
        return Err(Refusal::new(ProblemType::TooManyArguments, detail));
    }
    u32::try_from(count).map_err(|_| Refusal::malformed("too many arguments to count"))
}
