//! Calls of agents and of the host's own API by components of this host: HTTP without a socket.

use std::sync::{Arc, Weak};

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use hypervisor_account::Peer;
use hypervisor_agents::{Answering, Owner};
use tower::ServiceExt;

use super::fields::insert;
use super::problem::refused;
use crate::agents::{Deployed, Neighbours, PREFIX, declared_length};
use crate::executor::{Chain, HttpBody, HttpError};
use crate::pipeline::plain::{FORWARDED_PREFIX, Plain, without};
use crate::pipeline::{Call, Host, Input, Refusal, Sale, Target};
use hypervisor_protocol::ProblemType;

/// The agents of this host, as they reach each other, and its API.
pub(super) struct Inside {
    host: Weak<Host>,
    api: Weak<Router>,
}

impl Inside {
    pub(super) fn new(host: Weak<Host>, api: Weak<Router>) -> Self {
        Self { host, api }
    }
}

/// The chain of a request that a component of this host sent.
#[derive(Clone)]
pub(super) struct Within(pub(super) Chain);

impl Neighbours for Inside {
    fn call(
        &self,
        caller: Arc<Deployed>,
        reference: &str,
        request: Request<HttpBody>,
        chain: Chain,
    ) -> Answering {
        let (host, reference) = (self.host.upgrade(), reference.to_owned());
        Box::pin(async move {
            let host = host.ok_or(HttpError::DestinationUnavailable)?;
            let agent = host
                .agents()
                .find(&reference, Some(caller.terms.owner()))
                .ok_or(HttpError::DestinationNotFound)?;
            if chain.has(agent.id) {
                return Err(HttpError::LoopDetected);
            }
            match answer(&host, caller, agent, request, chain).await {
                Ok(response) => Ok(response),
                Err(Refusal::Problem(problem)) if problem.kind == ProblemType::AgentDenied => {
                    Err(HttpError::HttpRequestDenied)
                }
                Err(Refusal::Problem(problem)) if problem.kind == ProblemType::Overloaded => {
                    Err(HttpError::ConnectionLimitReached)
                }
                Err(refusal) => {
                    let response = refused(refusal, "-");
                    Ok(response.map(|body| {
                        body.map_err(|_| HttpError::HttpResponseIncomplete)
                            .boxed_unsync()
                    }))
                }
            }
        })
    }

    fn host(&self, _: Arc<Deployed>, request: Request<HttpBody>, chain: Chain) -> Answering {
        let api = self.api.upgrade();
        Box::pin(async move {
            let api = api.ok_or(HttpError::DestinationUnavailable)?;
            let mut request = request.map(Body::new);
            if let Some(peer) = chain.sender::<Peer>() {
                request.extensions_mut().insert((*peer).clone());
            }
            request.extensions_mut().insert(Within(chain));
            let answered = Router::clone(&api).oneshot(request).await;
            let response = answered.unwrap_or_else(|never| match never {});
            Ok(response.map(|body| {
                body.map_err(|_| HttpError::HttpResponseIncomplete)
                    .boxed_unsync()
            }))
        })
    }
}

async fn answer(
    host: &Arc<Host>,
    caller: Arc<Deployed>,
    agent: Arc<Deployed>,
    request: Request<HttpBody>,
    chain: Chain,
) -> Result<Response<HttpBody>, Refusal> {
    let owner = caller.terms.owner();
    let (mut head, body) = request.into_parts();
    // Only calls from outside have a prefix, and only the host says it.
    without(&mut head, &[FORWARDED_PREFIX]);
    let snapshot = chain.moment().unwrap_or_else(|| host.snapshot());
    // An owner's agents call each other for nothing.
    let sale = if agent.terms.owner() == owner {
        None
    } else {
        let path = format!("{PREFIX}{}{}", agent.terms.address, head.uri.path());
        let asked = (&head.method, &head.headers);
        Sale::of_agent(host, &snapshot, &agent, &path, asked, None).await?
    };
    if let (Some(_), Some(teller)) = (&sale, &snapshot.teller) {
        without(&mut head, teller.fields());
    }
    // What answers in the host's name does so for whoever asked it.
    let asked_by = chain.sender::<Peer>().filter(|_| *owner == Owner::Protocol);
    let peer = asked_by.map_or_else(|| Peer::Owner(owner.to_string()), |it| (*it).clone());
    let length = declared_length(&head.headers);
    let call = Call {
        way: Plain {
            target: Target::new(host, agent).await,
            caller: Some(Arc::clone(&caller)),
            head,
        },
        snapshot,
        party: host.account().party(&peer),
        chain,
        sale,
    };
    let (answer, fields) =
        Box::pin(host.answer(Box::new(call), Input::Body { body, length })).await?;
    let mut response = answer
        .into_response(|| host.account().party(&peer))
        .map_err(|refusal| refusal.with_fields(fields.clone()))?;
    if !fields.is_empty() {
        insert(&mut response, fields);
    }
    Ok(response.map(|body| body.map_err(of_http).boxed_unsync()))
}

/// An error of an agent's body, in the terms of the one that reads it.
fn of_http(error: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    let error = error.downcast();
    error.map_or(HttpError::HttpResponseIncomplete, |error| *error)
}
