//! The public HTTP API.

mod admission;
mod body;
mod execute;
mod openapi;
mod problem;
mod request_id;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use openapi::DOCUMENT as OPENAPI;

use crate::config::Config;
use crate::executor::Executor;
use crate::sessions::Sessions;
use admission::Admission;
use body::Bodies;
use problem::ApiError;

/// Everything a request may need.
pub struct App {
    config: Config,
    executor: Executor,
    sessions: Sessions,
    admission: Admission,
    bodies: Bodies,
}

impl App {
    /// Puts the parts together.
    pub fn new(config: Config, executor: Executor) -> Self {
        let sessions = Sessions::new(&config.limits);
        let admission = Admission::new(config.limits.executions, config.limits.queue);
        let bodies = Bodies::new(&config.limits);
        Self {
            config,
            executor,
            sessions,
            admission,
            bodies,
        }
    }

    /// Live sessions, for the task that expires them.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

/// Paths and methods, as documented in `/openapi.json`.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/ping", get(async || "pong"))
        .route("/openapi.json", get(openapi::document))
        .route("/encrypt/create_keypair", post(session::create_keypair))
        .route(
            "/verifiable/encrypt/create_keypair",
            post(session::create_attested_keypair),
        )
        .route("/test/execute/wasm", post(execute::wasm))
        .route("/test/policy/unsafe/python", post(execute::python))
        .route("/test/policy/unsafe/python/attest", post(execute::python))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(axum::middleware::from_fn(request_id::layer))
        .with_state(app)
}
