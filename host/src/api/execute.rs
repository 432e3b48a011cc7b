//! Sealed requests: opened, admitted, done, sealed. Free routes go straight through; paid ones put a settlement in between.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hypervisor_protocol::{
    Claim, Commitment, ExecuteResponse, HexBytes, OpenRequest, PaymentReceipt, PolicyDecision,
    ProblemType, Report, SealedRequest,
};

use super::App;
use super::body::{Received, answer, heavy};
use super::evidence::{quote, receipt};
use super::moment::Moment;
use super::problem::ApiError;
use super::request::{Call, Decoded, decode};
use super::route::{self, Route};
use super::work::{Done, Ready, Work, prepare};
use crate::executor::{Charge, Exit, Outcome, micros};

/// `POST /test/execute/wasm`.
pub(super) async fn wasm(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    free(&app, &route::WASM, request).await
}

/// `POST /test/policy/unsafe/python/attest`.
pub(super) async fn attested_python(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    free(&app, &route::ATTESTED_PYTHON, request).await
}

/// `POST /test/policy/unsafe/python`.
pub(super) async fn python(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    free(&app, &route::PYTHON, request).await
}

/// Serves a route that costs nothing.
pub(super) async fn free(app: &App, route: &Route, request: Request) -> Result<Response, ApiError> {
    serves(app, route)?;
    let body = app.bodies.receive(request).await?;
    received(app, route, body).await
}

/// Serves a request that was received whole, on a route that costs nothing.
pub(super) async fn received(
    app: &App,
    route: &Route,
    received: Received,
) -> Result<Response, ApiError> {
    // From here on the request costs memory and processor time: it waits for its turn.
    let slot = app.admission.enter().await?;
    let moment = app.moment();
    let Decoded {
        call,
        request,
        format,
        share: _share,
    } = decode(app, route, received)?;
    let opened = open(app, call, request, moment).await?;
    let ran = opened.admit(None).await?.run(app).await;
    drop(slot);
    let response = ran.answer(app, None)?;
    let response = quote(app, route, response).await?;
    heavy(response.encrypted_result.0.len(), || {
        answer(format, &response)
    })
}

/// Refuses a route for which this host lacks a part.
pub(super) fn serves(app: &App, route: &Route) -> Result<(), ApiError> {
    use hypervisor_protocol::Operation;
    if route.operation == Operation::Python && !app.executor.runs_scripts() {
        return Err(ApiError::new(
            ProblemType::ScriptsUnavailable,
            "this host has no script engine; its operator names one in [script]",
        ));
    }
    if route.attested {
        app.attestation()?;
    }
    Ok(())
}

/// A request that authenticated, its work made ready or found impossible.
pub(super) struct Opened {
    exchange: Exchange,
    sequence: u64,
    ready: Ready,
}

/// What every step has to know of the request that it is about.
struct Exchange {
    call: Call,
    arguments: u32,
    commitment: Commitment,
    moment: Moment,
}

/// A request whose sequence is used: an answer will be sealed.
pub(super) struct Admitted {
    exchange: Exchange,
    claim: Claim,
    digest: [u8; 32],
    work: Result<Work, Exit>,
    policy: Option<PolicyDecision>,
}

/// A request that was done, or kept from it.
pub(super) struct Ran {
    exchange: Exchange,
    claim: Claim,
    digest: [u8; 32],
    policy: Option<PolicyDecision>,
    done: Done,
}

/// Decrypts the request and makes its work ready.
pub(super) async fn open(
    app: &App,
    call: Call,
    request: SealedRequest,
    moment: Moment,
) -> Result<Opened, ApiError> {
    let session = &call.session;
    let arguments = argument_count(app, &request)?;
    if session.window_contains(request.sequence) {
        return Err(hypervisor_protocol::Error::Replayed {
            sequence: request.sequence,
        }
        .into());
    }
    let bytes = request
        .program
        .len()
        .saturating_add(request.stdin.as_ref().map_or(0, Vec::len));
    let open: OpenRequest = heavy(bytes, || {
        session.open_request(call.route.operation, request)
    })?;
    let (sequence, commitment) = (open.sequence, open.commitment);
    let ready = prepare(app, &call, open).await?;
    Ok(Opened {
        exchange: Exchange {
            call,
            arguments,
            commitment,
            moment,
        },
        sequence,
        ready,
    })
}

