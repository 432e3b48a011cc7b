//! Running a sealed program or script: opened, admitted, run, sealed. Free routes go straight through; paid ones put a
//! settlement in between.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use hypervisor_protocol::{
    Claim, Commitment, ContentFormat, ExecutePythonRequest, ExecuteResponse, ExecuteWasmRequest,
    HexBytes, HostSession, OpenRequest, Operation, PaymentReceipt, PolicyDecision, ProblemType,
    Rejection, Report, SealedRequest, SessionId,
};
use serde::de::DeserializeOwned;

use super::App;
use super::body::{Received, Share, answer, heavy};
use super::evidence::attach;
use super::problem::ApiError;
use super::route::{self, Route};
use super::session::client_key;
use crate::executor::{
    Action, ActionKind, Charge, Exit, Inputs, Outcome, PrepareError, Program, Scope,
    arguments_from_bytes, micros, sha256,
};
use crate::sessions::NotFound;

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

async fn free(app: &App, route: &'static Route, request: Request) -> Result<Response, ApiError> {
    serves(app, route)?;
    let received = app.bodies.receive(request).await?;
    // From here on the request costs memory and processor time: it waits for its turn.
    let slot = app.admission.enter().await?;
    let (call, request, _share, format) = decode(app, route, received)?;
    let opened = open(app, call, request).await?;
    let ran = opened.admit(app, None).await?.run(app).await;
    drop(slot);
    let sequence = ran.sequence();
    let mut response = ran.seal(None)?;
    attach(app, route, sequence, None, &mut response).await?;
    heavy(response.encrypted_result.0.len(), || {
        answer(format, &response)
    })
}

/// Refuses a route for which this host lacks a part.
pub(super) fn serves(app: &App, route: &Route) -> Result<(), ApiError> {
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

/// What is asked and by whom, as the route and the request's plaintext fields have it.
pub(super) struct Call {
    route: &'static Route,
    session: Arc<HostSession>,
}

/// The body of a request that runs something.
trait Execute: DeserializeOwned + Into<SealedRequest> {
    fn session(&self) -> (Option<&SessionId>, &HexBytes);
}

impl Execute for ExecuteWasmRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }
}

impl Execute for ExecutePythonRequest {
    fn session(&self) -> (Option<&SessionId>, &HexBytes) {
        (self.session_id.as_ref(), &self.public_key)
    }
}

/// Decodes the body of a request for `route` and finds its session. The share of the body's account is to be held until
/// the request is done.
pub(super) fn decode(
    app: &App,
    route: &'static Route,
    received: Received,
) -> Result<(Call, SealedRequest, Share, ContentFormat), ApiError> {
    match route.operation {
        Operation::Python => decode_as::<ExecutePythonRequest>(app, route, received),
        _ => decode_as::<ExecuteWasmRequest>(app, route, received),
    }
}

fn decode_as<T: Execute>(
    app: &App,
    route: &'static Route,
    received: Received,
) -> Result<(Call, SealedRequest, Share, ContentFormat), ApiError> {
    let (request, share, format) = received.decode::<T>()?;
    let (id, public_key) = request.session();
    let session = find_session(app, id, public_key)?;
    Ok((Call { route, session }, request.into(), share, format))
}

/// Something that can run.
enum Runnable {
    Program(Program),
    Script(String),
}

/// A request that authenticated, its program ready to run or found not to.
pub(super) struct Opened {
    call: Call,
    sequence: u64,
    arguments: u32,
    commitment: Commitment,
    prepared: Result<(Runnable, Inputs), Exit>,
    digest: [u8; 32],
    sizes: Sizes,
}

/// A request whose sequence is used: an answer will be sealed.
pub(super) struct Admitted {
    claim: Claim,
    operation: Operation,
    arguments: u32,
    commitment: Commitment,
    digest: [u8; 32],
    runnable: Result<(Runnable, Inputs), Exit>,
    policy: Option<PolicyDecision>,
}

