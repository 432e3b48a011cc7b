//! Running a sealed program.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use hypervisor_protocol::{
    ExecuteResponse, ExecuteWasmRequest, HexBytes, HostSession, OpenRequest, Operation,
    ProblemType, PublicKey, Report, SealedRequest, SessionId,
};

use super::App;
use super::body::{answer, heavy};
use super::problem::ApiError;
use super::session::client_key;
use crate::executor::{Exit, Job, Outcome, PrepareError, Program, Scope, arguments_from_bytes};
use crate::sessions::NotFound;

/// `POST /test/execute/wasm`.
pub(super) async fn wasm(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let received = app.bodies.receive(request).await?;
    // From here on the request costs memory and processor time: it waits for its turn.
    let _slot = app.admission.enter().await?;
    let (request, _share, format) = received.decode::<ExecuteWasmRequest>()?;
    let caller = Caller {
        client: client_key(&request.public_key, "public_key")?,
        session_id: request.session_id,
    };
    let response = execute(&app, Operation::Wasm, caller, request.into()).await?;
    heavy(response.encrypted_result.0.len(), || {
        answer(format, &response)
    })
}

/// Who asks, as the request's plaintext fields have it.
struct Caller {
    client: PublicKey,
    session_id: Option<SessionId>,
}

/// Opens, prepares, claims the sequence, runs, and seals what came of it.
async fn execute(
    app: &App,
    operation: Operation,
    caller: Caller,
    request: SealedRequest,
) -> Result<ExecuteResponse, ApiError> {
    let session = find_session(app, &caller)?;
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
    let opened = heavy(bytes, || session.open_request(operation, request))?;
    let OpenRequest {
        sequence,
        program: bytes,
        stdin,
        arguments: values,
        commitment,
    } = opened;

    // A program that cannot run still uses its sequence: the reason is sealed, and a sealed answer needs a fresh nonce.
    let prepared = prepare(app, &session, &bytes).await?;
    let claim = session.claim(sequence)?;
    let (outcome, digest) = match prepared {
        Ok(program) => {
            drop(bytes);
            let digest = *program.digest();
            (run(app, program, values, stdin).await, digest)
        }
        Err(exit) => (Outcome::not_run(exit), crate::executor::sha256(&bytes)),
    };
    log_limit(&outcome.exit);

    let report = report(&outcome, digest, commitment).encode()?;
    let sealed = heavy(outcome.stdout.len(), || {
        claim.seal_response(operation, arguments, &commitment, outcome.stdout, report)
    })?;
    Ok(ExecuteResponse::new(*session.id(), sealed))
}

fn find_session(app: &App, caller: &Caller) -> Result<Arc<HostSession>, ApiError> {
    app.sessions.find(caller.session_id.as_ref(), &caller.client).map_err(|error| match error {
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

/// The program ready to run, or how its execution ended before it began.
async fn prepare(
    app: &App,
    session: &HostSession,
    program: &[u8],
) -> Result<Result<Program, Exit>, ApiError> {
    let scope = if app.config.execution.shared_compile_cache {
        Scope::Shared
    } else {
        Scope::Session(*session.id().as_bytes())
    };
    match app.executor.prepare(scope, program).await {
        Ok(program) => Ok(Ok(program)),
        Err(PrepareError::Program(exit)) => Ok(Err(exit)),
        Err(PrepareError::Host(message)) => Err(ApiError::internal(message)),
    }
}

async fn run(
    app: &App,
    program: Program,
    arguments: Vec<Vec<u8>>,
    stdin: Option<Vec<u8>>,
) -> Outcome {
    match arguments_from_bytes(arguments) {
        Ok(arguments) => {
            app.executor
                .run(Job {
                    program,
                    arguments,
                    stdin: Bytes::from(stdin.unwrap_or_default()),
                })
                .await
        }
        Err(exit) => Outcome::not_run(exit),
    }
}

fn report(
    outcome: &Outcome,
    program_digest: [u8; 32],
    request_commitment: hypervisor_protocol::Commitment,
) -> Report {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Report {
        exit: outcome.exit.clone(),
        stderr: HexBytes(outcome.stderr.clone()),
        stdout_truncated: outcome.stdout_truncated,
        stderr_truncated: outcome.stderr_truncated,
        cpu_microseconds: micros(outcome.cpu),
        wall_microseconds: micros(outcome.wall),
        peak_memory_bytes: outcome.peak_memory,
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
