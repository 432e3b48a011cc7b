//! What everybody may know of agents: the list, one of them, and search.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use hypervisor_protocol::{ContentFormat, SearchRequest, SearchResponse};

use super::form::{answer, decoded, format_of};
use crate::pipeline::{Host, Refusal};

/// Bytes of a description that is looked for.
const MAX_DESCRIPTION: usize = 10_000;
/// Agents in an answer to a search, where the request does not say, and at most.
const FOUND: u32 = 10;
const MOST_FOUND: u32 = 100;
/// What a search that found nothing says.
const NOTHING: &str = "no agent found";

/// `GET /agents`: the public ones.
pub(super) async fn list(State(host): State<Arc<Host>>) -> Result<Response, Refusal> {
    answer(ContentFormat::Json, &host.agents().public())
}

/// `GET /agents/{agent}`: one of the public ones.
pub(super) async fn show(
    State(host): State<Arc<Host>>,
    Path(reference): Path<String>,
) -> Result<Response, Refusal> {
    let agent = host
        .agents()
        .find(&reference, None)
        .ok_or_else(Refusal::no_agent)?;
    answer(ContentFormat::Json, &host.agents().info(&agent))
}

/// `POST /search`.
pub(super) async fn search(
    State(host): State<Arc<Host>>,
    request: Request,
) -> Result<Response, Refusal> {
    let format = format_of(&request)?;
    let (request, _share) = decoded::<SearchRequest>(&host, format, request).await?;
    if request.description.len() > MAX_DESCRIPTION {
        return Err(Refusal::malformed(format!(
            "`description` is over {MAX_DESCRIPTION} bytes"
        )));
    }
    let limit = request.limit.unwrap_or(FOUND).clamp(1, MOST_FOUND);
    let agents = host
        .agents()
        .search(request.description, usize::try_from(limit).unwrap_or(1))
        .await
        .map_err(Refusal::internal)?;
    let message = agents
        .first()
        .map_or_else(|| NOTHING.to_owned(), |best| best.name.clone());
    answer(format, &SearchResponse { message, agents })
}
