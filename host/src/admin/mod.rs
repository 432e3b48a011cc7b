//! The admin port: whether the host lives, whether it can do its work, what it is doing, and what an operator changes while it
//! serves. For probes and operators; clients never see it.

mod fleet;
mod gauges;
mod guard;
mod listener;
mod page;
mod status;
mod tls;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hypervisor_protocol::{ContentFormat, HexBytes, Problem, ProblemType};
use hypervisor_telemetry as telemetry;
use hypervisor_telemetry::metrics;
use serde::Serialize;

use crate::agents::NotTaken;
use crate::pipeline::{Host, Plugin as Swappable, Replacement};

pub use crate::config::Place;
pub use fleet::{Fleet, Key, Node};
pub use hypervisor_telemetry::metrics::StepTimes;
pub use hypervisor_telemetry::metrics::history::{Recent, Sample};
pub use hypervisor_telemetry::{Lines, Spans, Stepped, Traced};
pub use listener::{Listener, bind};
pub use status::{Agent, Attestation, InUse, Owner, Plugin, Status};
pub use token::Token;

/// `GET /livez`: 200 as long as the process answers. `GET /readyz`: 200, or 503 with one reason a line. `GET /metrics`: counters
/// for Prometheus. `POST /swap/payments`, `policy`, `status` and `NAME.protocol`: the component as the body, or what [`Replacement`] has, as CBOR or JSON.
/// `DELETE /agents/{agent}`: takes down any agent, by name or address; `DELETE /owners/{owner}/environments`: all environments of an
/// owner. `GET /`: the page, with a form that posts to `/take-down`; `GET /status`: [`Status`], of which it is made. `GET /fleet`: [`Fleet`]. `POST /fleet/rotate`: another
/// key for the fleet, whose id is the answer. `GET /logs?from=N`: [`Lines`]. `GET /spans?from=N`: [`Spans`]. `GET` and `PUT /level`: log levels. `POST /drain`: not ready any
/// more, and the end when what is under way has ended; with `?stay` without the end; `DELETE /drain`: ready again.
pub fn router(app: Arc<Host>) -> Router {
    let most = usize::try_from(app.most_bytes()).unwrap_or(usize::MAX);
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(counters))
        .route("/", get(page::show))
        .route("/take-down", post(page::take_down))
        .route("/swap/{plugin}", post(swap))
        .route("/agents/{agent}", delete(remove))
        .route("/owners/{owner}/environments", delete(remove_environments))
        .route("/status", get(status))
        .route("/fleet", get(fleet::show))
        .route("/fleet/rotate", post(fleet::rotate))
        .route("/logs", get(logs))
        .route("/spans", get(spans))
        .route("/level", get(level).put(set_level))
        .route("/drain", post(drain).delete(leave_drain))
        .layer(DefaultBodyLimit::max(most))
        .with_state(app)
}

async fn ready(State(app): State<Arc<Host>>) -> (StatusCode, String) {
    match app.not_ready() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn counters(State(app): State<Arc<Host>>) -> Response {
    let text = metrics::text(gauges::of(&app));
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(metrics::MEDIA_TYPE),
    );
    response
}

/// What stands behind the names of those that answer in the host's own name.
const FRONT: &str = ".protocol";

async fn swap(
    State(app): State<Arc<Host>>,
    Path(plugin): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let front = plugin.strip_suffix(FRONT).map(str::to_owned);
    let plugin = match (plugin.as_str(), &front) {
        ("payments", _) => Some(Swappable::Payments),
        ("policy", _) => Some(Swappable::Policy),
        ("status", _) => Some(Swappable::Status),
        (_, Some(_)) => None,
        _ => {
            return (
                StatusCode::NOT_FOUND,
                "payments, policy, status and NAME.protocol can be swapped\n",
            )
                .into_response();
        }
    };
    let media_type = headers.get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|it| it.to_str().ok());
    let with = match media_type.and_then(ContentFormat::from_media_type) {
        Some(format) => match format.decode(&body) {
            Ok(with) => with,
            Err(error) => return refused(format!("the body: {error}")),
        },
        None => Replacement {
            component: Some(HexBytes(body.into())),
            rules: None,
        },
    };
    // In a task of its own: a swap that has begun is not left half done when the operator goes away.
    let swapping = tokio::spawn(async move {
        match plugin {
            Some(plugin) => app.swap(plugin, with).await,
            None => app.swap_front(&front.unwrap_or_default(), with).await,
        }
    });
    match swapping.await {
        Ok(Ok(swapped)) => json(&swapped),
        Ok(Err(detail)) => refused(detail),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the swap was lost\n").into_response(),
    }
}

