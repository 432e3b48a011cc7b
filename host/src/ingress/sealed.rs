//! Sealed requests: the routes that run something, and what owners ask of their agents.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::Method;
use hypervisor_protocol::{ContentFormat, Operation, RegistryRequest};

use super::catalogue;
use super::fields::insert;
use super::form::{answer, format_of, in_format, input};
use super::inside::Within;
use super::{peer_of, stream};
use crate::executor::Chain;
use crate::payments;
use crate::pipeline::manage::Registered;
use crate::pipeline::sealed::{Live, Sealed};
use crate::pipeline::{Call, Host, Input, Refusal, Route, Sale, Target, route};
use crate::snapshot::Snapshot;

/// Makes a handler of a route.
macro_rules! routes {
    ($($(#[$doc:meta])* $name:ident = $route:expr;)*) => {
        $($(#[$doc])* pub(super) async fn $name(
            State(host): State<Arc<Host>>,
            request: Request,
        ) -> Result<Response, Refusal> {
            serve(&host, $route, request).await
        })*
    };
}

routes! {
    /// `POST /test/execute/wasm`.
    wasm = route::WASM;
    /// `POST /test/policy/unsafe/python`.
    python = route::PYTHON;
    /// `POST /test/policy/unsafe/python/attest`.
    attested_python = route::ATTESTED_PYTHON;
    /// `POST /test/policy/unsafe/javascript`.
    javascript = route::JAVASCRIPT;
    /// `POST /test/policy/unsafe/javascript/attest`.
    attested_javascript = route::ATTESTED_JAVASCRIPT;
    /// `POST /x402_execute/test/wasm`.
    paid_wasm = route::PAID_WASM;
    /// `POST /x402_execute/verifiable/wasm`.
    paid_attested_wasm = route::PAID_ATTESTED_WASM;
    /// `POST /x402_policy/unsafe/python`.
    paid_python = route::PAID_PYTHON;
    /// `POST /x402_policy/unsafe/python/attest`.
    paid_attested_python = route::PAID_ATTESTED_PYTHON;
    /// `POST /x402_policy/unsafe/javascript`.
    paid_javascript = route::PAID_JAVASCRIPT;
    /// `POST /x402_policy/unsafe/javascript/attest`.
    paid_attested_javascript = route::PAID_ATTESTED_JAVASCRIPT;
    /// `POST /environments/setup`.
    set_up = route::SETUP;
    /// `POST /environments/execute`: a call of a handler.
    execute = route::EXECUTE;
    /// `POST /environments/evaluate`: a turn.
    evaluate = route::EVALUATE;
    /// `POST /environments/fork`.
    fork = route::FORK;
    /// `POST /environments/extend`.
    extend = route::EXTEND;
    /// `POST /environments/list`: the environments of one owner.
    environments = route::ENVIRONMENT_LIST;
    /// `POST /environments/log`: what was done with an environment, for its owner.
    environment_log = route::ENVIRONMENT_LOG;
    /// `POST /environments/remove`.
    remove_environment = route::ENVIRONMENT_REMOVE;
    /// `POST /x402_environments/setup`.
    paid_set_up = route::PAID_SETUP;
    /// `POST /x402_environments/execute`.
    paid_execute = route::PAID_EXECUTE;
    /// `POST /x402_environments/evaluate`.
    paid_evaluate = route::PAID_EVALUATE;
    /// `POST /x402_environments/fork`.
    paid_fork = route::PAID_FORK;
    /// `POST /x402_environments/extend`.
    paid_extend = route::PAID_EXTEND;
    /// `POST /agent/list`: the agents of one owner.
    own_agents = route::LIST;
    /// `POST /agent/logs`: what an agent wrote, for its owner.
    agent_logs = route::LOGS;
}

/// Serves a route with a fixed path.
async fn serve(host: &Arc<Host>, route: Route, request: Request) -> Result<Response, Refusal> {
    let (snapshot, chain) = entered(host, &request);
    let sale = if route.is_paid() {
        let payments = host.payments().ok_or_else(Refusal::takes_no_payments)?;
        let teller = snapshot.teller.as_ref();
        let teller = teller.ok_or_else(Refusal::takes_no_payments)?;
        let format = format_of(&request).unwrap_or(ContentFormat::Json);
        Some(Sale {
            info: catalogue::execution(payments, teller, &route, (request.headers(), format)),
            tariffs: teller.tariffs_of(&route.path).cloned(),
            budget: None,
            offers: teller.offers_of(&route.path).await?,
            // What has no body is told what it costs, whatever it brings.
            headers: match *request.method() {
                Method::POST => payments::headers(request.headers()),
                _ => Vec::new(),
            },
        })
    } else {
        host.gives_away(&route)?;
        None
    };
    let way = sealed(route, None, &request)?;
    run(host, (snapshot, chain), (way, sale), request).await
}

/// How a request entered: from outside, or from what answers in the host's own name.
fn entered(host: &Host, request: &Request) -> (Arc<Snapshot>, Chain) {
    match request.extensions().get::<Within>() {
        Some(Within(chain)) => (
            chain.moment().unwrap_or_else(|| host.snapshot()),
            chain.clone(),
        ),
        None => {
            let snapshot = host.snapshot();
            (snapshot.clone(), Chain::entering(snapshot))
        }
    }
}

/// `POST /agents/{agent}`: a sealed call.
pub(super) async fn call_agent(
    State(host): State<Arc<Host>>,
    Path(reference): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let route = Route::of_agent(&reference);
    // A private agent is found later, by its owner.
    let target = match host.agents().find(&reference, None) {
        Some(agent) => Some(Target::new(&host, agent).await),
        None => None,
    };
    let (snapshot, chain) = entered(&host, &request);
    let sale = match &target {
        Some(target) => {
            let asked = (request.method(), request.headers());
            Sale::of_agent(
                &host,
                &snapshot,
                &target.agent,
                &route.path,
                asked,
                format_of(&request).ok(),
            )
            .await?
        }
        None => None,
    };
    let way = sealed(route, target, &request)?;
    run(&host, (snapshot, chain), (way, sale), request).await
}

/// `DELETE /agents/{agent}`: a sealed request of its owner's.
pub(super) async fn remove_agent(
    State(host): State<Arc<Host>>,
    Path(reference): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let route = Route {
        operation: Operation::Remove,
        ..Route::of_agent(&reference)
    };
    let way = sealed(route, None, &request)?;
    run(&host, entered(&host, &request), (way, None), request).await
}

/// `POST /agent/deploy`: a sealed component of the client's own, or an agent of the registry by name.
pub(super) async fn deploy(
    State(host): State<Arc<Host>>,
    request: Request,
) -> Result<Response, Refusal> {
    let format = format_of(&request)?;
    let party = host.account().party(&peer_of(&request));
    let (snapshot, chain) = entered(&host, &request);
    let received = host.bodies().receive(&party, input(request)).await?;
    if let Some(RegistryRequest { agent }) = received.peek(format) {
        let call = Call {
            way: Registered { name: agent },
            snapshot,
            party,
            chain,
            sale: None,
        };
        let (deployed, _) = host
            .answer(Box::new(call), Input::Received(received))
            .await?;
        return answer(format, &deployed);
    }
    let call = Call {
        way: Sealed {
            route: route::DEPLOY,
            format,
            target: None,
            live: None,
        },
        snapshot,
        party,
        chain,
        sale: None,
    };
    finish(&host, call, Input::Received(received)).await
}

fn sealed(route: Route, target: Option<Target>, request: &Request) -> Result<Sealed, Refusal> {
    Ok(Sealed {
        route,
        // Where there is something to pay, the challenge comes before what is wrong with the form.
        format: format_of(request)?,
        target,
        live: None,
    })
}

async fn run(
    host: &Arc<Host>,
    (snapshot, chain): (Arc<Snapshot>, Chain),
    (way, sale): (Sealed, Option<Sale>),
    request: Request,
) -> Result<Response, Refusal> {
    way.serves(host)?;
    let (live, parts) = match stream::is_wanted(&request) {
        true => {
            let (live, parts) = Live::new();
            (Some(live), Some(parts))
        }
        false => (None, None),
    };
    let call = Call {
        way: Sealed { live, ..way },
        party: host.account().party(&peer_of(&request)),
        chain,
        snapshot,
        sale,
    };
    let input = input(request);
    match parts {
        Some(parts) => stream::answer(host, call, input, parts).await,
        None => finish(host, call, input).await,
    }
}

async fn finish(host: &Arc<Host>, call: Call<Sealed>, input: Input) -> Result<Response, Refusal> {
    let (answer, fields) = host.answer(Box::new(call), input).await?;
    let (body, format) = answer
        .into_body()
        .map_err(|refusal| refusal.with_fields(fields.clone()))?;
    let mut response = in_format(format, body);
    insert(&mut response, fields);
    Ok(response)
}
