//! HTTP in, HTTP out: turns requests into calls of the pipeline, and what comes of them into responses. The only code that
//! knows paths, status codes and problem documents.

mod agents;
mod audit;
mod catalogue;
mod evidence;
mod fields;
mod fleet;
mod form;
mod inside;
mod one_host;
mod openapi;
mod plain;
mod problem;
mod request_id;
mod sealed;
mod session;
mod stream;

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use http::{HeaderName, Method, Request, header};
use hyper::body::Incoming;
use hypervisor_account::Peer;
use tower::ServiceExt;
use tower_http::cors::{Any, CorsLayer};

pub use openapi::DOCUMENT as OPENAPI;

use crate::pipeline::Host;
use inside::Inside;

/// Who sent a request that came through the router.
fn peer_of<B>(request: &Request<B>) -> Peer {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.unwrap_or_else(|| Peer::at(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

/// The address of whoever sent a request that came through the router.
fn address_of<B>(request: &Request<B>) -> Option<IpAddr> {
    match request.extensions().get()? {
        Peer::Address(address) => Some(*address),
        Peer::Owner(_) => None,
    }
}

/// What scripts in a browser see of the host's own answers: the headers of x402 among it.
static EXPOSED: [HeaderName; 7] = [
    session::SESSION,
    plain::COMMITMENT,
    HeaderName::from_static("payment-required"),
    HeaderName::from_static("payment-response"),
    HeaderName::from_static("x-payment-response"),
    HeaderName::from_static("x-request-id"),
    header::RETRY_AFTER,
];

/// Browsers of any origin may call: there are no cookies, and what is secret is sealed.
fn cross_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(Any)
        .expose_headers(EXPOSED.clone())
}

/// A route that is sold by `POST`, and says by `GET` what it costs: crawlers look so.
fn sold<H: Handler<T, Arc<Host>>, T: 'static>(handler: H) -> MethodRouter<Arc<Host>> {
    get(handler.clone()).post(handler)
}

/// Paths and methods, as documented in `/openapi.json`.
fn router(host: Arc<Host>) -> Router {
    let routes = Router::new()
        .route("/ping", get(async || "pong"))
        .route("/openapi.json", get(openapi::document))
        .route("/encrypt/create_keypair", post(session::create_keypair))
        .route(
            "/verifiable/encrypt/create_keypair",
            post(session::create_attested_keypair),
        )
        .route("/attestation", get(evidence::identity))
        .route("/audit/head", get(audit::head))
        .route("/audit/proof/{commitment}", get(audit::proof))
        .route("/audit/consistency", get(audit::consistency))
        .route("/test/execute/wasm", post(sealed::wasm))
        .route("/test/policy/unsafe/python", post(sealed::python))
        .route(
            "/test/policy/unsafe/python/attest",
            post(sealed::attested_python),
        )
        .route("/test/policy/unsafe/javascript", post(sealed::javascript))
        .route(
            "/test/policy/unsafe/javascript/attest",
            post(sealed::attested_javascript),
        )
        .route("/x402_execute/test/wasm", sold(sealed::paid_wasm))
        .route(
            "/x402_execute/verifiable/wasm",
            sold(sealed::paid_attested_wasm),
        )
        .route("/x402_policy/unsafe/python", sold(sealed::paid_python))
        .route(
            "/x402_policy/unsafe/python/attest",
            sold(sealed::paid_attested_python),
        )
        .route(
            "/x402_policy/unsafe/javascript",
            sold(sealed::paid_javascript),
        )
        .route(
            "/x402_policy/unsafe/javascript/attest",
            sold(sealed::paid_attested_javascript),
        )
        .route("/environments/setup", post(sealed::set_up))
        .route("/environments/execute", post(sealed::execute))
        .route("/environments/evaluate", post(sealed::evaluate))
        .route("/environments/fork", post(sealed::fork))
        .route("/environments/extend", post(sealed::extend))
        .route("/environments/list", post(sealed::environments))
        .route("/environments/log", post(sealed::environment_log))
        .route("/environments/remove", post(sealed::remove_environment))
        .route("/x402_environments/setup", sold(sealed::paid_set_up))
        .route("/x402_environments/execute", sold(sealed::paid_execute))
        .route("/x402_environments/evaluate", sold(sealed::paid_evaluate))
        .route("/x402_environments/fork", sold(sealed::paid_fork))
        .route("/x402_environments/extend", sold(sealed::paid_extend))
        .route("/search", post(agents::search))
        .route("/agent/deploy", post(sealed::deploy))
        .route("/agent/list", post(sealed::own_agents))
        .route("/agent/logs", post(sealed::agent_logs))
        .route("/agents", get(agents::list))
        .route(
            "/agents/{agent}",
            get(agents::show)
                .post(sealed::call_agent)
                .delete(sealed::remove_agent),
        )
        .fallback(catalogue::show)
        .method_not_allowed_fallback(async || problem::method_not_allowed());
    let routes = fleet::joins(routes);
    let fleet = host.fleet().map(|_| {
        let layer = axum::middleware::from_fn_with_state(Arc::clone(&host), fleet::layer);
        routes.clone().layer(layer)
    });
    fleet
        .unwrap_or(routes)
        .layer(axum::middleware::from_fn(request_id::layer))
        .with_state(host)
}

/// Answers requests: what goes to an agent is the agent's, from the method to the headers, and the router has no part in it.
/// As long as what this gives is there, agents of the host reach each other, and fronts the host.
pub fn service(
    host: &Arc<Host>,
) -> impl Fn(IpAddr, Request<Incoming>) -> Answering + Clone + Send + Sync + 'static {
    // Making it takes longer than most of what it answers.
    let api = Arc::new(router(Arc::clone(host)));
    let inside = Inside::new(Arc::downgrade(host), Arc::downgrade(&api));
    host.introduce_agents(Arc::new(inside));
    // Browsers are outside.
    let outside = Router::clone(&api).layer(cross_origin());
    let host = Arc::clone(host);
    move |address, mut request| {
        // Held for the fronts.
        let _ = &api;
        let peer = Peer::at(fleet::client(&host, address, &mut request));
        if let Some(refusal) = one_host::refusal(&request) {
            Box::pin(std::future::ready(refusal))
        } else if plain::is_for_an_agent(request.uri().path())
            || host.fronts().answer(request.uri().path())
        {
            Box::pin(plain::call(Arc::clone(&host), peer, Box::new(request)))
        } else {
            request.extensions_mut().insert(peer);
            let answered = outside.clone().oneshot(request);
            Box::pin(async { answered.await.unwrap_or_else(|never| match never {}) })
        }
    }
}

/// A request that is being answered.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
