//! Plain HTTP to agents: `ANY /agents/{reference}/{path…}`.
//!
//! These requests do not pass through the router: what an agent answers is its own, CORS and status codes included. The host
//! adds a request id, and answers itself where the agent cannot.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use hyper::body::Incoming;
use hypervisor_agents::Reference;
use hypervisor_protocol::ProblemType;
use uuid::Uuid;

use super::execute::denial;
use super::problem::ApiError;
use super::{App, agent_sale, request_id};
use crate::agents::{Caller, Deployed, Neighbours, declared_length};
use crate::executor::{
    Action, ActionKind, Agent, Chain, Charge, Command, Exit, Held, HttpBody, HttpError, Inputs,
    NoResponse, PrepareError, Question, Service,
};

/// What the path of a request to an agent begins with.
pub(crate) const PREFIX: &str = "/agents/";
/// Tells an agent what stood before its path.
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Exit code of a command.
const EXIT_CODE: HeaderName = HeaderName::from_static("x-exit-code");

/// The agent that a path leads to, if it leads to one: `/agents/{reference}/…`.
pub(super) fn is_for_an_agent(path: &str) -> bool {
    path.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.contains('/'))
}

/// Answers a request to an agent.
pub(super) async fn call(app: Arc<App>, request: Request<Incoming>) -> Response {
    let id = Uuid::now_v7();
    let method = request.method().clone();
    let mut response = answer(app, request)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    request_id::finish(&id, &mut response);
    tracing::debug!(
        request_id = %id.simple(),
        %method,
        route = "/agents/{agent}/{path}",
        status = response.status().as_u16(),
        "request"
    );
    response
}

async fn answer(app: Arc<App>, request: Request<Incoming>) -> Result<Response, ApiError> {
    refuse_upgrade(&request)?;
    let reference = reference_in(request.uri().path());
    let length = reference.len();
    let agent = app
        .agents
        .find(reference, None)
        .ok_or_else(ApiError::no_agent)?;
    if agent.offers().is_some() {
        return Box::pin(agent_sale::sell(app, agent, request)).await;
    }
    // Taken before anything is waited for: a request goes to the agent that it found, though it be replaced meanwhile.
    let loaded = app.agents.ready(&agent).await.map_err(unprepared)?;
    permitted(question(&app, &agent, &request, None)).await?;
    let slot = app.admission.enter().await?;
    let request = for_agent(request, length)?;
    pass_to(&app, loaded, request, Chain::default(), slot).await
}

/// WASI 0.2 has no interface for other protocols on the same connection. `h2c` may be ignored (RFC 9110 §7.8).
pub(super) fn refuse_upgrade<B>(request: &Request<B>) -> Result<(), ApiError> {
    let upgrade = request
        .headers()
        .get_all(header::UPGRADE)
        .into_iter()
        .any(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"));
    if upgrade || request.method() == Method::CONNECT {
        return Err(ApiError::new(
            ProblemType::UpgradeUnsupported,
            "agents answer HTTP requests; WebSocket and other upgrades are not offered. Stream the response's body instead",
        ));
    }
    Ok(())
}

/// The name or address in the path of a request to an agent.
pub(super) fn reference_in(path: &str) -> &str {
    path.strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('/'))
        .map_or("", |(reference, _)| reference)
}

/// What the policy is asked about a call; none where there is no policy.
pub(super) fn question<B>(
    app: &App,
    agent: &Deployed,
    request: &Request<B>,
    charge: Option<Charge>,
) -> Option<Question> {
    app.executor.question(|| Action {
        charge,
        agent: Some(agent.address().to_string()),
        method: Some(request.method().as_str().to_owned()),
        imports: agent.import_names(),
        input_bytes: declared_length(request),
        ..Action::new(
            ActionKind::InvokeAgent,
            *agent.digest(),
            request.uri().path().to_owned(),
        )
    })
}

