//! The requests that agents send: to the origins of their manifest that the operator allows too, each asked of the policy,
//! never to a private address unless the operator allows that, and to other agents of this host without a socket.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use http::{HeaderMap, Request, Response};
use hypervisor_agents::{Address, Owner, Reference};
use hypervisor_egress::{AllowList, Bounds, Origin, Sender, Share};

use crate::config;
use crate::executor::{
    Action, ActionKind, Chain, Connection, Egress, HttpBody, HttpError, HttpTimeouts, Sending,
    Sent, send,
};
use crate::metrics;
use crate::snapshot::Snapshot;
use crate::telemetry::Sparing;

/// What stands behind the name in the host of a request to another agent.
const INTERNAL: &str = ".agent.internal";

/// Lookups of names that all agents may have under way at once, those of one owner, and those of one agent.
const LOOKUPS: [usize; 3] = [64, 24, 8];

/// Requests that were not sent: guests decide how many there are.
static NOT_SENT: Sparing = Sparing::new();

/// What the requests of all agents have in common.
pub(super) struct Network {
    /// Origins that the operator lets agents reach at all.
    pub(super) allowed: AllowList,
    sender: Sender,
    settings: config::Agents,
    whole: Share,
    /// The shares that are in use: an agent that is loaded anew has the one that its calls still hold.
    shares: Mutex<Shares>,
    neighbours: OnceLock<Weak<dyn Neighbours>>,
}

#[derive(Default)]
struct Shares {
    owners: HashMap<Owner, Share>,
    agents: HashMap<u64, Share>,
}

/// The other agents of the host, as one agent reaches them.
pub trait Neighbours: Send + Sync {
    /// Passes a request on to the agent that `caller` means by `reference`.
    fn call(
        &self,
        caller: &Caller,
        reference: &Reference,
        request: Request<HttpBody>,
        chain: Chain,
    ) -> Pin<Box<dyn Future<Output = Result<Response<HttpBody>, HttpError>> + Send>>;
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The agent's number in this host.
    pub id: u64,
    /// Its name and owner.
    pub address: Address,
    /// SHA-256 of its component.
    pub digest: [u8; 32],
}

impl Caller {
    /// Whose agent it is.
    pub fn owner(&self) -> &Owner {
        &self.address.owner
    }
}

impl Network {
    pub(super) fn new(allowed: AllowList, sender: Sender, settings: &config::Agents) -> Self {
        Self {
            allowed,
            sender,
            settings: settings.clone(),
            whole: Share::new(bounds(settings.connections, LOOKUPS[0])),
            shares: Mutex::default(),
            neighbours: OnceLock::new(),
        }
    }

    /// What sends the requests of one agent, within its share and its owner's.
    pub(super) fn sender_of(&self, caller: &Caller) -> Sender {
        let settings = &self.settings;
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.agents.retain(|_, share| share.is_used());
        shares.owners.retain(|_, share| share.is_used());
        let Shares { owners, agents } = &mut *shares;
        let agent = agents.entry(caller.id).or_insert_with(|| {
            let per_owner = bounds(settings.connections_per_owner, LOOKUPS[1]);
            let whole = match caller.owner() {
                // The operator's own agents share with nobody but all.
                Owner::Operator => &self.whole,
                owner => owners
                    .entry(owner.clone())
                    .or_insert_with(|| self.whole.part(per_owner)),
            };
            whole.part(bounds(settings.connections_per_agent, LOOKUPS[2]))
        });
        self.sender.clone().sharing(agent.clone())
    }

    /// Makes other agents reachable.
    pub(super) fn introduce(&self, neighbours: Weak<dyn Neighbours>) {
        // The first word counts; there is but one.
        let _ = self.neighbours.set(neighbours);
    }
}

fn bounds(connections: usize, lookups: usize) -> Bounds {
    Bounds {
        connections,
        lookups,
    }
}

/// The egress of one agent.
#[derive(Clone)]
pub(super) struct AgentEgress {
    pub(super) network: Arc<Network>,
    pub(super) sender: Sender,
    pub(super) caller: Arc<Caller>,
    /// The origins of its manifest.
    pub(super) listed: Arc<AllowList>,
    /// Interfaces that it imports.
    pub(super) imports: Arc<[String]>,
}

