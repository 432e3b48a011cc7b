//! The public HTTP API.

mod admission;
mod agent_sale;
mod agents;
mod binary_http;
mod body;
mod evidence;
mod execute;
mod moment;
mod openapi;
mod paid;
mod paid_answer;
mod paid_job;
mod problem;
mod request;
mod request_id;
mod route;
mod sealed_agent;
mod serve;
mod session;
mod sold;
mod swap;
mod work;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderName, Method, Request};
use hyper::body::Incoming;
use tower::ServiceExt;
use tower_http::cors::{Any, CorsLayer};

pub use openapi::DOCUMENT as OPENAPI;
pub use route::PAID as PAID_ROUTES;
pub(crate) use serve::PREFIX as AGENTS_PREFIX;
pub use swap::{Plugin, Swapped};

use hypervisor_agents::SealingKey;

use crate::agents::{Agents, Neighbours};
use crate::attestation::{Attestation, HostFacts};
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
    executor: Arc<Executor>,
    facts: Arc<HostFacts>,
    agents: Arc<Agents>,
    sessions: Sessions,
    admission: Admission,
    bodies: Bodies,
    payments: Option<Arc<Payments>>,
    /// What makes evidence, or why there is none.
    attestation: Result<Attestation, String>,
    /// Whether the evidence that goes with components' statements is there, or will not be.
    introduced: AtomicBool,
    /// Held while a plugin is swapped: one at a time.
    swapping: tokio::sync::Mutex<()>,
    /// Held while the host becomes another one by a swap, which takes no time.
    switching: RwLock<()>,
    /// How agents reach each other.
    inside: OnceLock<Arc<dyn Neighbours>>,
}

impl App {
    /// Puts the parts together. The payment component, where there is one, is asked about the operator's offers.
    ///
    /// # Errors
    /// What is wrong with `[payments]`, or with the store in `executor_path`.
    pub async fn start(
        config: Config,
        executor: Executor,
        facts: Arc<HostFacts>,
        attestation: Result<Attestation, String>,
        sealing_key: Option<SealingKey>,
    ) -> Result<Arc<Self>, Error> {
        let executor = Arc::new(executor);
        let payments = Payments::start(&config, &executor, &PAID_ROUTES).await?;
        let payments = payments.map(Arc::new);
        let agents = Agents::start(&config, &executor, &facts, payments.as_ref(), sealing_key)?;
        let sessions = Sessions::new(&config.limits);
        let admission = Admission::new(config.limits.executions, config.limits.queue);
        let bodies = Bodies::new(&config.limits);
        let app = Arc::new(Self {
            config,
            executor,
            facts,
            agents,
            sessions,
            admission,
            bodies,
            payments,
            introduced: AtomicBool::new(attestation.is_err()),
            attestation,
            swapping: tokio::sync::Mutex::default(),
            switching: RwLock::default(),
            inside: OnceLock::new(),
        });
        let inside: Arc<dyn Neighbours> = Arc::new(serve::Inside(Arc::downgrade(&app)));
        app.agents.introduce(Arc::downgrade(&inside));
        // It lives as long as the host does.
        app.inside.get_or_init(|| inside);
        Ok(app)
    }

    /// Bytes of a component at most.
    pub fn most_bytes(&self) -> u64 {
        self.config.limits.body.as_u64()
    }

    /// The agents of the host.
    pub fn agents(&self) -> &Arc<Agents> {
        &self.agents
    }

    /// What makes evidence.
    fn attestation(&self) -> Result<&Attestation, ApiError> {
        let attestation = self
            .attestation
            .as_ref()
            .map_err(|reason| ApiError::unattested(reason))?;
        attestation.check()?;
        Ok(attestation)
    }

    /// Why requests should go elsewhere; none where all is well.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.facts.is_log_poisoned() {
            return Some(
                "the component log and the runtime register disagree: no evidence until the host is started anew",
            );
        }
        let introduced = self.introduced.load(Ordering::Acquire);
        (!introduced).then_some("the evidence of this host's identity is being made")
    }

    /// Gets the evidence that goes with components' statements.
    pub async fn introduce(&self) {
        if let Ok(attestation) = &self.attestation
            && let Err(error) = attestation.introduce().await
        {
            tracing::warn!(%error, "components cannot make statements");
        }
        self.introduced.store(true, Ordering::Release);
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
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(Any)
        .expose_headers(exposed.map(HeaderName::from_static))
}

/// Paths and methods, as documented in `/openapi.json`.
fn router(app: Arc<App>) -> Router {
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
        .route("/search", post(agents::search))
        .route("/agent/deploy", post(agents::deploy))
        .route("/agent/list", post(agents::own))
        .route("/agent/logs", post(agents::logs))
        .route("/agents", get(agents::list))
        .route(
            "/agents/{agent}",
            get(agents::show).post(agents::call).delete(agents::remove),
        )
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(axum::middleware::from_fn(request_id::layer))
        .layer(cross_origin())
        .with_state(app)
}

/// Answers requests: what goes to an agent is the agent's, from the method to the headers, and the router has no part in it.
pub fn service(
    app: &Arc<App>,
) -> impl Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static {
    let (app, router) = (Arc::clone(app), router(Arc::clone(app)));
    move |request| {
        if serve::is_for_an_agent(request.uri().path()) {
            Box::pin(serve::call(Arc::clone(&app), request))
        } else {
            let answered = router.clone().oneshot(request);
            Box::pin(async { answered.await.unwrap_or_else(|never| match never {}) })
        }
    }
}

/// A request that is being answered.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