/// A request that has run, or was kept from it.
pub(super) struct Ran {
    claim: Claim,
    operation: Operation,
    arguments: u32,
    commitment: Commitment,
    digest: [u8; 32],
    policy: Option<PolicyDecision>,
    outcome: Outcome,
}

/// Sizes that the policy sees.
#[derive(Clone, Copy)]
struct Sizes {
    program: usize,
    input: usize,
    arguments: usize,
    argument_bytes: usize,
}

/// Decrypts the request and prepares its program.
pub(super) async fn open(
    app: &App,
    call: Call,
    request: SealedRequest,
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
    let OpenRequest {
        sequence,
        program,
        stdin,
        arguments: values,
        commitment,
    } = heavy(bytes, || {
        session.open_request(call.route.operation, request)
    })?;
    let sizes = Sizes {
        program: program.len(),
        input: stdin.as_ref().map_or(0, Vec::len),
        arguments: values.len(),
        argument_bytes: values.iter().map(Vec::len).sum(),
    };
    let (runnable, digest) = prepare(app, &call, program).await?;
    let prepared = runnable.and_then(|runnable| {
        let inputs = Inputs {
            arguments: arguments_from_bytes(values)?,
            stdin: Bytes::from(stdin.unwrap_or_default()),
        };
        Ok((runnable, inputs))
    });
    Ok(Opened {
        call,
        sequence,
        arguments,
        commitment,
        prepared,
        digest,
        sizes,
    })
}

impl Opened {
    /// Uses the sequence and asks the policy. A program that cannot run uses its sequence too: the reason is sealed, and a
    /// sealed answer needs a fresh nonce.
    pub(super) async fn admit(
        self,
        app: &App,
        charge: Option<Charge>,
    ) -> Result<Admitted, ApiError> {
        let claim = self.call.session.claim(self.sequence)?;
        let mut policy = None;
        let runnable = match self.prepared {
            Ok((runnable, inputs)) => {
                let ask = || action(&self.call, &runnable, self.digest, self.sizes, charge);
                policy = app.executor.authorize(ask).await;
                match denial(policy.as_ref()) {
                    None => Ok((runnable, inputs)),
                    Some(reason) => Err(Exit::Denied { reason }),
                }
            }
            Err(exit) => Err(exit),
        };
        Ok(Admitted {
            claim,
            operation: self.call.route.operation,
            arguments: self.arguments,
            commitment: self.commitment,
            digest: self.digest,
            runnable,
            policy,
        })
    }
}

/// The reason of a decision that is not a yes.
fn denial(policy: Option<&PolicyDecision>) -> Option<String> {
    let decision = policy.filter(|decision| !decision.allowed)?;
    let reason = decision.reason.clone();
    Some(reason.unwrap_or_else(|| "the policy gives no reason".to_owned()))
}

impl Admitted {
    /// Whether there is something to run.
    pub(super) fn will_run(&self) -> bool {
        self.runnable.is_ok()
    }

    pub(super) async fn run(self, app: &App) -> Ran {
        let outcome = match self.runnable {
            Ok((Runnable::Program(program), inputs)) => app.executor.run(&program, inputs).await,
            Ok((Runnable::Script(source), inputs)) => app
                .executor
                .run_script(source, inputs)
                .await
                .unwrap_or_else(|| {
                    Outcome::not_run(Exit::Denied {
                        reason: "the host has no script engine".to_owned(),
                    })
                }),
            Err(exit) => Outcome::not_run(exit),
        };
        log_limit(&outcome.exit);
        Ran {
            claim: self.claim,
            operation: self.operation,
            arguments: self.arguments,
            commitment: self.commitment,
            digest: self.digest,
            policy: self.policy,
            outcome,
        }
    }
}

impl Ran {
    pub(super) fn sequence(&self) -> u64 {
        self.claim.sequence()
    }

