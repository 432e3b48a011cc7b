//! From a client's request to its answer.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, HeaderName, HeaderValue, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hypervisor_client::agents::{Part, Reference, ServiceReply};
use hypervisor_client::protocol::{AgentWorld, Exit, Rejection};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, Sleep};

use super::call::{Caller, Calling, Command, Service, begin, of_command};
use super::gate::Gate;
use super::problem::Refusal;
use super::target::Target;
use super::{card, fields};

/// What goes to a client.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A payment of x402 version 2, and what a host says of its settlement.
const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static("payment-response");

pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Answers a request; where there is no answer, it says why.
pub(super) async fn answer(
    gate: &Gate,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let answered = try_answer(gate, caller, request).await;
    Ok(answered.unwrap_or_else(Refusal::response))
}

async fn try_answer(
    gate: &Gate,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let here = gate.check(request.uri(), request.headers())?;
    let is_upgrade = |protocol: &HeaderValue| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    if request.method() == Method::CONNECT
        || request.headers().get_all(UPGRADE).iter().any(is_upgrade)
    {
        return Err(Refusal::upgrade());
    }
    let target = Target::of(request.uri())?;
    let answered = call(caller, (here, &target), request).await;
    if let (Err(_), Some(agent)) = (&answered, &target.agent) {
        caller.worlds.forget(agent);
    }
    answered
}

async fn call(
    caller: &Caller,
    (here, target): (Authority, &Target),
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let slot = Arc::clone(&caller.slots).try_acquire_owned();
    let slot = slot.map_err(|_| Refusal::busy())?;
    let (mut head, body) = request.into_parts();
    let received = caller.room.receive(body).await?;
    // A host that has to prove something does it before anything is sent.
    caller.desk.session().await.map_err(Refusal::unopened)?;

    let mut sold = false;
    if let Some(agent) = &target.agent {
        let hint = caller.worlds.of(&caller.desk, agent).await;
        let hint = hint.map_err(Refusal::of_trouble)?;
        sold = hint.is_sold;
        if hint.world == AgentWorld::Command {
            let query = target.path.query().unwrap_or_default();
            let desk = Arc::clone(&caller.desk);
            let command = Command::new(desk, agent.clone(), query, received);
            let call = begin(Arc::clone(&caller.desk), command);
            let (execution, _) = in_time(caller.timeout, call).await?;
            return Ok(passed(of_command(execution)?, Some(agent)));
        }
    }
    let streams = caller.streams || accepts_events(&head.headers);
    fields::of_request(&mut head.headers);
    // What the host asks for is paid to the host, and none of the agent's business; what an agent takes itself is.
    let payment = match sold {
        true => head.headers.remove(PAYMENT_SIGNATURE),
        false => None,
    };
    let mut request = Request::new(received.bytes);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from(target.path.clone());
    *request.headers_mut() = head.headers;
    let (told, heard) = unbounded_channel();
    let agent = target.agent.clone();
    let service = Service {
        desk: Arc::clone(&caller.desk),
        agent: agent.clone().unwrap_or_else(Reference::of_fronts),
        request,
        payment,
        told: streams.then_some(told),
        _room: received.room,
    };
    let call = begin(Arc::clone(&caller.desk), service);
    let is_card = card::is_at(&head.method, target.path.path());
    let local = is_card.then_some(Local {
        here,
        path: target.path.path(),
        server: &caller.server,
    });
    let passing = Passing {
        agent: agent.as_ref(),
        local,
        timeout: caller.timeout,
    };
    passing.on(call, heard, slot).await
}

/// Whether a client reads an answer while it comes.
fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

async fn in_time<T>(timeout: Duration, call: Calling<T>) -> Result<T, Refusal> {
    match tokio::time::timeout(timeout, call).await {
        Ok(done) => done.map_err(Refusal::of_trouble),
        Err(_) => Err(Refusal::late(timeout)),
    }
}

/// A response that is here, for the client.
fn passed(response: Response<Vec<u8>>, agent: Option<&Reference>) -> Response<Body> {
    let mut response = response.map(|body| whole(body.into()));
    fields::of_response(response.headers_mut(), agent);
    response
}

/// Where a card was asked for.
struct Local<'a> {
    here: Authority,
    path: &'a str,
    server: &'a str,
}

/// How an answer is passed on.
struct Passing<'a> {
    agent: Option<&'a Reference>,
    /// For the card of an agent.
    local: Option<Local<'a>>,
    timeout: Duration,
}