impl Egress for AgentEgress {
    fn send(
        &self,
        request: Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        chain: Chain,
    ) -> Sending {
        let this = self.clone();
        Box::pin(async move {
            let result = this.decide(request, timeouts, chain).await;
            match &result {
                Ok((_, outcome)) => metrics::outgoing(outcome),
                Err(refusal) => not_sent(refusal.why),
            }
            result
                .map(|(sent, _)| sent)
                .map_err(|refusal| refusal.error)
        })
    }

    fn per_call(&self) -> usize {
        self.network.settings.connections_per_call
    }

    fn crowded(&self) {
        not_sent("limit");
    }
}

fn not_sent(why: &'static str) {
    metrics::outgoing(why);
    // Which agent and where to is between the agent and its owner.
    if let Some(times) = NOT_SENT.say(why) {
        tracing::info!(reason = why, times, "an agent's request was not sent");
    }
}

/// A request that was not sent.
struct Refusal {
    why: &'static str,
    error: HttpError,
}

fn refused(why: &'static str, error: HttpError) -> Refusal {
    Refusal { why, error }
}

impl AgentEgress {
    async fn decide(
        self,
        request: Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        chain: Chain,
    ) -> Result<(Sent, &'static str), Refusal> {
        let origin = Origin::of(request.uri())
            .ok_or_else(|| refused("not_listed", HttpError::HttpRequestUriInvalid))?;
        if !self.listed.allows(&origin) {
            return Err(refused("not_listed", HttpError::HttpRequestDenied));
        }
        if let Some(name) = origin.host().strip_suffix(INTERNAL) {
            let reference = name
                .parse()
                .map_err(|_| refused("failed", HttpError::DestinationNotFound))?;
            return self.call(&reference, request, chain).await;
        }
        if !self.network.allowed.allows(&origin) {
            return Err(refused("not_listed", HttpError::HttpRequestDenied));
        }
        if !self.permits(&request, &chain).await {
            return Err(refused("policy", HttpError::HttpRequestDenied));
        }
        let sent = send(&self.sender, request, timeouts).await;
        sent.map(|sent| (sent, "sent")).map_err(|error| {
            let why = match error {
                HttpError::DestinationIpProhibited => "private_address",
                HttpError::ConnectionLimitReached => "limit",
                _ => "failed",
            };
            refused(why, error)
        })
    }

    /// Passes a request on to another agent. The policy is asked there: whether that agent may be called.
    async fn call(
        &self,
        reference: &Reference,
        request: Request<HttpBody>,
        chain: Chain,
    ) -> Result<(Sent, &'static str), Refusal> {
        if request.uri().scheme() != Some(&http::uri::Scheme::HTTP) {
            return Err(refused("chain", HttpError::HttpProtocolError));
        }
        let chain = chain.with(self.caller.id);
        if chain.len() > self.network.settings.depth {
            return Err(refused("chain", HttpError::LoopDetected));
        }
        let neighbours = self
            .network
            .neighbours
            .get()
            .and_then(Weak::upgrade)
            .ok_or_else(|| refused("failed", HttpError::DestinationUnavailable))?;
        let response = neighbours
            .call(&self.caller, reference, request, chain)
            .await
            .map_err(|error| {
                let why = match error {
                    HttpError::LoopDetected => "chain",
                    HttpError::HttpRequestDenied => "policy",
                    _ => "failed",
                };
                refused(why, error)
            })?;
        let connection: Connection = Box::new(async { Ok(()) });
        Ok(((response, connection), "internal"))
    }

    /// Whether the policy that the first call of the chain entered under allows it.
    fn permits(
        &self,
        request: &Request<HttpBody>,
        chain: &Chain,
    ) -> impl Future<Output = bool> + Send + use<> {
        let snapshot = chain.moment::<Snapshot>();
        let action = Action {
            agent: Some(self.caller.address.to_string()),
            method: Some(request.method().as_str().to_owned()),
            imports: self.imports.to_vec(),
            input_bytes: declared_length(request.headers()).unwrap_or(0),
            ..Action::new(
                ActionKind::OutgoingRequest,
                self.caller.digest,
                request.uri().to_string(),
            )
        };
        async move {
            // A call that did not enter by the host has nobody to be asked, and sends nothing.
            let Some(snapshot) = snapshot else {
                return false;
            };
            match snapshot.plugins.policy() {
                Some(policy) => policy.authorize(action).await.allowed,
                None => true,
            }
        }
    }
}

/// The length of a body, where the request says it.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
