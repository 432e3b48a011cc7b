//! The HTTP side.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::fault::{Fault, Reply, yes};
use super::{Call, Shared};

type Body = http_body_util::combinators::BoxBody<Bytes, BrokenOff>;

/// Ends a connection before its answer is complete.
#[derive(Debug)]
struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl std::error::Error for BrokenOff {}

/// Serves until dropped; with it end all connections.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            // Fails where it is meant to, and where the other side goes away.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, BrokenOff> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| BrokenOff)?.to_bytes();
    let path = head.uri.path().to_owned();
    let call = match (&head.method, path.as_str()) {
        (&Method::POST, "/verify") => Call::Verify,
        (&Method::POST, "/settle") => Call::Settle,
        _ => return Ok(other(&shared, &path).await),
    };
    let question = serde_json::from_slice(&body).unwrap_or_default();
    let fault = shared.arrived(call, question);
    // A task of its own: a caller that goes away does not stop the work.
    tokio::spawn(perform(shared, call, fault, body))
        .await
        .unwrap()
}

async fn perform(
    shared: Arc<Shared>,
    call: Call,
    fault: Fault,
    body: Bytes,
) -> Result<Response<Body>, BrokenOff> {
    let (status, honest) = honest_answer(&shared, call, fault.idle, body).await;
    if !fault.late.is_zero() {
        tokio::time::sleep(fault.late).await;
    }
    if fault.held {
        shared.counts.send_modify(|counts| counts.held += 1);
        shared.gate().await;
    }
    let (status, bytes) = fault.reply.body(status, honest);
    let length = bytes.len();
    let body = match fault.reply {
        Reply::Dropped => return Err(BrokenOff),
        Reply::CutOff => halves(bytes, async { Err(BrokenOff) }),
        Reply::Trickled => halves(bytes, async move {
            shared.gate().await;
            Ok(())
        }),
        _ => whole(bytes),
    };
    let kind = match fault.reply.is_html() {
        true => "text/html",
        false => "application/json",
    };
    Ok(Response::builder()
        .status(status)
        .header("content-type", kind)
        .header("content-length", length)
        .body(body)
        .unwrap())
}

/// The real facilitator's answer, or a made-up yes.
async fn honest_answer(shared: &Shared, call: Call, idle: bool, body: Bytes) -> (u16, Value) {
    let (Some(real), false) = (&shared.real, idle) else {
        let question = serde_json::from_slice(&body).unwrap_or_default();
        return (200, yes(call, &question));
    };
    let path = match call {
        Call::Verify => "verify",
        Call::Settle => "settle",
    };
    let url = format!("{real}/{path}");
    let answer = crate::raw::post(&shared.http, &url, "application/json", body.to_vec()).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// Anything but a payment: passed on as it is.
async fn other(shared: &Shared, path: &str) -> Response<Body> {
    let (status, bytes) = match &shared.real {
        Some(real) => {
            let answer = shared
                .http
                .get(format!("{real}{path}"))
                .send()
                .await
                .unwrap();
            (
                answer.status().as_u16(),
                answer.bytes().await.unwrap().to_vec(),
            )
        }
        None if path == "/supported" => {
            let kinds = br#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"},{"x402Version":1,"scheme":"exact","network":"base-sepolia"}],"extensions":[],"signers":{}}"#;
            (200, kinds.to_vec())
        }
        None => (404, b"{}".to_vec()),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(whole(bytes))
        .unwrap()
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes))
        .map_err(|never: Infallible| match never {})
        .boxed()
}

/// The first half, then the second half or the end of the connection, when `between` is over.
fn halves(
    mut bytes: Vec<u8>,
    between: impl Future<Output = Result<(), BrokenOff>> + Send + Sync + 'static,
) -> Body {
    let rest = Bytes::from(bytes.split_off(bytes.len() / 2));
    let rest = async move {
        // What is written already goes out whenever a body has nothing to give.
        tokio::task::yield_now().await;
        between.await.map(|()| rest)
    };
    Halves {
        first: Some(bytes.into()),
        rest: Some(Box::pin(rest)),
    }
    .boxed()
}

type Rest = Pin<Box<dyn Future<Output = Result<Bytes, BrokenOff>> + Send + Sync>>;

/// A body in two parts; whether and when the second comes is decided later.
struct Halves {
    first: Option<Bytes>,
    rest: Option<Rest>,
}

impl hyper::body::Body for Halves {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let rest = ready!(rest.as_mut().poll(context));
        self.rest = None;
        Poll::Ready(Some(rest.map(Frame::data)))
    }
}
