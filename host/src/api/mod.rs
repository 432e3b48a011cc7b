//! The public HTTP API.

mod admission;
mod body;
mod evidence;
mod execute;
mod openapi;
mod paid;
mod problem;
mod request_id;
mod route;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::{HeaderName, Method};
use tower_http::cors::{Any, CorsLayer};

pub use openapi::DOCUMENT as OPENAPI;
pub use route::PAID as PAID_ROUTES;

use crate::attestation::Attestation;
use crate::config::Config;
use crate::error::Error;
use crate::executor::Executor;
use crate::payments::Payments;
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
    payments: Option<Payments>,
    /// What makes evidence, or why there is none.
    attestation: Result<Attestation, String>,
}

impl App {
    /// Puts the parts together. The payment component, where there is one, is asked about the operator's offers.
    ///
    /// # Errors
    /// What is wrong with `[payments]`, or with the store in `executor_path`.
    pub async fn start(
        config: Config,
        executor: Executor,
        attestation: Result<Attestation, String>,
    ) -> Result<Self, Error> {
        let payments = Payments::start(&config, &executor, &PAID_ROUTES).await?;
        let sessions = Sessions::new(&config.limits);
        let admission = Admission::new(config.limits.executions, config.limits.queue);
        let bodies = Bodies::new(&config.limits);
        Ok(Self {
            config,
            executor,
            sessions,
            admission,
            bodies,
            payments,
            attestation,
        })
    }

    /// What makes evidence.
    fn attestation(&self) -> Result<&Attestation, ApiError> {
        self.attestation
            .as_ref()
            .map_err(|reason| ApiError::unattested(reason))
    }

    /// Why requests should go elsewhere; none where all is well.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.executor.facts().log().poisoned.then_some(
            "the component log and the runtime register disagree: no evidence until the host is started anew",
        )
    }

    /// Gets the evidence that goes with components' statements.
    pub async fn introduce(&self) {
        if let Ok(attestation) = &self.attestation
            && let Err(error) = attestation.introduce().await
        {
            tracing::warn!(%error, "components cannot make statements");
        }
    }

    /// Clears doubts about payments, as long as the host runs.
    pub async fn clear_doubts(&self) {
        if let Some(payments) = &self.payments {
            payments.clear_doubts().await;
        }
    }

    /// Live sessions, for the task that expires them.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

/// Browsers of any origin may call: there are no cookies, and what is secret is sealed. They see the headers of x402.
fn cross_origin() -> CorsLayer {
    let exposed = [
        "payment-required",
        "payment-response",
        "x-payment-response",
        "x-request-id",
        "retry-after",
    ];
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(Any)
        .expose_headers(exposed.map(HeaderName::from_static))
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
        .route("/attestation", get(evidence::identity))
        .route("/test/execute/wasm", post(execute::wasm))
        .route("/test/policy/unsafe/python", post(execute::python))
        .route(
            "/test/policy/unsafe/python/attest",
            post(execute::attested_python),
        )
        .route("/x402_execute/test/wasm", post(paid::wasm))
        .route("/x402_execute/verifiable/wasm", post(paid::attested_wasm))
        .route("/x402_policy/unsafe/python", post(paid::python))
        .route(
            "/x402_policy/unsafe/python/attest",
            post(paid::attested_python),
        )
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(axum::middleware::from_fn(request_id::layer))
        .layer(cross_origin())
        .with_state(app)
}
