//! Requests of sessions that another node of the fleet opened: they go to that node, and its answers come back.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hypervisor_protocol::{ContentFormat, ProblemType};

use super::form::{in_format, input};
use super::{address_of, peer_of};
use crate::fleet::{FORWARDED, Head, NotForwarded, Proved, relayed};
use crate::pipeline::{Host, Refusal};

/// Whose request it is: the client's that a node forwards it for, or the peer's itself. What a stranger says of that is taken away.
pub(super) fn client<B>(host: &Host, peer: IpAddr, request: &mut http::Request<B>) -> IpAddr {
    let Some(fleet) = host.fleet() else {
        return peer;
    };
    let proved = fleet.proved(request.headers(), request.method(), request.uri());
    request.headers_mut().remove(FORWARDED);
    let Some(proved) = proved else {
        return peer;
    };
    request.extensions_mut().insert(proved);
    proved.client.unwrap_or(peer)
}

/// What hosts of a fleet ask each other; nothing of it is for clients.
pub(super) fn joins(routes: Router<Arc<Host>>) -> Router<Arc<Host>> {
    routes.route("/fleet/join", get(challenge).post(join))
}

/// `GET /fleet/join`: another host asks for the fleet's key, and is told what to prove.
async fn challenge(State(host): State<Arc<Host>>) -> Result<Response, Refusal> {
    let member = host.member().ok_or_else(no_member)?;
    let challenge = member.challenge();
    let challenge = challenge.map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(in_format(ContentFormat::Cbor, challenge.into()))
}

/// `POST /fleet/join`: it proves it, and gets the key sealed, or is refused by the name of a check.
async fn join(State(host): State<Arc<Host>>, request: Request) -> Result<Response, Refusal> {
    let member = host.member().ok_or_else(no_member)?;
    let (attestation, peer) = (host.attestation()?, address_of(&request));
    let party = host.account().party(&peer_of(&request));
    let proof = host.bodies().receive(&party, input(request)).await?;
    let answer = member.answer(attestation, peer, proof.as_bytes()).await;
    Ok(in_format(ContentFormat::Cbor, answer.into()))
}

fn no_member() -> Refusal {
    Refusal::new(ProblemType::NotFound, "this host gives nobody a key")
}

/// Middleware: what this host cannot answer because another node has the session is forwarded, once.
pub(super) async fn layer(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    let Some(fleet) = host.fleet() else {
        return next.run(request).await;
    };
    let head = Head::of(&request);
    let client = address_of(&request);
    let was_forwarded = request.extensions().get::<Proved>().is_some();
    let mut response = next.run(request).await;
    let refusal = response.extensions_mut().get_mut::<Refusal>();
    let Some(elsewhere) = refusal.and_then(Refusal::take_elsewhere) else {
        return response;
    };
    if was_forwarded {
        return response;
    }
    let (tag, body) = elsewhere.into_parts();
    let forwarded = fleet.forward(&head, body, tag, client).await;
    relayed(&forwarded);
    let why = match forwarded {
        Ok(answer) => return answer.map(Body::new),
        // It was refused as it should be.
        Err(NotForwarded::Unknown) => return response,
        Err(why) => why,
    };
    let is_paid = head.carries_payment();
    match why {
        NotForwarded::Broken if is_paid => Refusal::in_doubt(),
        NotForwarded::Broken => Refusal::new(
            ProblemType::Overloaded,
            "the host of this session broke off; what was asked for may have been done: the same request is refused as a replay if it was",
        ),
        _ => Refusal::new(
            ProblemType::Overloaded,
            "the host of this session cannot be reached now; nothing was run or charged: try again later",
        ),
    }
    .into_response()
}
