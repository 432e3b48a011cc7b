//! What can be sold: a sealed request, or a plain one to an agent. Both are begun, run and answered in the same steps.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use http_body_util::Full;
use hypervisor_protocol::{ContentFormat, LimitKind, PaymentReceipt};
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::binary_http;
use super::body::{Received, Share, heavy};
use super::execute::{Admitted, Ran, open};
use super::moment::Moment;
use super::problem::ApiError;
use super::request::{Decoded, decode};
use super::route::Route;
use super::serve::{Unread, is_charged, pass, permitted, question, whole};
use crate::agents::Deployed;
use crate::executor::{Chain, Charge};
use crate::payments::Answer;

/// What is sold.
pub(super) enum Sold {
    /// A sealed request.
    Sealed(Route),
    /// A plain request to an agent.
    Plain(Box<Plain>),
}

/// A plain request to an agent, its body still to come.
pub(super) struct Plain {
    pub(super) agent: Arc<Deployed>,
    /// The head as the agent sees it.
    pub(super) head: Parts,
    pub(super) chain: Chain,
}

impl Sold {
    /// Receives the body.
    pub(super) async fn receive(&self, app: &App, request: Request) -> Result<Received, ApiError> {
        match self {
            Self::Sealed(_) => app.bodies.receive(request).await,
            Self::Plain(_) => app.bodies.receive_any(request).await,
        }
    }

    /// What the body goes to. A payment is for one target and one body.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Sealed(route) => route.path.clone().into_owned(),
            Self::Plain(plain) => format!(
                "{} {} {}",
                plain.head.method,
                plain.agent.address(),
                plain.head.uri
            ),
        }
    }

    /// A slot for the work. Whoever was called by an agent must not wait for one: that agent holds one already.
    pub(super) async fn enter(&self, app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
        match self {
            Self::Plain(plain) if !plain.chain.is_empty() => {
                app.admission.try_enter().ok_or_else(ApiError::overloaded)
            }
            _ => app.admission.enter().await,
        }
    }
}

/// Work that was paid for, or may be.
pub(super) enum Task {
    Sealed {
        admitted: Box<Admitted>,
        format: ContentFormat,
        share: Share,
    },
    Plain {
        agent: Arc<Deployed>,
        request: Box<http::Request<Full<Bytes>>>,
        chain: Chain,
        share: Share,
    },
}

/// Work that was done.
pub(super) enum Finished {
    Sealed {
        ran: Box<Ran>,
        format: ContentFormat,
    },
    Plain(Box<(http::Response<Bytes>, HeaderMap)>),
}

impl Task {
    /// Makes the work ready and has the policy look at it.
    pub(super) async fn begin(
        app: &App,
        sold: &Sold,
        received: Received,
        moment: Moment,
        charge: Charge,
    ) -> Result<Self, ApiError> {
        match sold {
            Sold::Sealed(route) => {
                let Decoded {
                    call,
                    request,
                    format,
                    share,
                } = decode(app, route, received)?;
                let opened = open(app, call, request, moment).await?;
                Ok(Self::Sealed {
                    admitted: Box::new(opened.admit(Some(charge)).await?),
                    format,
                    share,
                })
            }
            Sold::Plain(plain) => {
                let Plain { agent, head, chain } = plain.as_ref();
                let (body, share) = received.into_bytes();
                let request = http::Request::from_parts(head.clone(), Full::new(body));
                permitted(question(app, agent, &request, Some(charge))).await?;
                Ok(Self::Plain {
                    agent: Arc::clone(agent),
                    request: Box::new(request),
                    chain: chain.clone(),
                    share,
                })
            }
        }
    }

    /// Whether there is something to run.
    pub(super) fn will_run(&self) -> bool {
        match self {
            Self::Sealed { admitted, .. } => admitted.will_run(),
            Self::Plain { .. } => true,
        }
    }

    pub(super) async fn run(self, app: &App) -> Result<Finished, ApiError> {
        match self {
            Self::Sealed {
                admitted,
                format,
                share: _share,
            } => {
                let ran = Box::new(admitted.run(app).await);
                Ok(Finished::Sealed { ran, format })
            }
            Self::Plain {
                agent,
                request,
                chain,
                share: _share,
            } => {
                let response = pass(app, &agent, *request, chain, ()).await?;
                finished(&agent, response).await
            }
        }
    }
}

/// Reads the whole response: it is released when it is paid for.
async fn finished(agent: &Deployed, response: Response) -> Result<Finished, ApiError> {
    let limit = agent.output_limit();
    let (head, body) = response.into_parts();
    let collected = whole(body, limit).await.map_err(|unread| match unread {
        Unread::TooLong => ApiError::agent_limit(LimitKind::Output, limit.saturating_add(1), limit),
        Unread::Unfinished => ApiError::new(
            hypervisor_protocol::ProblemType::AgentFailed,
            "the agent did not finish its response",
        ),
    })?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let response = http::Response::from_parts(head, collected.to_bytes());
    Ok(Finished::Plain(Box::new((response, trailers))))
}

impl Finished {
    /// Whether it is to be paid for.
    pub(super) fn is_charged(&self) -> bool {
        match self {
            Self::Sealed { ran, .. } => ran.is_charged(),
            Self::Plain(answer) => is_charged(answer.0.status()),
        }
    }

    /// The answer in the form in which it is kept.
    pub(super) fn answer(
        self,
        app: &App,
        receipt: Option<&PaymentReceipt>,
    ) -> Result<Answer, ApiError> {
        match self {
            Self::Sealed { ran, format } => {
                let response = ran.answer(app, receipt)?;
                let body = heavy(response.encrypted_result.0.len(), || {
                    format.encode(&response)
                });
                Ok(Answer {
                    media_type: format.media_type().to_owned(),
                    body: body.map_err(|_| ApiError::internal("encoding an answer"))?,
                })
            }
            Self::Plain(answer) => Ok(Answer {
                media_type: binary_http::MEDIA_TYPE.to_owned(),
                body: binary_http::encode(&answer.0, &answer.1)
                    .ok_or_else(|| ApiError::internal("a response that cannot be kept"))?,
            }),
        }
    }
}