impl Opened {
    /// Uses the sequence and asks the policy. Work that cannot be done uses its sequence too: the reason is sealed, and a
    /// sealed answer needs a fresh nonce.
    pub(super) async fn admit(self, charge: Option<Charge>) -> Result<Admitted, ApiError> {
        let Self {
            exchange,
            sequence,
            ready,
        } = self;
        let claim = exchange.call.session.claim(sequence)?;
        let mut policy = None;
        let work = match ready.work {
            Ok(work) => {
                if let Some(engine) = &exchange.moment.policy
                    && let Some(action) =
                        work.action(&exchange.call, (&ready.digest, ready.sizes), charge)
                {
                    policy = Some(engine.authorize(action).await);
                }
                match denial(policy.as_ref()) {
                    None => Ok(work),
                    Some(reason) => Err(Exit::Denied { reason }),
                }
            }
            Err(exit) => Err(exit),
        };
        Ok(Admitted {
            exchange,
            claim,
            digest: ready.digest,
            work,
            policy,
        })
    }
}

/// The reason of a decision that is not a yes.
pub(super) fn denial(policy: Option<&PolicyDecision>) -> Option<String> {
    let decision = policy.filter(|decision| !decision.allowed)?;
    let reason = decision.reason.clone();
    Some(reason.unwrap_or_else(|| "the policy gives no reason".to_owned()))
}

impl Admitted {
    /// Whether there is something to run.
    pub(super) fn will_run(&self) -> bool {
        self.work.is_ok()
    }

    pub(super) async fn run(self, app: &App) -> Ran {
        let Self {
            exchange,
            claim,
            digest,
            work,
            policy,
        } = self;
        let done = match work {
            Ok(work) => work.perform(app, &exchange.call).await,
            Err(exit) => Outcome::not_run(exit).into(),
        };
        log_limit(&done.outcome.exit);
        Ran {
            exchange,
            claim,
            digest,
            policy,
            done,
        }
    }
}

impl Ran {
    /// Whether it is to be paid for.
    pub(super) fn is_charged(&self) -> bool {
        self.done.is_charged
    }

    /// The sealed answer with its receipt, without a quote.
    pub(super) fn answer(
        self,
        app: &App,
        payment: Option<&PaymentReceipt>,
    ) -> Result<ExecuteResponse, ApiError> {
        let Self {
            exchange,
            claim,
            digest,
            policy,
            done,
        } = self;
        let (outcome, sequence) = (done.outcome, claim.sequence());
        let report = Report {
            exit: outcome.exit,
            stderr: HexBytes(outcome.stderr),
            stdout_truncated: outcome.stdout_truncated,
            stderr_truncated: outcome.stderr_truncated,
            cpu_microseconds: micros(outcome.cpu),
            wall_microseconds: micros(outcome.wall),
            peak_memory_bytes: outcome.peak_memory,
            policy,
            payment: payment.cloned(),
            ..Report::with_digest(digest, exchange.commitment)
        }
        .encode()?;
        let result = outcome.stdout;
        let id = *claim.session().id();
        let operation = exchange.call.route.operation;
        let sealed = heavy(result.len(), || {
            claim.seal_response(
                operation,
                exchange.arguments,
                &exchange.commitment,
                result,
                report,
            )
        })?;
        let mut response = ExecuteResponse::new(id, sealed);
        receipt(
            app,
            sequence,
            payment,
            &exchange.moment.manifest,
            &mut response,
        )?;
        Ok(response)
    }
}

fn argument_count(app: &App, request: &SealedRequest) -> Result<u32, ApiError> {
    let (count, limit) = (request.arguments.len(), app.config.limits.arguments);
    if count > limit {
        let detail =
            format!("{count} arguments are over the limit of {limit}; pass data on standard input");
        return Err(ApiError::new(ProblemType::TooManyArguments, detail));
    }
    u32::try_from(count).map_err(|_| ApiError::malformed("too many arguments to count"))
}

/// Operators need to see which limits are hit; how other executions end is between the program and its client.
fn log_limit(exit: &Exit) {
    if let Exit::Limit {
        which,
        used,
        allowed,
    } = exit
    {
        tracing::info!(limit = ?which, used, allowed, "an execution was stopped at a limit");
    }
}
