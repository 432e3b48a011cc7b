//! The API about agents: deploying, listing, removing, searching, and their sealed calls.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use hypervisor_protocol::{
    ContentFormat, DeployResponse, Operation, ProblemType, RegistryRequest, SearchRequest,
    SearchResponse,
};

use super::App;
use super::agent_sale;
use super::body::answer;
use super::execute::free;
use super::problem::ApiError;
use super::route::{self, Route};
use super::serve::permitted;
use crate::agents::Refused;
use crate::executor::{Action, ActionKind};

/// Bytes of a description that is looked for.
const MAX_DESCRIPTION: usize = 10_000;
/// Agents in an answer to a search, where the request does not say, and at most.
const FOUND: u32 = 10;
const MOST_FOUND: u32 = 100;
/// What a search that found nothing says.
const NOTHING: &str = "no agent found";

/// `POST /agent/deploy`: a sealed component of the client's own, or an agent of the registry by name.
pub(super) async fn deploy(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let received = app.bodies.receive(request).await?;
    if let Some(RegistryRequest { agent }) = received.peek() {
        let answered = registered(&app, &agent).await?;
        return answer(received.format, &answered);
    }
    super::execute::received(&app, &route::DEPLOY, received).await
}

/// Deploys an agent of the operator's registry. Doing it again changes nothing.
async fn registered(app: &App, name: &str) -> Result<DeployResponse, ApiError> {
    let plan = match tokio::task::block_in_place(|| app.agents.plan_registered(name)) {
        Ok(plan) => plan,
        Err(Refused::There(agent)) => {
            let message = format!("{name} is deployed already");
            let agent = app.agents.info(&agent);
            return Ok(DeployResponse { message, agent });
        }
        Err(Refused::Unknown) => return Err(ApiError::no_agent()),
        Err(Refused::Unfit(detail)) => {
            return Err(ApiError::new(ProblemType::AgentRefused, detail));
        }
    };
    let question = app.executor.question(|| Action {
        agent: Some(plan.address().to_string()),
        method: Some("POST".to_owned()),
        imports: plan.import_names(),
        program_bytes: plan.component_bytes(),
        ..Action::new(ActionKind::DeployAgent, *plan.digest(), route::DEPLOY.path)
    });
    permitted(question).await?;
    let _slot = app.admission.enter().await?;
    let refused = |exit| ApiError::new(ProblemType::AgentRefused, crate::agents::words(&exit));
    let agent = app.agents.deploy(plan).await.map_err(refused)?;
    let message = format!("{name} is deployed at {}", agent.path);
    Ok(DeployResponse { message, agent })
}

/// `POST /agents/{agent}`: a sealed call.
pub(super) async fn call(
    State(app): State<Arc<App>>,
    Path(reference): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let route = Route::of_agent(&reference);
    match app.agents.find(&reference, None) {
        Some(agent) if agent.offers().is_some() => {
            agent_sale::sell_sealed(app, route, agent, request).await
        }
        _ => free(&app, &route, request).await,
    }
}

/// `DELETE /agents/{agent}`: a sealed request of its owner's.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(reference): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let route = Route {
        operation: Operation::Remove,
        ..Route::of_agent(&reference)
    };
    free(&app, &route, request).await
}

/// `POST /agent/list`: the agents of one owner, sealed.
pub(super) async fn own(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    free(&app, &route::LIST, request).await
}

/// `POST /agent/logs`: what an agent wrote, sealed, for its owner.
pub(super) async fn logs(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    free(&app, &route::LOGS, request).await
}

/// `GET /agents`: the public ones.
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    answer(ContentFormat::Json, &app.agents.public())
}

/// `GET /agents/{agent}`: one of the public ones.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    let agent = app
        .agents
        .find(&reference, None)
        .ok_or_else(ApiError::no_agent)?;
    answer(ContentFormat::Json, &app.agents.info(&agent))
}

/// `POST /search`.
pub(super) async fn search(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let received = app.bodies.receive(request).await?;
    let (request, _share, format) = received.decode::<SearchRequest>()?;
    if request.description.len() > MAX_DESCRIPTION {
        return Err(ApiError::malformed(format!(
            "`description` is over {MAX_DESCRIPTION} bytes"
        )));
    }
    let limit = request.limit.unwrap_or(FOUND).clamp(1, MOST_FOUND);
    let agents = app
        .agents
        .search(request.description, usize::try_from(limit).unwrap_or(1))
        .await
        .map_err(ApiError::internal)?;
    let message = agents
        .first()
        .map_or_else(|| NOTHING.to_owned(), |best| best.name.clone());
    answer(format, &SearchResponse { message, agents })
}