/// Asks the policy about an agent.
pub(super) async fn permitted(question: Option<Question>) -> Result<(), ApiError> {
    let Some(question) = question else {
        return Ok(());
    };
    match denial(Some(&question.ask().await)) {
        None => Ok(()),
        Some(reason) => Err(ApiError::new(ProblemType::AgentDenied, reason)),
    }
}

/// The request as the agent sees it: its own path, and in a header what stood before it. `reference` is the length of its name
/// in the path.
pub(super) fn for_agent<B>(
    mut request: Request<B>,
    reference: usize,
) -> Result<Request<B>, ApiError> {
    let malformed = || ApiError::malformed("the request's target is none");
    let prefix = PREFIX.len().saturating_add(reference);
    let target = request
        .uri()
        .path_and_query()
        .and_then(|target| target.as_str().get(prefix..))
        .ok_or_else(malformed)?;
    let target = PathAndQuery::try_from(target).map_err(|_| malformed())?;
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(target);
    if parts.authority.is_none() {
        parts.scheme = None;
    }
    let prefix = HeaderValue::from_str(request.uri().path().get(..prefix).unwrap_or_default())
        .map_err(|_| malformed())?;
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| malformed())?;
    request.headers_mut().insert(FORWARDED_PREFIX, prefix);
    Ok(request)
}

/// Passes a request on to an agent.
pub(super) async fn pass<B>(
    app: &App,
    agent: &Arc<Deployed>,
    request: Request<B>,
    chain: Chain,
    held: impl Held,
) -> Result<Response, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<HttpError> + Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let loaded = app.agents.ready(agent).await.map_err(unprepared)?;
    pass_to(app, loaded, request, chain, held).await
}

async fn pass_to<B>(
    app: &App,
    loaded: Agent,
    request: Request<B>,
    chain: Chain,
    held: impl Held,
) -> Result<Response, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<HttpError> + Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match loaded {
        Agent::Service(service) => serve(&service, request, chain, held).await,
        Agent::Command(command) => Box::pin(run(app, &command, request, chain)).await,
    }
}

async fn serve<B>(
    service: &Arc<Service>,
    request: Request<B>,
    chain: Chain,
    held: impl Held,
) -> Result<Response, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<HttpError>,
{
    let response = service.call(request, false, chain, held).await;
    let response = response.map_err(|none| match none {
        NoResponse::Ended(exit) => ended(exit),
        NoResponse::NoHost => ApiError::malformed(none.to_string()),
        NoResponse::NeverSet | NoResponse::Error => {
            ApiError::new(ProblemType::AgentFailed, none.to_string())
        }
    })?;
    Ok(response.map(Body::new))
}

/// Why a response could not be read to its end.
pub(super) enum Unread {
    /// It has more bytes than the limit.
    TooLong,
    /// The agent did not finish it.
    Unfinished,
}

/// Reads the whole body of a response, `limit` bytes at most.
pub(super) async fn whole<B>(body: B, limit: u64) -> Result<Collected<Bytes>, Unread>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let collected = Limited::new(body, most).collect().await;
    collected.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Unread::TooLong
        } else {
            Unread::Unfinished
        }
    })
}

/// Whether an answer is to be paid for. As servers of x402 do, one that is an error is not charged.
pub(super) fn is_charged(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Runs a command: the body is its standard input, each `arg` of the query an argument, its standard output the answer.
async fn run<B>(
    app: &App,
    command: &Command,
    request: Request<B>,
    chain: Chain,
) -> Result<Response, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let query = request.uri().query().unwrap_or_default();
    let most = app.config.limits.arguments;
    let arguments: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "arg")
        .map(|(_, value)| value.into_owned())
        .take(most.saturating_add(1))
        .collect();
    if arguments.len() > most {
        return Err(ApiError::new(
            ProblemType::TooManyArguments,
            format!("the query has more arguments (`arg`) than the {most} that this host takes"),
        ));
    }
    let most = usize::try_from(app.config.limits.body.as_u64()).unwrap_or(usize::MAX);
    let body = Limited::new(request.into_body(), most).collect();
    let stdin = tokio::time::timeout(app.config.limits.receive, body)
        .await
        .map_err(|_| ApiError::receive_timeout(app.config.limits.receive))?
        .map_err(|_| ApiError::body_too_large(most))?
        .to_bytes();
    let outcome = command.call(Inputs { arguments, stdin }, chain).await;
    let code = match outcome.exit {
        Exit::Ok => 0,
        Exit::Code { code } => code,
        exit => return Err(ended(exit)),
    };
    let mut response = Response::new(Body::from(outcome.stdout));
    if code != 0 {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    response
        .headers_mut()
        .insert(EXIT_CODE, HeaderValue::from(code));
    Ok(response)
}

