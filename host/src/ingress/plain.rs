//! Plain HTTP to agents, `ANY /agents/{reference}/{path…}`, and to what answers in the host's own name, at its paths.
//!
//! These requests do not pass through the router: what an agent answers is its own, CORS and status codes included. The host
//! adds a request id, takes out what would reach beyond the agent's own path in a browser, and answers itself where the agent
//! cannot.

mod origin;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hypervisor_account::Peer;
use hypervisor_protocol::HexArray;
use hypervisor_telemetry as telemetry;
use uuid::Uuid;

use super::fields::insert;
use super::{EXPOSED, request_id};
use crate::agents::{Front, PREFIX, declared_length};
use crate::audit::Done;
use crate::executor::{Chain, HttpBody, HttpError};
use crate::pipeline::plain::{
    CALLER, FORWARDED_PREFIX, Plain, TRACE_CONTEXT, for_agent, reference_in, refuse_upgrade,
    without,
};
use crate::pipeline::{Call, Host, Input, Refusal, Sale, Target};

/// What a call is called in the audit trail.
pub(super) const COMMITMENT: HeaderName = HeaderName::from_static("audit-commitment");

/// Whether a path leads to an agent: `/agents/{reference}/…`.
pub(super) fn is_for_an_agent(path: &str) -> bool {
    path.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.contains('/'))
}

/// Answers a request to an agent.
pub(super) async fn call(host: Arc<Host>, peer: Peer, request: Box<Request<Incoming>>) -> Response {
    let method = request.method().clone();
    let route = match is_for_an_agent(request.uri().path()) {
        true => "/agents/{agent}/{path}",
        false => "/{protocol}",
    };
    let about = telemetry::Request::begin(&method, Some(route), Some(request.headers()));
    let answered = about.run(async {
        let (mut response, is_own) = match answer(&host, &peer, request).await {
            Ok(response) => (response, false),
            Err(refusal) => (refusal.into_response(), true),
        };
        request_id::finish(&about.id(), &mut response);
        (response, is_own)
    });
    let (mut response, is_own) = answered.await;
    about.answered(response.status().as_u16());
    if is_own {
        // A page that is to pay has to read what it costs, and what became of it.
        let headers = response.headers_mut();
        let any = HeaderValue::from_static("*");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
        expose(headers);
    }
    tracing::debug!(
        request_id = %about.id().simple(),
        %method,
        route,
        status = response.status().as_u16(),
        "request"
    );
    response
}

async fn answer(
    host: &Arc<Host>,
    peer: &Peer,
    request: Box<Request<Incoming>>,
) -> Result<Response, Refusal> {
    refuse_upgrade(request.method(), request.headers())?;
    let (head, body) = request.into_parts();
    if let Some(front) = host.fronts().at(head.uri.path()) {
        let body = body.map_err(HttpError::from).boxed_unsync();
        return front_answer(host, peer, &front, (head, body)).await;
    }
    let reference = reference_in(head.uri.path()).to_owned();
    let target = Target::find(host, &reference).await?;
    let asked = (&head.method, &head.headers);
    let snapshot = host.snapshot();
    let sale = Sale::of_agent(host, &snapshot, &target.agent, head.uri.path(), asked, None).await?;
    let is_sold = sale.is_some();
    // What a browser asks before it may pay is answered by the agent, for nothing; a command would be run.
    let is_preflight = is_sold && is_preflight(&head) && !target.agent.terms.is_command();
    let sale = sale.filter(|_| !is_preflight);
    let recorded = (sale.is_some() || host.config().audit.plain).then(|| Arc::clone(&target.agent));
    let length = declared_length(&head.headers);
    let mut head = for_agent(head, reference.len())?;
    if let (true, Some(teller)) = (is_sold, &snapshot.teller) {
        without(&mut head, teller.fields());
    }
    let call = Box::new(Call {
        way: Plain {
            target,
            caller: None,
            head,
        },
        party: host.account().party(peer),
        chain: Chain::entering(snapshot.clone()),
        snapshot,
        sale,
    });
    let body = body.map_err(HttpError::from).boxed_unsync();
    let (answer, fields) = host.answer(call, Input::Body { body, length }).await?;
    let mut response = answer
        .into_response(|| host.account().party(peer))
        .map_err(|refusal| refusal.with_fields(fields.clone()))?;
    origin::confine(&mut response, &reference, is_sold);
    if let (Some(agent), Some(id)) = (recorded, telemetry::request()) {
        let mut buffer = Uuid::encode_buffer();
        let id = id.simple().encode_lower(&mut buffer);
        let terms = &agent.terms;
        let entered = host.did(&Done::Called(id, &terms.address.to_string(), &terms.sha384));
        let named = entered.map(|digest| HeaderValue::from_str(&HexArray(digest).to_string()));
        if let Some(Ok(named)) = named {
            response.headers_mut().insert(COMMITMENT, named);
        }
    }
    if !fields.is_empty() {
        insert(&mut response, fields);
        expose(response.headers_mut());
    }
    if is_preflight {
        // All that it is for is in the head, and what is sold may be in the body.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        return Ok(response.map(|_| Body::empty()));
    }
    Ok(response.map(Body::new))
}

/// Has what answers in the host's own name answer. It calls agents and the host itself for whoever asked it.
async fn front_answer(
    host: &Arc<Host>,
    peer: &Peer,
    front: &Front,
    (mut head, body): (Parts, HttpBody),
) -> Result<Response, Refusal> {
    without(&mut head, &[FORWARDED_PREFIX, CALLER]);
    without(&mut head, &TRACE_CONTEXT);
    head.extensions = http::Extensions::new();
    let length = declared_length(&head.headers);
    let snapshot = host.snapshot();
    let call = Box::new(Call {
        way: Plain {
            target: Target::of_front(front),
            caller: None,
            head,
        },
        party: host.account().party(peer),
        chain: Chain::entering(snapshot.clone()).by(Arc::new(peer.clone())),
        snapshot,
        sale: None,
    });
    let (answer, _) = host.answer(call, Input::Body { body, length }).await?;
    let response = answer.into_response(|| host.account().party(peer))?;
    Ok(response.map(Body::new))
}

/// What a browser asks before it sends a request to another origin.
fn is_preflight(head: &Parts) -> bool {
    let is_named = |name| head.headers.contains_key(name);
    head.method == Method::OPTIONS
        && is_named(header::ORIGIN)
        && is_named(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets scripts read what the host says of a payment, where they may read the answer.
fn expose(headers: &mut HeaderMap) {
    let names: Vec<&str> = EXPOSED.iter().map(HeaderName::as_str).collect();
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_slash_after_the_name_is_the_hosts_own() {
        assert!(is_for_an_agent("/agents/weather/"));
        assert!(is_for_an_agent("/agents/weather/x/y"));
        assert!(!is_for_an_agent("/agents/weather"));
        assert!(!is_for_an_agent("/agents"));
        assert!(!is_for_an_agent("/search"));
    }
}
