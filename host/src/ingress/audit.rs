//! The audit trail over HTTP: its signed head, and proofs of what one knows. Nothing of it can be listed.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use hypervisor_account::Peer;
use hypervisor_protocol::{Commitment, ProblemType};

use super::form::of_type;
use super::peer_of;
use crate::audit::{NoProof, Trail};
use crate::pipeline::{Host, Refusal};

/// `GET /audit/head`: the newest head, a checkpoint.
pub(super) async fn head(State(host): State<Arc<Host>>) -> Result<Response, Refusal> {
    Ok(text(trail(&host)?.published().text.to_string()))
}

/// `GET /audit/proof/{commitment}?size=…`: the proof that an entry with this digest is in the tree of the newest head, or of a recent one
/// of this size.
pub(super) async fn proof(
    State(host): State<Arc<Host>>,
    Path(commitment): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let commitment: Commitment = commitment
        .parse()
        .map_err(|_| Refusal::malformed("a commitment is 32 bytes in hex"))?;
    let [size] = sizes(&request, ["size"])?;
    let peer = peer_of(&request);
    drop(request);
    let found = looked_up(&host, peer, move |trail| {
        let proof = trail.proof(commitment.as_bytes(), size)?;
        Ok((proof.map(|it| it.to_string()), trail.published().first))
    });
    match found.await? {
        (Some(proof), _) => Ok(text(proof)),
        (None, first) => Err(Refusal::new(
            ProblemType::NotFound,
            format!(
                "the audit trail has no such entry: it is not in it, not yet, or before entry {first}, the first of which there are proofs"
            ),
        )),
    }
}

/// `GET /audit/consistency?from=…&to=…`: the proof that the tree of the newest head, or of a recent one of this size, continues that of its
/// first so many entries.
pub(super) async fn consistency(
    State(host): State<Arc<Host>>,
    request: Request,
) -> Result<Response, Refusal> {
    let [from, to] = sizes(&request, ["from", "to"])?;
    let missing = "missing query parameter `from`: the entries of the head that is known";
    let from = from.ok_or_else(|| Refusal::malformed(missing))?;
    let peer = peer_of(&request);
    drop(request);
    let made = looked_up(&host, peer, move |trail| trail.consistency(from, to));
    made.await.map(|proof| text(proof.to_string()))
}

/// Numbers of entries from the query, each at most once.
fn sizes<const N: usize>(request: &Request, names: [&str; N]) -> Result<[Option<u64>; N], Refusal> {
    let mut found = [None; N];
    let query = request.uri().query().unwrap_or_default().as_bytes();
    for (name, value) in form_urlencoded::parse(query) {
        let place = names.iter().position(|it| *it == name);
        let Some(place) = place.and_then(|it| found.get_mut(it)) else {
            continue;
        };
        let number: u64 = value
            .parse()
            .map_err(|_| Refusal::malformed("a query parameter is not a number of entries"))?;
        if place.replace(number).is_some() {
            return Err(Refusal::malformed("a query parameter is there twice"));
        }
    }
    Ok(found)
}

fn trail(host: &Host) -> Result<&Arc<Trail>, Refusal> {
    let none = "this host keeps no audit trail; its operator switches it on in [audit]";
    host.trail()
        .ok_or_else(|| Refusal::new(ProblemType::NotFound, none))
}

/// Reads from the trail, in a turn with what else reads from the stores, so that a peer who asks for many waits for them itself.
async fn looked_up<T: Send + 'static>(
    host: &Host,
    peer: Peer,
    look: impl FnOnce(&Trail) -> Result<T, NoProof> + Send + 'static,
) -> Result<T, Refusal> {
    let trail = Arc::clone(trail(host)?);
    let turn = host.account().party(&peer).manage().await?;
    let looked = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        look(&trail)
    });
    let looked = looked.await;
    let looked = looked.map_err(|_| Refusal::internal("a look into the audit trail was lost"))?;
    looked.map_err(|error| match error {
        NoProof::Size { .. } | NoProof::Head { .. } => Refusal::malformed(error.to_string()),
        other => Refusal::internal(other.to_string()),
    })
}

/// A document of C2SP, which is text. The next one is another.
fn text(document: String) -> Response {
    of_type("text/plain; charset=utf-8", document)
}
