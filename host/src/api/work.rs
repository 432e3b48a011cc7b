//! What sealed requests ask for: made ready, put before the policy, and done.

use std::sync::Arc;

use bytes::Bytes;
use hypervisor_protocol::{OpenRequest, Operation, Rejection};

use super::App;
use super::body::heavy;
use super::problem::ApiError;
use super::request::Call;
use super::sealed_agent::AgentCall;
use super::serve::PREFIX;
use crate::agents::{Deployed, Plan};
use crate::executor::{
    Action, ActionKind, Charge, Exit, Inputs, Outcome, PrepareError, Program, Scope,
    arguments_from_bytes, sha256,
};

/// Something that can be done.
pub(super) enum Work {
    Program(Program, Inputs),
    Script(String, Inputs),
    Call(Box<AgentCall>),
    Deploy(Box<Plan>),
    Remove(Arc<Deployed>),
    Logs(Arc<Deployed>),
    List,
}

/// Work that was made ready or found impossible, and the SHA-256 of the program that it is about.
pub(super) struct Ready {
    pub(super) work: Result<Work, Exit>,
    pub(super) digest: [u8; 32],
    pub(super) sizes: Sizes,
}

/// Sizes that the policy sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    program: usize,
    input: usize,
    arguments: usize,
    argument_bytes: usize,
}

/// What came of it.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// Whether it is to be paid for, where there is a price.
    pub(super) is_charged: bool,
}

impl From<Outcome> for Done {
    /// What ran to an end of its own is charged. A trap, a limit, a denial and a program that cannot run are free.
    fn from(outcome: Outcome) -> Self {
        Self {
            is_charged: matches!(outcome.exit, Exit::Ok | Exit::Code { .. }),
            outcome,
        }
    }
}

/// Makes ready what an authenticated request asks for.
pub(super) async fn prepare(app: &App, call: &Call, open: OpenRequest) -> Result<Ready, ApiError> {
    let sizes = Sizes {
        program: open.program.len(),
        input: open.stdin.as_ref().map_or(0, Vec::len),
        arguments: open.arguments.len(),
        argument_bytes: open.arguments.iter().map(Vec::len).sum(),
    };
    let (work, digest) = match call.route.operation {
        Operation::Wasm => program(app, call, open).await?,
        Operation::Python => script(open),
        Operation::Agent => AgentCall::prepare(app, call, open).await?,
        Operation::Deploy => deploy(app, call, open),
        Operation::Remove => about(app, call, &open, Work::Remove),
        Operation::Logs => about(app, call, &open, Work::Logs),
        Operation::List => (owner_of(call).map(|_| Work::List), [0; 32]),
    };
    Ok(Ready {
        work,
        digest,
        sizes,
    })
}

fn inputs(stdin: Option<Vec<u8>>, arguments: Vec<Vec<u8>>) -> Result<Inputs, Exit> {
    Ok(Inputs {
        arguments: arguments_from_bytes(arguments)?,
        stdin: Bytes::from(stdin.unwrap_or_default()),
    })
}

pub(super) fn inputs_of(open: OpenRequest) -> Result<Inputs, Exit> {
    inputs(open.stdin, open.arguments)
}

async fn program(
    app: &App,
    call: &Call,
    open: OpenRequest,
) -> Result<(Result<Work, Exit>, [u8; 32]), ApiError> {
    let shared = app.config.execution.shared_compile_cache;
    let scope = if shared {
        Scope::Shared
    } else {
        Scope::Session(*call.session.id().as_bytes())
    };
    match app.executor.prepare(scope, &open.program).await {
        Ok(ready) => {
            let digest = *ready.digest();
            let work =
                inputs(open.stdin, open.arguments).map(|inputs| Work::Program(ready, inputs));
            Ok((work, digest))
        }
        Err(PrepareError::Program(exit)) => Ok((Err(exit), sha256(&open.program))),
        Err(PrepareError::Host(message)) => Err(ApiError::internal(message)),
    }
}

fn script(open: OpenRequest) -> (Result<Work, Exit>, [u8; 32]) {
    let digest = sha256(&open.program);
    let source = String::from_utf8(open.program).map_err(|e| Exit::Rejected {
        problem: Rejection::InvalidSource,
        detail: format!("the script is not UTF-8: {}", e.utf8_error()),
    });
    let work =
        source.and_then(|source| Ok(Work::Script(source, inputs(open.stdin, open.arguments)?)));
    (work, digest)
}

fn deploy(app: &App, call: &Call, open: OpenRequest) -> (Result<Work, Exit>, [u8; 32]) {
    let digest = sha256(&open.program);
    let plan = owner_of(call).and_then(|owner| {
        let manifest = open.stdin.unwrap_or_default();
        heavy(open.program.len(), || {
            app.agents.plan(owner, open.program, &manifest)
        })
    });
    (plan.map(|plan| Work::Deploy(Box::new(plan))), digest)
}