/// Why an agent did not answer. What it said itself is for its owner's eyes: it is in the agent's log.
fn ended(exit: Exit) -> ApiError {
    match exit {
        Exit::Limit {
            which,
            used,
            allowed,
        } => ApiError::agent_limit(which, used, allowed),
        _ => ApiError::new(
            ProblemType::AgentFailed,
            "the agent trapped; its owner finds the reason in its log",
        ),
    }
}

pub(super) fn unprepared(error: PrepareError) -> ApiError {
    match error {
        PrepareError::Program(exit) => ended(exit),
        PrepareError::Host(message) => ApiError::internal(message),
    }
}

/// The agents of this host, as they reach each other.
pub(super) struct Inside(pub(super) Weak<App>);

impl Neighbours for Inside {
    fn call(
        &self,
        caller: &Caller,
        reference: &Reference,
        request: Request<HttpBody>,
        chain: Chain,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<HttpBody>, HttpError>> + Send>> {
        let (app, owner) = (self.0.upgrade(), caller.owner().clone());
        let reference = reference.to_string();
        Box::pin(async move {
            let app = app.ok_or(HttpError::DestinationUnavailable)?;
            let agent = app
                .agents
                .find(&reference, Some(&owner))
                .ok_or(HttpError::DestinationNotFound)?;
            if chain.has(agent.id()) {
                return Err(HttpError::LoopDetected);
            }
            let question = question(&app, &agent, &request, None);
            permitted(question)
                .await
                .map_err(|_| HttpError::HttpRequestDenied)?;
            // Whoever calls holds a slot already, so nobody here may wait for one.
            let slot = app
                .admission
                .try_enter()
                .ok_or(HttpError::ConnectionLimitReached)?;
            let answered = if agent.offers().is_some() && agent.owner() != &owner {
                // The sale takes a slot of its own.
                drop(slot);
                agent_sale::sell_inside(Arc::clone(&app), agent, request, chain).await
            } else {
                pass(&app, &agent, request, chain, slot).await
            };
            let response = answered.unwrap_or_else(|error| error.into_problem("-"));
            Ok(response.map(|body| {
                body.map_err(|_| HttpError::HttpResponseIncomplete)
                    .boxed_unsync()
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_sees_its_own_path_and_what_stood_before_it() {
        let request = Request::get("/agents/weather/a%20b?city=Oslo")
            .body(())
            .unwrap();
        let request = for_agent(request, 7).unwrap();
        assert_eq!(request.uri(), "/a%20b?city=Oslo");
        assert_eq!(request.headers()[FORWARDED_PREFIX], "/agents/weather");
    }

    #[test]
    fn a_path_without_a_slash_after_the_name_is_the_hosts_own() {
        assert!(is_for_an_agent("/agents/weather/"));
        assert!(is_for_an_agent("/agents/weather/x/y"));
        assert!(!is_for_an_agent("/agents/weather"));
        assert!(!is_for_an_agent("/agents"));
        assert!(!is_for_an_agent("/search"));
    }

    #[test]
    fn websockets_are_refused_and_h2c_is_ignored() {
        let request = |protocol| {
            Request::get("/agents/a/")
                .header(header::UPGRADE, protocol)
                .body(())
                .unwrap()
        };
        assert!(refuse_upgrade(&request("websocket")).is_err());
        assert!(refuse_upgrade(&request("h2c")).is_ok());
    }
}