impl Passing<'_> {
    /// The answer of a call, which goes on in the answer's body where that is passed on while it comes.
    async fn on(
        self,
        mut call: Calling<ServiceReply>,
        mut heard: UnboundedReceiver<Part>,
        slot: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Refusal> {
        let first = async {
            tokio::select! {
                biased;
                Some(Part::Head(head)) = heard.recv() => Ok(head),
                done = &mut call => Err(done),
            }
        };
        let first = tokio::time::timeout(self.timeout, first).await;
        match first.map_err(|_| Refusal::late(self.timeout))? {
            Ok(head) => {
                let rest = Rest {
                    heard,
                    state: State::Calling(call),
                    sent: 0,
                    due: Box::pin(tokio::time::sleep(self.timeout)),
                    timeout: self.timeout,
                    _slot: slot,
                };
                let mut response = head.map(|()| rest.boxed_unsync());
                fields::of_response(response.headers_mut(), self.agent);
                Ok(response)
            }
            Err(done) => self.whole(done.map_err(Refusal::of_trouble)?),
        }
    }

    fn whole(&self, reply: ServiceReply) -> Result<Response<Body>, Refusal> {
        let ServiceReply {
            answer, settlement, ..
        } = reply;
        let Some(mut response) = answer.response else {
            return Err(match (&answer.execution.report.exit, self.agent) {
                (
                    Exit::Rejected {
                        problem: Rejection::UnknownAgent,
                        ..
                    },
                    None,
                ) => Refusal::not_found("the host has nothing in its own name at this path"),
                (exit, _) => Refusal::of_exit(exit),
            });
        };
        if let Some(local) = &self.local
            && let Some(card) = card::at(response.body(), local.path, local.server, &local.here)
        {
            response.headers_mut().remove(CONTENT_LENGTH);
            *response.body_mut() = card;
        }
        if let Some(settlement) = settlement {
            response.headers_mut().insert(PAYMENT_RESPONSE, settlement);
        }
        let mut response = response.map(|body| {
            let trailers = Some(answer.trailers).filter(|it| !it.is_empty());
            let trailers = std::future::ready(trailers.map(Ok));
            let body = Full::new(Bytes::from(body)).with_trailers(trailers);
            body.map_err(|never: Infallible| match never {})
                .boxed_unsync()
        });
        fields::of_response(response.headers_mut(), self.agent);
        Ok(response)
    }
}

/// The rest of a response whose head went out. The call goes on while it is read and ends with it: a client that goes away drops it, and
/// one that reads slowly makes the host wait.
struct Rest {
    heard: UnboundedReceiver<Part>,
    state: State,
    /// Bytes of the body that went out.
    sent: usize,
    due: Pin<Box<Sleep>>,
    timeout: Duration,
    _slot: OwnedSemaphorePermit,
}

enum State {
    Calling(Calling<ServiceReply>),
    /// All of it was verified.
    Done(Box<ServiceReply>),
    Trailers(HeaderMap),
    End,
}

impl Rest {
    fn data(&mut self, bytes: Vec<u8>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.sent = self.sent.saturating_add(bytes.len());
        let due = Instant::now() + self.timeout;
        self.due.as_mut().reset(due);
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }

    fn broken(
        &mut self,
        why: &dyn std::fmt::Display,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.state = State::End;
        super::say(&format_args!("an answer broke off: {why}"));
        Poll::Ready(Some(Err(io::Error::other(why.to_string()))))
    }
}

impl hyper::body::Body for Rest {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        loop {
            // What was heard comes first. A head comes once.
            while let Poll::Ready(Some(part)) = this.heard.poll_recv(context) {
                if let Part::Body(bytes) = part {
                    return this.data(bytes);
                }
            }
            match &mut this.state {
                State::Calling(call) => match call.as_mut().poll(context) {
                    Poll::Ready(Ok(reply)) if reply.answer.response.is_some() => {
                        this.state = State::Done(Box::new(reply));
                    }
                    Poll::Ready(Ok(_)) => {
                        return this.broken(&"the agent did not finish its response");
                    }
                    Poll::Ready(Err(trouble)) => return this.broken(&trouble),
                    Poll::Pending => {
                        ready!(this.due.as_mut().poll(context));
                        let seconds = this.timeout.as_secs();
                        return this.broken(&format_args!("the host sent nothing for {seconds} s"));
                    }
                },
                State::Done(reply) => {
                    let trailers = std::mem::take(&mut reply.answer.trailers);
                    let body = reply.answer.response.take().map(Response::into_body);
                    let mut body = body.unwrap_or_default();
                    let rest = body.split_off(this.sent.min(body.len()));
                    this.state = State::Trailers(trailers);
                    if !rest.is_empty() {
                        return this.data(rest);
                    }
                }
                State::Trailers(trailers) => {
                    let trailers = std::mem::take(trailers);
                    this.state = State::End;
                    if !trailers.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
                State::End => return Poll::Ready(None),
            }
        }
    }
}
