//! What is sold here, for those who look for something to buy: the payment component writes it, at paths that it names.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use hypervisor_account::Peer;
use hypervisor_protocol::ContentFormat;

use super::{peer_of, problem};
use crate::agents::PREFIX;
use crate::executor::{Item, ResourceInfo};
use crate::payments::{Payments, Teller};
use crate::pipeline::sealed::Sealed;
use crate::pipeline::{Host, Refusal, Route, route};

/// What executions are.
const EXECUTION: &str =
    "A sealed execution in a confidential host; GET /openapi.json describes request and answer";
/// What the host itself sells.
const EXECUTIONS: [Route; 11] = [
    route::PAID_WASM,
    route::PAID_ATTESTED_WASM,
    route::PAID_PYTHON,
    route::PAID_ATTESTED_PYTHON,
    route::PAID_JAVASCRIPT,
    route::PAID_ATTESTED_JAVASCRIPT,
    route::PAID_SETUP,
    route::PAID_EXECUTE,
    route::PAID_EVALUATE,
    route::PAID_FORK,
    route::PAID_EXTEND,
];
/// Agents in the catalogue: those beyond are sold, and not listed.
const MOST_AGENTS: usize = 990;
/// Bytes of a page.
const LONGEST: usize = 4 << 20;

/// What an execution is, as it is sold.
pub(super) fn execution(
    payments: &Payments,
    teller: &Teller,
    route: &Route,
    (headers, format): (&HeaderMap, ContentFormat),
) -> ResourceInfo {
    let by_use = (teller.tariffs_of(&route.path))
        .map(|it| format!("{EXECUTION}; by use, up to the price: {}", it.words()));
    let description = by_use.as_deref().unwrap_or(EXECUTION);
    let what = (description, Some(format.media_type()));
    let mut metadata = teller.metadata(Method::POST.as_str(), None);
    if let (Some(told), Some(tariffs)) = (&mut metadata, teller.tariffs_of(&route.path)) {
        told["metered"] = tariffs.listed();
    }
    payments.resource(&route.path, headers, what, metadata)
}

/// What no route serves: a page of the catalogue, or nothing.
pub(super) async fn show(
    State(host): State<Arc<Host>>,
    request: Request,
) -> Result<Response, Refusal> {
    let peer = peer_of(&request);
    let (head, _) = request.into_parts();
    let snapshot = host.snapshot();
    let selling = snapshot.teller.as_ref().zip(host.payments());
    match selling.filter(|(teller, _)| teller.has_catalogue_at(head.uri.path())) {
        None => Err(problem::not_found()),
        Some(_) if !matches!(head.method, Method::GET | Method::HEAD) => {
            Err(problem::method_not_allowed())
        }
        Some(selling) => page(&host, selling, &head, &peer).await,
    }
}

async fn page(
    host: &Host,
    (teller, payments): (&Teller, &Payments),
    head: &Parts,
    peer: &Peer,
) -> Result<Response, Refusal> {
    let _turn = host.account().plugin().await?;
    let items = items(host, teller, payments, &head.headers).await?;
    let query = head.uri.query().unwrap_or_default();
    let page = teller.page((head.uri.path(), query), &items).await?;
    let unusable = || Refusal::internal("the payment component's catalogue cannot be sent");
    let media_type = HeaderValue::try_from(page.media_type).map_err(|_| unusable())?;
    if page.body.len() > LONGEST {
        return Err(unusable());
    }
    let mut response = Response::new(Body::from(host.account().party(peer).hold(page.body)?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    let everybody = HeaderValue::from_static("public, max-age=60");
    headers.insert(header::CACHE_CONTROL, everybody);
    Ok(response)
}

/// All that everybody may buy: the host's own executions, as far as it can serve them, and public agents.
async fn items(
    host: &Host,
    teller: &Teller,
    payments: &Payments,
    headers: &HeaderMap,
) -> Result<Vec<Item>, Refusal> {
    let mut items = Vec::new();
    for route in EXECUTIONS {
        let offers = teller.offers_of(&route.path).await?.to_vec();
        let format = ContentFormat::Json;
        let info = execution(payments, teller, &route, (headers, format));
        let way = Sealed {
            route,
            format,
            target: None,
            live: None,
        };
        if way.serves(host).is_ok() {
            items.push(Item {
                info,
                offers,
                updated: 0,
            });
        }
    }
    for (reference, agent) in host.agents().sold().into_iter().take(MOST_AGENTS) {
        let manifest = &agent.terms.manifest;
        let price = manifest.price.as_deref().unwrap_or_default();
        // A component that was put in place of another may not take it any more.
        let Ok(offers) = teller.offers_now(price, manifest.pay_to.as_deref()).await else {
            continue;
        };
        let method = match agent.terms.is_command() {
            true => Method::POST,
            false => Method::GET,
        };
        let metadata = teller.metadata(method.as_str(), Some(&agent));
        let what = (
            manifest.description.as_str(),
            manifest.media_type.as_deref(),
        );
        items.push(Item {
            info: payments.resource(&format!("{PREFIX}{reference}/"), headers, what, metadata),
            offers: offers.to_vec(),
            updated: agent.deployed_at / 1_000_000,
        });
    }
    Ok(items)
}
