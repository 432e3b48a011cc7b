//! Sealed calls of agents: the request and the response of a service as Binary HTTP (RFC 9292), the streams of a command as
//! in an execution.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{HeaderValue, Request};
use hypervisor_protocol::{LimitKind, OpenRequest, Rejection};

use super::App;
use super::binary_http::{self, Whole};
use super::problem::ApiError;
use super::request::Call;
use super::serve::{Unread, is_charged, whole};
use super::work::{Done, Work, inputs_of, named};
use crate::agents::Deployed;
use crate::executor::{Agent, Chain, Exit, Inputs, NoResponse, Outcome, Service, Usage, refusal};

/// A call that was made ready.
pub(super) struct AgentCall {
    agent: Arc<Deployed>,
    what: What,
}

enum What {
    Service(Arc<Service>, Box<Request<Whole>>),
    Command(Arc<crate::executor::Command>, Inputs),
}

impl AgentCall {
    /// Finds the agent, loads it, and reads the request.
    pub(super) async fn prepare(
        app: &App,
        call: &Call,
        open: OpenRequest,
    ) -> Result<(Result<Work, Exit>, [u8; 32]), ApiError> {
        let agent = match named(app, call, &open.program) {
            Ok(agent) => agent,
            Err(exit) => return Ok((Err(exit), [0; 32])),
        };
        let digest = *agent.digest();
        let loaded = match app.agents.ready(&agent).await {
            Ok(loaded) => loaded,
            Err(error) => {
                let exit = refusal(error).map_err(ApiError::internal)?;
                return Ok((Err(exit), digest));
            }
        };
        let what = match loaded {
            Agent::Service(service) => decode(&agent, open.stdin.as_deref().unwrap_or_default())
                .map(|request| What::Service(service, Box::new(request))),
            Agent::Command(command) => inputs_of(open).map(|inputs| What::Command(command, inputs)),
        };
        Ok((
            what.map(|what| Work::Call(Box::new(Self { agent, what }))),
            digest,
        ))
    }

    pub(super) fn agent(&self) -> &Arc<Deployed> {
        &self.agent
    }

    pub(super) fn method(&self) -> &str {
        match &self.what {
            What::Service(_, request) => request.method().as_str(),
            What::Command(..) => "POST",
        }
    }

    pub(super) async fn perform(self) -> Done {
        match self.what {
            What::Command(command, inputs) => command.call(inputs, Chain::default()).await.into(),
            What::Service(service, request) => {
                let limit = self.agent.output_limit();
                serve(&service, *request, limit).await
            }
        }
    }
}

async fn serve(service: &Arc<Service>, request: Request<Whole>, limit: u64) -> Done {
    let started = Instant::now();
    let usage = Arc::new(OnceLock::new());
    let answered = answer(service, request, limit, &usage).await;
    let Usage { cpu, peak_memory } = usage.get().map(|(usage, _)| *usage).unwrap_or_default();
    let ended = |exit| Outcome {
        cpu,
        peak_memory,
        wall: started.elapsed(),
        ..Outcome::not_run(exit)
    };
    match answered {
        Ok((stdout, status)) => Done {
            is_charged: is_charged(status),
            outcome: Outcome {
                stdout,
                ..ended(Exit::Ok)
            },
        },
        Err(exit) => ended(exit).into(),
    }
}

/// The whole response in Binary HTTP, and its status.
async fn answer(
    service: &Arc<Service>,
    request: Request<Whole>,
    limit: u64,
    usage: &Arc<OnceLock<(Usage, Exit)>>,
) -> Result<(Vec<u8>, http::StatusCode), Exit> {
    let trap = |reason: &str| Exit::Trap {
        reason: reason.to_owned(),
    };
    let response = service
        .call(request, false, Chain::default(), Arc::clone(usage))
        .await
        .map_err(|none| match none {
            NoResponse::Ended(exit) => exit,
            none => trap(&none.to_string()),
        })?;
    let (head, body) = response.into_parts();
    let collected = whole(body, limit).await.map_err(|unread| match unread {
        Unread::TooLong => Exit::Limit {
            which: LimitKind::Output,
            used: limit.saturating_add(1),
            allowed: limit,
        },
        Unread::Unfinished => match usage.get() {
            Some((_, exit)) if *exit != Exit::Ok => exit.clone(),
            _ => trap("the agent did not finish its response"),
        },
    })?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = head.status;
    let response = http::Response::from_parts(head, collected.to_bytes());
    let encoded = binary_http::encode(&response, &trailers)
        .ok_or_else(|| trap("the response has no Binary HTTP form"))?;
    Ok((encoded, status))
}

/// Reads a request for `agent`.
fn decode(agent: &Deployed, bytes: &[u8]) -> Result<Request<Whole>, Exit> {
    let invalid = |detail: String| Exit::Rejected {
        problem: Rejection::InvalidRequest,
        detail,
    };
    let (mut request, trailers) = binary_http::decode_request(bytes).map_err(invalid)?;
    let host = HeaderValue::from_str(&format!("{}.agent.internal", agent.address()))
        .map_err(|e| invalid(e.to_string()))?;
    request.headers_mut().insert(http::header::HOST, host);
    Ok(request.map(|body| binary_http::whole(body, trailers)))
}