async fn remove(State(app): State<Arc<Host>>, Path(reference): Path<String>) -> Response {
    remove_agent(&app, &reference).await
}

async fn remove_agent(app: &Arc<Host>, reference: &str) -> Response {
    let (status, text) = match app.agents().take_down(reference).await {
        Ok(Some(info)) => {
            app.operated("take-down", reference);
            return json(&info);
        }
        Ok(None) => {
            app.operated("take-down", reference);
            (StatusCode::OK, "deleted from the store".to_owned())
        }
        Err(NotTaken::Which(all)) if all.is_empty() => {
            let text = "no agent of this name or address is deployed".to_owned();
            (StatusCode::NOT_FOUND, text)
        }
        Err(NotTaken::Which(all)) => {
            let text = format!(
                "several agents have this name; say which: {}",
                all.join(" ")
            );
            (StatusCode::CONFLICT, text)
        }
        Err(NotTaken::Failed(reason)) => (StatusCode::INTERNAL_SERVER_ERROR, reason),
    };
    (status, format!("{text}\n")).into_response()
}

async fn remove_environments(State(app): State<Arc<Host>>, Path(owner): Path<String>) -> Response {
    remove_environments_of(&app, &owner).await
}

async fn remove_environments_of(app: &Arc<Host>, owner: &str) -> Response {
    let (asked, owner) = (owner, owner.to_owned());
    let Some(environments) = app.environments().cloned() else {
        return (StatusCode::NOT_FOUND, "this host has no environments\n").into_response();
    };
    match tokio::task::spawn_blocking(move || environments.take_down(&owner)).await {
        Ok(Ok(ended)) => {
            tracing::warn!(ended, "the operator took down the environments of an owner");
            app.operated("take-down-environments", asked);
            json(&ended)
        }
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response(),
    }
}

async fn status(State(app): State<Arc<Host>>) -> Response {
    json(&Status::of(&app))
}

async fn logs(RawQuery(query): RawQuery) -> Result<Response, Wrong> {
    Ok(json(&telemetry::lines_since(number_in(query)?)))
}

async fn spans(State(app): State<Arc<Host>>, RawQuery(query): RawQuery) -> Result<Response, Wrong> {
    let spans = telemetry::spans_since(number_in(query)?, app.started_at());
    let words = "this host keeps no spans: set `traces = true` in [telemetry]\n";
    spans
        .map(|spans| json(&spans))
        .ok_or((StatusCode::NOT_FOUND, words))
}

/// What is wrong with a question.
type Wrong = (StatusCode, &'static str);

/// What comes after `from=`; 0 where nothing is said.
fn number_in(query: Option<String>) -> Result<u64, Wrong> {
    let query = query.unwrap_or_default();
    let from = query.strip_prefix("from=").unwrap_or("0");
    let words = "`from` is the number of the first one to give\n";
    from.parse().map_err(|_| (StatusCode::BAD_REQUEST, words))
}

async fn level() -> String {
    format!("{}\n", telemetry::levels())
}

async fn set_level(State(app): State<Arc<Host>>, directives: String) -> Response {
    match telemetry::set_levels(&directives) {
        Ok(()) => {
            let levels = telemetry::levels();
            tracing::warn!(levels, "the operator set the log levels");
            app.operated("level", &levels);
            format!("{levels}\n").into_response()
        }
        Err(words) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{words}\n")).into_response(),
    }
}

async fn drain(State(app): State<Arc<Host>>, RawQuery(query): RawQuery) -> Response {
    let ends = match query.as_deref() {
        None | Some("") => true,
        Some("stay") => false,
        Some(_) => {
            let words = "ask for /drain, or for /drain?stay\n";
            return (StatusCode::BAD_REQUEST, words).into_response();
        }
    };
    tracing::warn!(ends, "the operator drains the host");
    app.operated("drain", if ends { "end" } else { "stay" });
    app.drain().begin(ends);
    StatusCode::ACCEPTED.into_response()
}

async fn leave_drain(State(app): State<Arc<Host>>) -> Response {
    if app.drain().leave() {
        tracing::warn!("the operator takes the host back from draining");
        app.operated("drain", "leave");
        return "ready\n".into_response();
    }
    (StatusCode::CONFLICT, "the host is about to end\n").into_response()
}

fn refused(detail: String) -> Response {
    let problem = Problem::new(ProblemType::SwapRefused).with_detail(detail);
    let mut response = json(&problem);
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(hypervisor_protocol::problem::MEDIA_TYPE),
    );
    response
}

fn json<T: Serialize>(value: &T) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
