//! Running a sealed program or script.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use hypervisor_protocol::{
    Commitment, ExecutePythonRequest, ExecuteResponse, ExecuteWasmRequest, HexBytes, HostSession,
    OpenRequest, Operation, PolicyDecision, ProblemType, Rejection, Report, SealedRequest,
    SessionId,
};

use super::App;
use super::body::{answer, heavy};
use super::problem::ApiError;
use super::session::client_key;
use crate::executor::{
    Action, ActionKind, Exit, Inputs, Outcome, PrepareError, Program, Scope, arguments_from_bytes,
    micros, sha256,
};
use crate::sessions::NotFound;

const WASM: &str = "/test/execute/wasm";
const PYTHON: &str = "/test/policy/unsafe/python";

/// `POST /test/execute/wasm`.
pub(super) async fn wasm(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let received = app.bodies.receive(request).await?;
    // From here on the request costs memory and processor time: it waits for its turn.
    let _slot = app.admission.enter().await?;
    let (request, _share, format) = received.decode::<ExecuteWasmRequest>()?;
    let call = Call {
        operation: Operation::Wasm,
        resource: WASM,
        session: find_session(&app, request.session_id.as_ref(), &request.public_key)?,
    };
    let response = execute(&app, call, request.into()).await?;
    heavy(response.encrypted_result.0.len(), || {
        answer(format, &response)
    })
}

/// `POST /test/policy/unsafe/python`, and its attested form: the same execution.
pub(super) async fn python(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    if !app.executor.runs_scripts() {
        return Err(ApiError::new(
            ProblemType::ScriptsUnavailable,
            "this host has no script engine; its operator names one in [script]",
        ));
    }
    let received = app.bodies.receive(request).await?;
    let _slot = app.admission.enter().await?;
    let (request, _share, format) = received.decode::<ExecutePythonRequest>()?;
    let call = Call {
        operation: Operation::Python,
        resource: PYTHON,
        session: find_session(&app, request.session_id.as_ref(), &request.public_key)?,
    };
    let response = execute(&app, call, request.into()).await?;
    heavy(response.encrypted_result.0.len(), || {
        answer(format, &response)
    })
}

/// What is asked and by whom, as the route and the request's plaintext fields have it.
struct Call {
    operation: Operation,
    resource: &'static str,
    session: Arc<HostSession>,
}

/// Something that can run.
enum Runnable {
    Program(Program),
    Script(String),
}

/// An opened request, without its program.
struct Opened {
    inputs: Result<Inputs, Exit>,
    sizes: Sizes,
}

/// Sizes that the policy sees.
#[derive(Clone, Copy)]
struct Sizes {
    program: usize,
    input: usize,
    arguments: usize,
    argument_bytes: usize,
}

/// Opens, prepares, claims the sequence, asks the policy, runs, and seals what came of it.
async fn execute(
    app: &App,
    call: Call,
    request: SealedRequest,
) -> Result<ExecuteResponse, ApiError> {
    let session = Arc::clone(&call.session);
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
    } = heavy(bytes, || session.open_request(call.operation, request))?;
    let sizes = Sizes {
        program: program.len(),
        input: stdin.as_ref().map_or(0, Vec::len),
        arguments: values.len(),
        argument_bytes: values.iter().map(Vec::len).sum(),
    };

    // A program that cannot run still uses its sequence: the reason is sealed, and a sealed answer needs a fresh nonce.
    let (prepared, digest) = prepare(app, &session, &call, program).await?;
    let claim = session.claim(sequence)?;
    let inputs = arguments_from_bytes(values).map(|arguments| Inputs {
        arguments,
        stdin: Bytes::from(stdin.unwrap_or_default()),
    });
    let (outcome, policy) = match prepared {
        Ok(runnable) => {
            decide_and_run(app, &call, runnable, digest, Opened { inputs, sizes }).await
        }
        Err(exit) => (Outcome::not_run(exit), None),
    };
    log_limit(&outcome.exit);

    let report = report(&outcome, policy, digest, commitment).encode()?;
    let result = outcome.stdout;
    let sealed = heavy(result.len(), || {
        claim.seal_response(call.operation, arguments, &commitment, result, report)
    })?;
    Ok(ExecuteResponse::new(*session.id(), sealed))
}

async fn decide_and_run(
    app: &App,
    call: &Call,
    runnable: Runnable,
    digest: [u8; 32],
    opened: Opened,
) -> (Outcome, Option<PolicyDecision>) {
    let Opened { inputs, sizes } = opened;
    let inputs = match inputs {
        Ok(inputs) => inputs,
        Err(exit) => return (Outcome::not_run(exit), None),
    };
    let policy = app
        .executor
        .authorize(|| action(call, &runnable, digest, sizes))
        .await;
    if let Some(PolicyDecision {
        allowed: false,
        reason,
        ..
    }) = &policy
    {
        let reason = reason
            .clone()
            .unwrap_or_else(|| "the policy gives no reason".to_owned());
        return (Outcome::not_run(Exit::Denied { reason }), policy);
    }
    let outcome = match runnable {
        Runnable::Program(program) => app.executor.run(&program, inputs).await,
        Runnable::Script(source) => app
            .executor
            .run_script(source, inputs)
            .await
            .unwrap_or_else(|| {
                Outcome::not_run(Exit::Denied {
                    reason: "the host has no script engine".to_owned(),
                })
            }),
    };
    (outcome, policy)
}

fn action(call: &Call, runnable: &Runnable, subject: [u8; 32], sizes: Sizes) -> Action {
    let (kind, imports) = match runnable {
        Runnable::Program(program) => (ActionKind::ExecuteWasm, program.imports().to_vec()),
        Runnable::Script(_) => (ActionKind::ExecuteScript, Vec::new()),
    };
    Action {
        kind,
        subject,
        caller: call.session.client().to_bytes(),
        resource: call.resource,
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
    session: &HostSession,
    call: &Call,
    program: Vec<u8>,
) -> Result<(Result<Runnable, Exit>, [u8; 32]), ApiError> {
    if call.operation == Operation::Python {
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
        Scope::Session(*session.id().as_bytes())
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

fn report(
    outcome: &Outcome,
    policy: Option<PolicyDecision>,
    program_digest: [u8; 32],
    request_commitment: Commitment,
) -> Report {
    Report {
        exit: outcome.exit.clone(),
        stderr: HexBytes(outcome.stderr.clone()),
        stdout_truncated: outcome.stdout_truncated,
        stderr_truncated: outcome.stderr_truncated,
        cpu_microseconds: micros(outcome.cpu),
        wall_microseconds: micros(outcome.wall),
        peak_memory_bytes: outcome.peak_memory,
        policy,
        ..Report::with_digest(program_digest, request_commitment)
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