/// Work about one agent of the owner's.
fn about(
    app: &App,
    call: &Call,
    open: &OpenRequest,
    work: impl FnOnce(Arc<Deployed>) -> Work,
) -> (Result<Work, Exit>, [u8; 32]) {
    let found = owner_of(call).and_then(|_| {
        let agent = named(app, call, &open.program)?;
        if call.owner().as_ref() == Some(agent.owner()) {
            Ok(agent)
        } else {
            Err(Exit::Rejected {
                problem: Rejection::NotOwner,
                detail: "the agent is another owner's".to_owned(),
            })
        }
    });
    let digest = found.as_ref().map_or([0; 32], |agent| *agent.digest());
    (found.map(work), digest)
}

fn owner_of(call: &Call) -> Result<&hypervisor_protocol::PublicKey, Exit> {
    call.owner.as_ref().ok_or_else(|| Exit::Rejected {
        problem: Rejection::NotOwner,
        detail: "the request has no proof of an owner's key, in `owner`".to_owned(),
    })
}

/// The agent that the client means: its sealed name must be the one of the path, where the path has one.
pub(super) fn named(app: &App, call: &Call, name: &[u8]) -> Result<Arc<Deployed>, Exit> {
    let unknown = |detail: &str| Exit::Rejected {
        problem: Rejection::UnknownAgent,
        detail: detail.to_owned(),
    };
    let name = str::from_utf8(name).map_err(|_| unknown("the name is not UTF-8"))?;
    let in_path = call.route.path.strip_prefix(PREFIX);
    if in_path.is_some_and(|path| path != name) {
        return Err(unknown("the sealed name is not the one in the path"));
    }
    app.agents
        .find(name, call.owner().as_ref())
        .ok_or_else(|| unknown("there is no such agent, or none that this caller may know of"))
}

impl Work {
    /// What the policy is asked; none where it has no say.
    pub(super) fn action(
        &self,
        call: &Call,
        ready: (&[u8; 32], Sizes),
        charge: Option<Charge>,
    ) -> Option<Action> {
        let (digest, sizes) = ready;
        let (kind, agent, imports, method) = match self {
            Self::Program(program, _) => (
                ActionKind::ExecuteWasm,
                None,
                program.imports().to_vec(),
                "POST",
            ),
            Self::Script(..) => (ActionKind::ExecuteScript, None, Vec::new(), "POST"),
            Self::Deploy(plan) => (
                ActionKind::DeployAgent,
                Some(plan.address().to_string()),
                plan.import_names(),
                "POST",
            ),
            Self::Call(call) => (
                ActionKind::InvokeAgent,
                Some(call.agent().address().to_string()),
                call.agent().import_names(),
                call.method(),
            ),
            Self::Remove(_) | Self::Logs(_) | Self::List => return None,
        };
        Some(Action {
            kind,
            subject: *digest,
            caller: Some(call.session.client().to_bytes()),
            charge,
            resource: call.route.path.clone(),
            agent,
            method: Some(method.to_owned()),
            imports,
            program_bytes: sizes.program,
            input_bytes: sizes.input,
            arguments: sizes.arguments,
            argument_bytes: sizes.argument_bytes,
        })
    }

    /// Does it.
    pub(super) async fn perform(self, app: &App, call: &Call) -> Done {
        let outcome = match self {
            Self::Program(program, inputs) => app.executor.run(&program, inputs).await,
            Self::Script(source, inputs) => app
                .executor
                .run_script(source, inputs)
                .await
                .unwrap_or_else(|| {
                    Outcome::not_run(Exit::Denied {
                        reason: "the host has no script engine".to_owned(),
                    })
                }),
            Self::Call(call) => return call.perform().await,
            Self::Deploy(plan) => told(app.agents.deploy(*plan).await),
            Self::Remove(agent) => told(app.agents.remove(&agent).await),
            Self::Logs(agent) => told(Ok(agent.log())),
            Self::List => told(Ok(app.agents.of_owner(call.owner().as_ref()))),
        };
        outcome.into()
    }
}

/// The outcome of an errand: its answer, as JSON, in the place of standard output.
fn told<T: serde::Serialize>(answer: Result<T, Exit>) -> Outcome {
    match answer.map(|answer| serde_json::to_vec(&answer)) {
        Ok(Ok(json)) => Outcome {
            stdout: json,
            ..Outcome::not_run(Exit::Ok)
        },
        Ok(Err(_)) => Outcome::not_run(Exit::Trap {
            reason: "the host could not write its answer".to_owned(),
        }),
        Err(exit) => Outcome::not_run(exit),
    }
}
