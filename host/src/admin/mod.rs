//! The admin port: whether the host lives, whether it can do its work, its counters, and swapping plugins. For probes and
//! operators; clients never see it.

mod guard;
mod listener;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hypervisor_protocol::{ContentFormat, HexBytes, Problem, ProblemType};
use serde::Serialize;

use crate::agents::NotTaken;
use crate::metrics;
use crate::pipeline::{Host, Plugin, Replacement};

pub use crate::config::Place;
pub use listener::Listener;
pub use token::Token;

/// `GET /livez`: 200 as long as the process answers. `GET /readyz`: 200, or 503 with one reason a line. `GET /metrics`: counters
/// for Prometheus. `POST /swap/payments` and `POST /swap/policy`: the component as the body, or what [`Replacement`] has, as CBOR or JSON.
/// `DELETE /agents/{agent}`: takes down any agent, by name or address.
pub fn router(app: Arc<Host>) -> Router {
    let most = usize::try_from(app.most_bytes()).unwrap_or(usize::MAX);
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(counters))
        .route("/swap/{plugin}", post(swap))
        .route("/agents/{agent}", delete(remove))
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
    let agents = u64::try_from(app.agents().len()).unwrap_or(u64::MAX);
    let executions = u64::try_from(app.executions()).unwrap_or(u64::MAX);
    let mut gauges = vec![
        ("hypervisor_agents", "Agents deployed now.", agents),
        (
            "hypervisor_executions",
            "Execution slots in use now.",
            executions,
        ),
    ];
    if let Some(expires) = app.collateral_expires_at() {
        gauges.push((
            "hypervisor_collateral_expiry_timestamp_seconds",
            "When the collateral that goes with quotes expires; 0 where it cannot be read.",
            expires,
        ));
    }
    let text = metrics::text(&gauges);
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4"),
    );
    response
}

async fn swap(
    State(app): State<Arc<Host>>,
    Path(plugin): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let plugin = match plugin.as_str() {
        "payments" => Plugin::Payments,
        "policy" => Plugin::Policy,
        _ => {
            return (
                StatusCode::NOT_FOUND,
                "payments and policy can be swapped\n",
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
    let swapping = tokio::spawn(async move { app.swap(plugin, with).await });
    match swapping.await {
        Ok(Ok(swapped)) => json(&swapped),
        Ok(Err(detail)) => refused(detail),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the swap was lost\n").into_response(),
    }
}

async fn remove(State(app): State<Arc<Host>>, Path(reference): Path<String>) -> Response {
    let (status, text) = match app.agents().take_down(&reference).await {
        Ok(Some(info)) => {
            app.operated("take-down", &reference);
            return json(&info);
        }
        Ok(None) => {
            app.operated("take-down", &reference);
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
