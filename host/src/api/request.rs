//! The bodies of sealed requests: decoded, their session found, and the proof of an owner checked.

use std::sync::Arc;

use hypervisor_agents::Owner;
use hypervisor_protocol::{
    AgentRequest, ContentFormat, DeployRequest, ExecutePythonRequest, ExecuteWasmRequest, HexBytes,
    HostSession, Operation, OwnerProof, ProblemType, PublicKey, SealedRequest, SessionId,
};
use serde::de::DeserializeOwned;

use super::App;
use super::body::{Received, Share};
use super::problem::ApiError;
use super::route::Route;
use super::session::client_key;
use crate::sessions::NotFound;

/// What is asked and by whom, as the route and the request's plaintext fields have it.
pub(super) struct Call {
    pub(super) route: Route,
    pub(super) session: Arc<HostSession>,
    /// The owner that the client speaks for, proved for this session.
    pub(super) owner: Option<PublicKey>,
}

impl Call {
    /// Who the owner is to the agents.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.owner.as_ref().map(Owner::from)
    }
}

/// A request that was received: the call, its fields, and the form of the answer. The share of the body's account is to be
/// held until the request is done.
pub(super) struct Decoded {
    pub(super) call: Call,
    pub(super) request: SealedRequest,
    pub(super) format: ContentFormat,
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

/// Decodes the body of a request for `route`, finds its session, and checks the proof of an owner.
pub(super) fn decode(app: &App, route: &Route, received: Received) -> Result<Decoded, ApiError> {
    match route.operation {
        Operation::Wasm => decode_as::<ExecuteWasmRequest>(app, route, received),
        Operation::Python => decode_as::<ExecutePythonRequest>(app, route, received),
        Operation::Deploy => decode_as::<DeployRequest>(app, route, received),
        Operation::Agent | Operation::Remove | Operation::List | Operation::Logs => {
            decode_as::<AgentRequest>(app, route, received)
        }
    }
}

fn decode_as<T: Body>(app: &App, route: &Route, received: Received) -> Result<Decoded, ApiError> {
    let (body, share, format) = received.decode::<T>()?;
    let (id, public_key) = body.session();
    let session = find_session(app, id, public_key)?;
    let prove =
        |proof: &OwnerProof| proof.verify(session.client(), session.public_key(), session.id());
    let owner = body.owner().map(prove).transpose()?;
    Ok(Decoded {
        call: Call {
            route: route.clone(),
            session,
            owner,
        },
        request: body.into(),
        format,
        share,
    })
}

fn find_session(
    app: &App,
    id: Option<&SessionId>,
    public_key: &HexBytes,
) -> Result<Arc<HostSession>, ApiError> {
    if let Some(session) = id.and_then(|id| app.sessions.find_named(id, &public_key.0)) {
        return Ok(session);
    }
    let client = client_key(public_key, "public_key")?;
    app.sessions.find(id, &client).map_err(|error| match error {
        NotFound::Unknown => ApiError::new(
            ProblemType::UnknownSession,
            "no live session has this `session_id` and `public_key`; open one with POST /encrypt/create_keypair",
        ),
        NotFound::Ambiguous => ApiError::new(
            ProblemType::AmbiguousSession,
            "`public_key` has several live sessions; name one in `session_id`",
        ),
    })
}
