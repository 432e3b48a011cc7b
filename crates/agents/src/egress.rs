//! The requests that agents send: to the origins of their manifest that the operator allows too, each asked of the policy,
//! never to a private address unless the operator allows that, and to other agents of this host without a socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};

use http::{HeaderMap, Request, Response};
use hypervisor_egress::{Origin, Sender, Senders, why};
use hypervisor_runtime::{
    Action, ActionKind, Chain, Connection, Egress, HttpBody, HttpError, HttpTimeouts, Sending, Sent,
};

use crate::deployed::Deployed;
use crate::name::Owner;
use crate::surroundings::{Event, Settings, Surroundings};

/// What stands behind the name in the host of a request to another agent.
const INTERNAL: &str = ".agent.internal";
/// The host's own API, for what answers in its name.
const HOST: &str = "host.internal";

/// What protocols may reach: any agent, and the host as everybody sees it.
pub(crate) const INSIDE: [&str; 2] = ["http://*.agent.internal", "http://host.internal"];

/// What the requests of all agents have in common.
pub(crate) struct Network {
    senders: Arc<Senders>,
    host: Arc<dyn Surroundings>,
    settings: Settings,
    neighbours: OnceLock<Weak<dyn Neighbours>>,
}

/// The other agents of the host, as one agent reaches them.
pub trait Neighbours: Send + Sync {
    /// Passes a request on to the agent that `caller` means by `reference`.
    fn call(
        &self,
        caller: Arc<Deployed>,
        reference: &str,
        request: Request<HttpBody>,
        chain: Chain,
    ) -> Answering;

    /// Answers a request as the host's public API does.
    fn host(&self, caller: Arc<Deployed>, request: Request<HttpBody>, chain: Chain) -> Answering;
}

/// A request inside the host that is being answered.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<HttpBody>, HttpError>> + Send>>;

impl Network {
    pub(crate) fn new(
        host: &Arc<dyn Surroundings>,
        senders: Arc<Senders>,
        settings: &Settings,
    ) -> Self {
        Self {
            senders,
            host: Arc::clone(host),
            settings: settings.clone(),
            neighbours: OnceLock::new(),
        }
    }

    /// What sends the requests of one agent, within its share and its owner's.
    fn sender_of(&self, agent: &Deployed) -> Sender {
        // The operator's own agents share with nobody but all.
        let owner = match agent.terms.owner() {
            Owner::Operator | Owner::Protocol => None,
            owner => Some(owner.to_string()),
        };
        let name = format!("agent {}", agent.id);
        self.senders.of(owner.as_deref(), &name)
    }

    /// Makes other agents reachable.
    pub(crate) fn introduce(&self, neighbours: Weak<dyn Neighbours>) {
        // The first word counts; there is but one.
        let _ = self.neighbours.set(neighbours);
    }
}

/// The egress of one agent.
#[derive(Clone)]
pub(crate) struct AgentEgress {
    network: Arc<Network>,
    sender: Sender,
    agent: Arc<Deployed>,
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
            let host = Arc::clone(&this.network.host);
            let result = this.decide(request, timeouts, chain).await;
            host.note(match &result {
                Ok((_, outcome)) => Event::Sent(outcome),
                Err((why, _)) => Event::NotSent(why),
            });
            result.map(|(sent, _)| sent).map_err(|(_, error)| error)
        })
    }

    fn per_call(&self) -> usize {
        self.network.settings.connections_per_call
    }

    fn crowded(&self) {
        self.network.host.note(Event::NotSent("limit"));
    }
}

/// Why a request was not sent: for the operator, and for the agent.
type Refusal = (&'static str, HttpError);

impl AgentEgress {
    pub(crate) fn new(network: &Arc<Network>, agent: &Arc<Deployed>) -> Self {
        Self {
            network: Arc::clone(network),
            sender: network.sender_of(agent),
            agent: Arc::clone(agent),
        }
    }

    async fn decide(
        self,
        request: Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        chain: Chain,
    ) -> Result<(Sent, &'static str), Refusal> {
        let origin =
            Origin::of(request.uri()).ok_or(("not_listed", HttpError::HttpRequestUriInvalid))?;
        if !self.agent.terms.listed.allows(&origin) {
            return Err(("not_listed", HttpError::HttpRequestDenied));
        }
        if let Some(name) = origin.host().strip_suffix(INTERNAL) {
            return self.call(Some(name), request, chain).await;
        }
        if origin.host() == HOST && *self.agent.terms.owner() == Owner::Protocol {
            return self.call(None, request, chain).await;
        }
        if !self.network.settings.outgoing.allows(&origin) {
            return Err(("not_listed", HttpError::HttpRequestDenied));
        }
        let action = Action {
            method: Some(request.method().as_str().to_owned()),
            input_bytes: declared_length(request.headers()).unwrap_or(0),
            ..(self.agent.terms).action(ActionKind::OutgoingRequest, request.uri().to_string())
        };
        if let Err(reason) = chain.permits(action).await {
            // An error of wasi:http has no room for it.
            let line = format!("the policy denied a request: {reason}");
            self.agent.log.append("host", line.as_bytes());
            return Err(("policy", HttpError::HttpRequestDenied));
        }
        let sent = self.sender.send_for_guest(request, timeouts).await;
        sent.map(|sent| (sent, "sent"))
            .map_err(|error| (why(&error), error))
    }

    /// Passes a request on to another agent, or without one to the host. The policy is asked there.
    async fn call(
        &self,
        reference: Option<&str>,
        request: Request<HttpBody>,
        chain: Chain,
    ) -> Result<(Sent, &'static str), Refusal> {
        if request.uri().scheme() != Some(&http::uri::Scheme::HTTP) {
            return Err(("chain", HttpError::HttpProtocolError));
        }
        let chain = chain.with(self.agent.id);
        if chain.len() > self.network.settings.depth {
            return Err(("chain", HttpError::LoopDetected));
        }
        let neighbours = self.network.neighbours.get().and_then(Weak::upgrade);
        let neighbours = neighbours.ok_or(("failed", HttpError::DestinationUnavailable))?;
        let caller = Arc::clone(&self.agent);
        let answering = match reference {
            Some(reference) => neighbours.call(caller, reference, request, chain),
            None => neighbours.host(caller, request, chain),
        };
        let response = answering.await.map_err(|error| match error {
            HttpError::LoopDetected => ("chain", error),
            HttpError::HttpRequestDenied => ("policy", error),
            _ => ("failed", error),
        })?;
        let connection: Connection = Box::new(async { Ok(()) });
        Ok(((response, connection), "internal"))
    }
}

/// The length of a body, where the request says it.
pub fn declared_length(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
