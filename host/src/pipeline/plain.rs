//! The way of plain HTTP to an agent, from outside or from another agent.
//!
//! A free call streams both ways. A call that is paid for is received whole and answered whole, because its answer is released
//! when it is settled; so is a call to a command, whose input is its standard input.

mod command;
mod head;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Collected, Either, Full, LengthLimitError, Limited};
use hypervisor_account::{Party, Slot};
use hypervisor_protocol::{HexBytes, LimitKind, PaymentReceipt, ProblemType};

use super::authorize::{invocation, permit};
use super::work::Until;
use super::{Call, Host, Input, Kept, Refusal, Target, Way, bhttp};
use crate::agents::{Deployed, declared_length};
use crate::executor::{Action, Agent, Charge, Exit, HttpBody, NoResponse, ServiceBody};

pub(crate) use head::{
    CALLER, FORWARDED_PREFIX, TRACE_CONTEXT, for_agent, reference_in, refuse_upgrade, without,
};

/// Trailers that wait for the end of a body.
type Trailers = http::HeaderMap;

/// A plain request to an agent.
pub(crate) struct Plain {
    pub(crate) target: Target,
    /// The agent that calls, where one does.
    pub(crate) caller: Option<Arc<Deployed>>,
    /// The head as the agent sees it.
    pub(crate) head: Parts,
}

/// The body of a request.
pub(crate) enum Body {
    /// In the account until it is gone.
    Whole(Bytes),
    Stream(HttpBody),
}

/// A request that may run.
pub(crate) struct Permitted {
    agent: Agent,
    body: Body,
}

/// A response.
pub(crate) enum Ran {
    /// Its body is still written.
    Streaming(Response<ServiceBody>),
    Whole(Response<Bytes>, Trailers),
}

impl Plain {
    /// The request, whose head nobody else needs any more.
    fn request<B>(&mut self, body: B) -> http::Request<B> {
        let (none, ()) = http::Request::default().into_parts();
        http::Request::from_parts(std::mem::replace(&mut self.head, none), body)
    }
}

impl Way for Plain {
    type Received = Body;
    type Opened = Body;
    type Ready = Permitted;
    type Ran = Ran;
    type Answer = Ran;

    async fn receive(call: &Call<Self>, host: &Host, input: Input) -> Result<Body, Refusal> {
        match input {
            Input::Body { body, .. }
                if call.sale.is_none() && !call.way.target.agent.terms.is_command() =>
            {
                Ok(Body::Stream(body))
            }
            input => {
                let received = Box::pin(host.bodies().receive(&call.party, input)).await?;
                Ok(Body::Whole(received.into_bytes()))
            }
        }
    }

    fn fingerprint(call: &Call<Self>, received: &Body) -> [u8; 32] {
        let Plain { target, head, .. } = &call.way;
        let target = format!(
            "{} {} {}",
            head.method, target.agent.terms.address, head.uri
        );
        let empty = Bytes::new();
        let body = match received {
            Body::Whole(body) => body,
            Body::Stream(_) => &empty,
        };
        super::body::fingerprint(&target, "application/json", body)
    }

    fn route(call: &Call<Self>) -> (String, bool) {
        (call.way.target.agent.terms.address.to_string(), false)
    }

    fn open(_: &Call<Self>, _: &Host, received: Body) -> Result<Body, Refusal> {
        Ok(received)
    }

    async fn authorize(
        call: &Call<Self>,
        host: &Host,
        body: Body,
        charge: Option<Charge>,
    ) -> Result<Permitted, Refusal> {
        let Plain {
            target,
            caller,
            head,
        } = &call.way;
        let asked = || Action {
            calling_agent: caller.as_ref().map(|caller| caller.terms.id()),
            method: Some(head.method.as_str().to_owned()),
            input_bytes: declared_length(&head.headers).unwrap_or(0),
            ..invocation(host, &target.agent, head.uri.path(), charge)
        };
        permit(host, &call.snapshot, asked).await?;
        Ok(Permitted {
            agent: target.ready(host).await?,
            body,
        })
    }

    fn will_run(_: &Permitted) -> bool {
        true
    }

    async fn run(
        call: &mut Call<Self>,
        host: &Arc<Host>,
        ready: Permitted,
        slot: Slot,
    ) -> Result<Ran, Refusal> {
        let chain = std::mem::take(&mut call.chain);
        let way = &mut call.way;
        let response = match (ready.agent, ready.body) {
            (Agent::Command(command), Body::Whole(body)) => {
                let _slot = slot;
                return Box::pin(command::run(call, host, &command, body, chain)).await;
            }
            (Agent::Command(_), Body::Stream(_)) => {
                return Err(Refusal::internal("a command whose input is not whole"));
            }
            (Agent::Service(service), Body::Whole(body)) => {
                let request = way.request(Full::new(body));
                Box::pin(service.call(request, false, chain, Until { _slot: slot })).await
            }
            (Agent::Service(service), Body::Stream(body)) => {
                service
                    .call(way.request(body), false, chain, Until { _slot: slot })
                    .await
            }
        };
        let response = response.map_err(|none| match none {
            NoResponse::Ended(exit) => ended(exit),
            NoResponse::NoHost => Refusal::malformed(none.to_string()),
            NoResponse::NeverSet | NoResponse::Error => {
                Refusal::new(ProblemType::AgentFailed, none.to_string())
            }
        })?;
        if call.sale.is_none() {
            return Ok(Ran::Streaming(response));
        }
        Box::pin(collected(&way.target.agent, response)).await
    }

