//! Requests of sessions that another node of the fleet opened: they go to that node, and its answers come back.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hypervisor_protocol::ProblemType;

use super::address_of;
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
