//! Sealed answers whose output goes out as it is written: the parts that the pipeline gives before the answer, then the answer.
//!
//! The response begins with the first part, so that what is refused before it has its own status. The pipeline is a task of its own, so that
//! a caller who reads slowly does not hold a run up; it ends where the caller goes away, but for what is paid.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::{Body, Frame};
use hypervisor_protocol::stream::MEDIA_TYPE;
use hypervisor_telemetry as telemetry;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::fields::insert;
use super::problem::late;
use crate::pipeline::sealed::{Answer, Part, Parts, Sealed};
use crate::pipeline::{Call, Fields, Host, Input, Refusal};

/// What the pipeline gives.
type Answered = Result<(Answer, Fields), Refusal>;

/// The pipeline at work; dropped, it ends.
struct Answering(JoinHandle<Answered>);

impl Future for Answering {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let lost = |_| Err(Refusal::internal("a streamed request was lost"));
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answered| answered.unwrap_or_else(lost))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a client asks for output as it is written.
pub(super) fn is_wanted(request: &Request) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT).iter();
    let mut ranges = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.any(|range| {
        let essence = range.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(MEDIA_TYPE)
    })
}

/// Answers with a sequence, whether or not something is written before the answer.
pub(super) async fn answer(
    host: &Arc<Host>,
    call: Call<Sealed>,
    input: Input,
    mut parts: Parts,
) -> Result<Response, Refusal> {
    let id = telemetry::request().unwrap_or_default();
    let mut answering = Answering({
        let host = Arc::clone(host);
        let work = async move { host.answer(Box::new(call), input).await };
        tokio::spawn(telemetry::carried(async move {
            work.await
                .inspect_err(|refusal| telemetry::failed(refusal.name()))
        }))
    });
    let Part { fields, item } = tokio::select! {
        biased;
        Some(part) = parts.recv() => part,
        answered = &mut answering => {
            let (answer, fields) = answered?;
            let item = answer.into_last_item(false);
            let item = item.map_err(|refusal| refusal.with_fields(fields.clone()))?;
            return Ok(response(axum::body::Body::from(item), fields));
        }
    };
    let body = Streamed {
        next: Some(item),
        parts,
        answering: Some(answering),
        last: None,
        id,
    };
    Ok(response(axum::body::Body::new(body), fields))
}

fn response(body: axum::body::Body, fields: Fields) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    insert(&mut response, fields);
    response
}

/// The body of an answer that has begun.
struct Streamed {
    /// The item that goes out next.
    next: Option<Bytes>,
    parts: Parts,
    /// Until it has answered.
    answering: Option<Answering>,
    /// The last item, behind the parts that are on their way.
    last: Option<Bytes>,
    id: Uuid,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Some(item) = this.next.take() {
            return Poll::Ready(Some(Ok(Frame::data(item))));
        }
        loop {
            if let Poll::Ready(Some(part)) = this.parts.poll_recv(cx) {
                return Poll::Ready(Some(Ok(Frame::data(part.item))));
            }
            let Some(answering) = &mut this.answering else {
                let last = this.last.take();
                return Poll::Ready(last.map(|item| Ok(Frame::data(item))));
            };
            let Poll::Ready(answered) = Pin::new(answering).poll(cx) else {
                return Poll::Pending;
            };
            // It may have written just before it answered: parts go first.
            this.answering = None;
            let item = answered.and_then(|(answer, _)| answer.into_last_item(true));
            this.last = Some(item.unwrap_or_else(|refusal| {
                let mut buffer = Uuid::encode_buffer();
                late(refusal, this.id.simple().encode_lower(&mut buffer)).into()
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
            && self.answering.is_none()
            && self.last.is_none()
            && self.parts.is_empty()
    }
}