    fn is_charged(_: &Call<Self>, ran: &Ran, _: bool) -> bool {
        is_charged(match ran {
            Ran::Streaming(response) => response.status(),
            Ran::Whole(response, _) => response.status(),
        })
    }

    fn seal(
        _: &Call<Self>,
        _: &Host,
        ran: Ran,
        _: Option<&PaymentReceipt>,
    ) -> Result<Ran, Refusal> {
        Ok(ran)
    }

    fn keep(answer: &Ran) -> Result<Kept, Refusal> {
        let unkept = || Refusal::internal("a response that cannot be kept");
        let Ran::Whole(response, trailers) = answer else {
            return Err(unkept());
        };
        Ok(Kept {
            media_type: bhttp::MEDIA_TYPE.to_owned(),
            body: HexBytes(bhttp::encode(response, trailers).ok_or_else(unkept)?),
        })
    }

    fn recall(_: &Call<Self>, kept: Kept) -> Result<Ran, Refusal> {
        bhttp::decode_response(&kept.body.0)
            .map(|(response, trailers)| Ran::Whole(response, trailers))
            .ok_or_else(|| Refusal::internal("an answer that was kept is damaged"))
    }

    async fn attest(_: &Call<Self>, _: &Host, answer: Ran) -> Result<Ran, Refusal> {
        Ok(answer)
    }
}

impl Ran {
    /// The response. A body that is whole is in the account of the `party` until it is sent.
    pub(crate) fn into_response(
        self,
        party: impl FnOnce() -> Party,
    ) -> Result<Response<Either<ServiceBody, bhttp::Whole>>, Refusal> {
        match self {
            Self::Streaming(response) => Ok(response.map(Either::Left)),
            Self::Whole(response, trailers) => {
                let (head, body) = response.into_parts();
                let body = party().hold(body.into())?;
                let body = bhttp::whole(body, trailers);
                Ok(Response::from_parts(head, Either::Right(body)))
            }
        }
    }
}

/// Reads the whole response: it is released when it is paid for.
async fn collected<B>(agent: &Deployed, response: Response<B>) -> Result<Ran, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limit = agent.terms.limits.output;
    let (head, body) = response.into_parts();
    let collected = whole(body, limit).await.map_err(|unread| match unread {
        Unread::TooLong => Refusal::agent_limit(LimitKind::Output, limit.saturating_add(1), limit),
        Unread::Unfinished => Refusal::new(
            ProblemType::AgentFailed,
            "the agent did not finish its response",
        ),
    })?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let response = Response::from_parts(head, collected.to_bytes());
    Ok(Ran::Whole(response, trailers))
}

/// Why a response could not be read to its end.
pub(super) enum Unread {
    /// It has more bytes than the limit.
    TooLong,
    /// The agent did not finish it.
    Unfinished,
}

/// Reads the whole body of a response, `limit` bytes at most.
pub(super) async fn whole<B>(body: B, limit: u64) -> Result<Collected<Bytes>, Unread>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let collected = Limited::new(body, most).collect().await;
    collected.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Unread::TooLong
        } else {
            Unread::Unfinished
        }
    })
}

/// Gives each part of the body of a response to `part`, `limit` bytes at most; then its trailers.
pub(super) async fn each<B>(
    body: B,
    limit: u64,
    mut part: impl FnMut(&Bytes),
) -> Result<Option<Trailers>, Unread>
where
    B: http_body::Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut left = limit;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Unread::Unfinished)?.into_data() {
            Ok(data) => {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                left = left.checked_sub(length).ok_or(Unread::TooLong)?;
                part(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(trailers)
}

/// Whether an answer is to be paid for. As servers of x402 do, one that is an error is not charged.
pub(super) fn is_charged(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Why an agent did not answer. What it said itself is for its owner's eyes: it is in the agent's log.
pub(super) fn ended(exit: Exit) -> Refusal {
    match exit {
        Exit::Limit {
            which,
            used,
            allowed,
        } => Refusal::agent_limit(which, used, allowed),
        _ => Refusal::new(
            ProblemType::AgentFailed,
            "the agent trapped; its owner finds the reason in its log",
        ),
    }
}
