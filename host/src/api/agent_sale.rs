//! Calls of agents that have a price.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::App;
use super::paid::{Sale, sell as sell_one, taking};
use super::problem::ApiError;
use super::route::Route;
use super::serve::{PREFIX, for_agent, reference_in};
use super::sold::{Plain, Sold};
use crate::agents::Deployed;
use crate::executor::{Chain, HttpBody};

/// Sells a plain call.
pub(super) async fn sell(
    app: Arc<App>,
    agent: Arc<Deployed>,
    request: http::Request<Incoming>,
) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let request = for_agent(request, reference_in(&path).len())?.map(Body::new);
    plain(app, agent, &path, request, Chain::default()).await
}

/// Sells a call by another agent of this host.
pub(super) async fn sell_inside(
    app: Arc<App>,
    agent: Arc<Deployed>,
    request: http::Request<HttpBody>,
    chain: Chain,
) -> Result<Response, ApiError> {
    let path = format!("{PREFIX}{}{}", agent.address(), request.uri().path());
    let request = request.map(|body| {
        Body::new(body.map_err(|_| std::io::Error::other("the caller did not finish its request")))
    });
    plain(app, agent, &path, request, chain).await
}

async fn plain(
    app: Arc<App>,
    agent: Arc<Deployed>,
    path: &str,
    request: Request,
    chain: Chain,
) -> Result<Response, ApiError> {
    let payments = taking(&app)?;
    let info = payments.resource(path, agent.description(), request.headers());
    let (head, body) = request.into_parts();
    let sale = Sale {
        info,
        offers: offers(&agent)?,
        sold: Sold::Plain(Box::new(Plain {
            agent,
            head: head.clone(),
            chain,
        })),
    };
    sell_one(app, sale, Request::from_parts(head, body)).await
}

/// Sells a sealed call.
pub(super) async fn sell_sealed(
    app: Arc<App>,
    route: Route,
    agent: Arc<Deployed>,
    request: Request,
) -> Result<Response, ApiError> {
    let payments = taking(&app)?;
    let sale = Sale {
        info: payments.resource(&route.path, agent.description(), request.headers()),
        offers: offers(&agent)?,
        sold: Sold::Sealed(route),
    };
    sell_one(app, sale, request).await
}

fn offers(agent: &Deployed) -> Result<Arc<[crate::executor::Offer]>, ApiError> {
    agent
        .offers()
        .map(Arc::clone)
        .ok_or_else(|| ApiError::internal("an agent without a price is for sale"))
}