    /// Whether it is to be paid for: it ran to an end of its own. A trap, a limit, a denial and a program that cannot run
    /// are free.
    pub(super) fn is_charged(&self) -> bool {
        matches!(self.outcome.exit, Exit::Ok | Exit::Code { .. })
    }

    pub(super) fn seal(self, payment: Option<PaymentReceipt>) -> Result<ExecuteResponse, ApiError> {
        let Self {
            claim,
            operation,
            arguments,
            commitment,
            digest,
            policy,
            outcome,
        } = self;
        let report = Report {
            exit: outcome.exit,
            stderr: HexBytes(outcome.stderr),
            stdout_truncated: outcome.stdout_truncated,
            stderr_truncated: outcome.stderr_truncated,
            cpu_microseconds: micros(outcome.cpu),
            wall_microseconds: micros(outcome.wall),
            peak_memory_bytes: outcome.peak_memory,
            policy,
            payment,
            ..Report::with_digest(digest, commitment)
        }
        .encode()?;
        let result = outcome.stdout;
        let id = *claim.session().id();
        let sealed = heavy(result.len(), || {
            claim.seal_response(operation, arguments, &commitment, result, report)
        })?;
        Ok(ExecuteResponse::new(id, sealed))
    }
}

fn action(
    call: &Call,
    runnable: &Runnable,
    subject: [u8; 32],
    sizes: Sizes,
    charge: Option<Charge>,
) -> Action {
    let (kind, imports) = match runnable {
        Runnable::Program(program) => (ActionKind::ExecuteWasm, program.imports().to_vec()),
        Runnable::Script(_) => (ActionKind::ExecuteScript, Vec::new()),
    };
    Action {
        kind,
        subject,
        caller: call.session.client().to_bytes(),
        charge,
        resource: call.route.path,
        imports,
        program_bytes: sizes.program,
        input_bytes: sizes.input,
        arguments: sizes.arguments,
        argument_bytes: sizes.argument_bytes,
    }
}

fn find_session(
    app: &App,
    id: Option<&SessionId>,
    public_key: &HexBytes,
) -> Result<Arc<HostSession>, ApiError> {
    if let Some(session) = id.and_then(|id| app.sessions.find_named(id, &public_key.0)) {
        return Ok(session);
    }
    let client = client_key(public_key, "public_key")?;
    app.sessions.find(id, &client).map_err(|error| match error {
        NotFound::Unknown => ApiError::new(
            ProblemType::UnknownSession,
            "no live session has this `session_id` and `public_key`; open one with POST /encrypt/create_keypair",
        ),
        NotFound::Ambiguous => ApiError::new(
            ProblemType::AmbiguousSession,
            "`public_key` has several live sessions; name one in `session_id`",
        ),
    })
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

/// The program ready to run, or how its execution ended before it began; and its SHA-256.
async fn prepare(
    app: &App,
    call: &Call,
    program: Vec<u8>,
) -> Result<(Result<Runnable, Exit>, [u8; 32]), ApiError> {
    if call.route.operation == Operation::Python {
        let digest = sha256(&program);
        let source = String::from_utf8(program).map_err(|e| Exit::Rejected {
            problem: Rejection::InvalidSource,
            detail: format!("the script is not UTF-8: {}", e.utf8_error()),
        });
        return Ok((source.map(Runnable::Script), digest));
    }
    let shared = app.config.execution.shared_compile_cache;
    let scope = if shared {
        Scope::Shared
    } else {
        Scope::Session(*call.session.id().as_bytes())
    };
    match app.executor.prepare(scope, &program).await {
        Ok(ready) => {
            let digest = *ready.digest();
            Ok((Ok(Runnable::Program(ready)), digest))
        }
        Err(PrepareError::Program(exit)) => Ok((Err(exit), sha256(&program))),
        Err(PrepareError::Host(message)) => Err(ApiError::internal(message)),
    }
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
