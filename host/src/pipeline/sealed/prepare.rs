//! Making ready what an authenticated request asks for, or finding out why it cannot be done.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request};
use hypervisor_agents::Owner;
use hypervisor_environments::{Job, Request as Environment};
use hypervisor_protocol::{ComponentDigest, OpenRequest, Operation, Rejection, digest};

use super::{Exchange, Sealed};
use crate::agents::{Deployed, Deployers, PREFIX};
use crate::executor::{
    Action, ActionKind, Agent, Charge, Client, Exit, Inputs, Language, PrepareError, Scope,
    arguments_from_bytes, refusal, sha256,
};
use crate::pipeline::authorize::invocation;
use crate::pipeline::plain::{CALLER, FORWARDED_PREFIX};
use crate::pipeline::work::Work;
use crate::pipeline::{Call, Host, Refusal, bhttp};

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

impl Sizes {
    /// Bytes that were sent.
    pub(super) fn total(&self) -> u64 {
        let sum = [self.program, self.input, self.argument_bytes].into_iter();
        sum.fold(0, |sum, size| sum.saturating_add(size as u64))
    }
}

type Found = (Result<Work, Exit>, [u8; 32]);

/// Makes ready what is asked for.
pub(super) async fn prepare(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    open: OpenRequest,
    is_paid: bool,
) -> Result<Ready, Refusal> {
    let sizes = Sizes {
        program: open.program.len(),
        input: open.stdin.as_ref().map_or(0, Vec::len),
        arguments: open.arguments.len(),
        argument_bytes: open.arguments.iter().map(Vec::len).sum(),
    };
    let (work, digest) = match call.way.route.operation {
        Operation::Wasm => program(call, host, exchange, open).await?,
        Operation::Python => script(Language::Python, open),
        Operation::Javascript => script(Language::Javascript, open),
        Operation::Agent => Box::pin(agent_call(call, host, exchange, open, is_paid)).await?,
        Operation::Deploy => Box::pin(deploy(call, host, exchange, open)).await?,
        Operation::Remove => about(call, host, exchange, &open, Work::Remove),
        Operation::Logs => about(call, host, exchange, &open, Work::Logs),
        Operation::List => (
            owner_of(exchange).map(|owner| Work::List(owner.into())),
            [0; 32],
        ),
        operation => environment(call, host, exchange, operation, open),
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
        budget: None,
        tap: None,
    })
}

async fn program(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    open: OpenRequest,
) -> Result<Found, Refusal> {
    let session = *exchange.session.id().as_bytes();
    let found = match digest::named_program(&open.program) {
        Some(digest) => {
            let sent = host.executor().sent(&session, &digest).await;
            sent.ok_or_else(|| (PrepareError::Program(not_here()), digest))
        }
        None => {
            let scope = Scope {
                session,
                is_shared: host.config().execution.shared_compile_cache,
            };
            let client = Client::of(call.party.network().as_bytes(), &session);
            let prepared = host.executor().prepare(scope, client, &open.program).await;
            prepared.map_err(|error| (error, sha256(&open.program)))
        }
    };
    match found {
        Ok(ready) => {
            let digest = *ready.digest();
            let work =
                inputs(open.stdin, open.arguments).map(|inputs| Work::Program(ready, inputs));
            Ok((work, digest))
        }
        Err((PrepareError::Program(exit), digest)) => Ok((Err(exit), digest)),
        Err((PrepareError::Host(message), _)) => Err(Refusal::internal(message)),
        Err((PrepareError::Busy, _)) => Err(Refusal::overloaded()),
    }
}

fn not_here() -> Exit {
    let detail =
        "this session sent no program of this digest, or it is no longer kept: send the program";
    rejected(Rejection::UnknownProgram, detail)
}

fn script(language: Language, open: OpenRequest) -> Found {
    let digest = sha256(&open.program);
    let source = String::from_utf8(open.program).map_err(|e| {
        let detail = format!("the script is not UTF-8: {}", e.utf8_error());
        rejected(Rejection::InvalidSource, detail)
    });
    let work = source.and_then(|source| {
        let inputs = inputs(open.stdin, open.arguments)?;
        Ok(Work::Script(language, source, inputs))
    });
    (work, digest)
}

/// Loads the agent and reads the request for it.
async fn agent_call(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    open: OpenRequest,
    is_paid: bool,
) -> Result<Found, Refusal> {
    match front_call(call, host, exchange, &open) {
        Ok(None) => {}
        Ok(Some(found)) => return Ok(found),
        Err(exit) => return Ok((Err(exit), [0; 32])),
    }
    let agent = match called(call, host, exchange, &open.program, is_paid) {
        Ok(agent) => agent,
        Err(exit) => return Ok((Err(exit), [0; 32])),
    };
    let digest = agent.terms.digest;
    let loaded = match &call.way.target {
        Some(target) if Arc::ptr_eq(&target.agent, &agent) => target.ready(host).await,
        _ => host.agents().ready(&agent).await,
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(PrepareError::Busy) => return Err(Refusal::overloaded()),
        Err(error) => {
            let exit = refusal(error).map_err(Refusal::internal)?;
            return Ok((Err(exit), digest));
        }
    };
    let work = match loaded {
        Agent::Service(service) => {
            let request = service_request(&agent, open.stdin.as_deref().unwrap_or_default());
            request.map(|request| Work::Service(agent, service, Box::new(request)))
        }
        Agent::Command(command) => {
            inputs(open.stdin, open.arguments).map(|inputs| Work::Command(agent, command, inputs))
        }
    };
    Ok((work, digest))
}

/// What is called where the name is of something that answers in the host's own name: `NAME.protocol`, or `_.protocol` for whatever
/// answers at the request's path.
fn front_call(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    open: &OpenRequest,
) -> Result<Option<Found>, Exit> {
    let (name, pinned) =
        ComponentDigest::split(&open.program).map_err(|error| unknown(error.to_string()))?;
    let Some(front) = reference(call, name)?.strip_suffix(FRONT) else {
        return Ok(None);
    };
    let invalid = |detail: String| rejected(Rejection::InvalidRequest, detail);
    let input = open.stdin.as_deref().unwrap_or_default();
    let (mut request, trailers) = bhttp::decode_request(input).map_err(invalid)?;
    let found = host.fronts().at(request.uri().path());
    // What answers in the host's own name does not reach what does, itself among them.
    let found = found.filter(|_| call.chain.is_empty());
    let found = found.filter(|it| front == ANY || it.agent.terms.address.name.as_str() == front);
    let found = found.ok_or_else(|| unknown("nothing of this name answers at this path"))?;
    let agent = Arc::clone(&found.agent);
    require(pinned, &agent)?;
    let caller = match exchange.owner() {
        Some(owner) => format!("owner={owner}"),
        None => "anonymous".to_owned(),
    };
    let caller = HeaderValue::from_str(&caller).map_err(|e| invalid(e.to_string()))?;
    let headers = request.headers_mut();
    headers.remove(FORWARDED_PREFIX);
    headers.insert(CALLER, caller);
    headers
        .entry(http::header::HOST)
        .or_insert(HeaderValue::from_static("host.internal"));
    let digest = agent.terms.digest;
    let Agent::Service(service) = found.code.clone() else {
        return Err(unknown("it answers no HTTP"));
    };
    let request = Box::new(request.map(|body| bhttp::whole(body, trailers)));
    Ok(Some((Ok(Work::Service(agent, service, request)), digest)))
}

/// What stands behind the names of those that answer in the host's own name.
const FRONT: &str = ".protocol";
/// The name of whatever of them answers.
const ANY: &str = "_";

/// Refuses an agent that is not of the digest that the caller named.
fn require(pinned: Option<ComponentDigest>, agent: &Deployed) -> Result<(), Exit> {
    let terms = &agent.terms;
    if pinned.is_some_and(|pinned| !pinned.matches(&terms.digest, &terms.sha384)) {
        let detail = "another component answers to this name; look at it again before you call it";
        return Err(rejected(Rejection::WrongDigest, detail));
    }
    Ok(())
}

/// The agent that is called: the one that the path led to when the call entered. An owner's own agents come first, and those
/// that only the owner may know of.
fn called(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    name: &[u8],
    is_paid: bool,
) -> Result<Arc<Deployed>, Exit> {
    let (name, pinned) =
        ComponentDigest::split(name).map_err(|error| unknown(error.to_string()))?;
    let name = reference(call, name)?;
    let owner = exchange.owner();
    let agent = match (&call.way.target, &owner) {
        (Some(target), owner) if is_paid || owner.is_none() => Arc::clone(&target.agent),
        (_, owner) => host
            .agents()
            .find(name, owner.as_ref())
            .ok_or_else(|| unknown(NO_AGENT))?,
    };
    require(pinned, &agent)?;
    // A price is asked for by the agent that was found first; what has come in its place meanwhile is not free for that.
    if !is_paid
        && agent.terms.manifest.price.is_some()
        && owner.as_ref() != Some(agent.terms.owner())
    {
        return Err(unknown(
            "the agent has a price, and this call was not paid for: send it again",
        ));
    }
    Ok(agent)
}

const NO_AGENT: &str = "there is no such agent, or none that this caller may know of";

fn unknown(detail: impl Into<String>) -> Exit {
    rejected(Rejection::UnknownAgent, detail)
}

fn rejected(problem: Rejection, detail: impl Into<String>) -> Exit {
    let detail = detail.into();
    Exit::Rejected { problem, detail }
}

/// The name that the client sealed, which must be the one of the path, where the path has one.
fn reference<'a>(call: &Call<Sealed>, name: &'a [u8]) -> Result<&'a str, Exit> {
    let name = str::from_utf8(name).map_err(|_| unknown("the name is not UTF-8"))?;
    let in_path = call.way.route.path.strip_prefix(PREFIX);
    if in_path.is_some_and(|path| path != name) {
        return Err(unknown("the sealed name does not match the path"));
    }
    Ok(name)
}

/// Reads a request for a service.
fn service_request(agent: &Deployed, bytes: &[u8]) -> Result<Request<bhttp::Whole>, Exit> {
    let invalid = |detail: String| rejected(Rejection::InvalidRequest, detail);
    let (mut request, trailers) = bhttp::decode_request(bytes).map_err(invalid)?;
    let host = HeaderValue::from_str(&format!("{}.agent.internal", agent.terms.address))
        .map_err(|e| invalid(e.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(http::header::HOST, host);
    // Only plain calls have a prefix, and only the host says it.
    headers.remove(FORWARDED_PREFIX);
    Ok(request.map(|body| bhttp::whole(body, trailers)))
}

async fn deploy(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    open: OpenRequest,
) -> Result<Found, Refusal> {
    let from = call.party.network();
    let digest = sha256(&open.program);
    let manifest = open.stdin.unwrap_or_default();
    let plan = match owner_of(exchange) {
        Ok(owner) => {
            let agents = host.agents();
            agents.plan(&from, owner, open.program, &manifest).await
        }
        Err(exit) => Err(exit.into()),
    };
    match plan {
        Ok(plan) => Ok((Ok(Work::Deploy(Box::new(plan))), digest)),
        Err(PrepareError::Program(exit)) => Ok((Err(exit), digest)),
        Err(PrepareError::Host(message)) => Err(Refusal::internal(message)),
        Err(PrepareError::Busy) => Err(Refusal::overloaded()),
    }
}

/// Work about the owner's environments.
fn environment(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    operation: Operation,
    open: OpenRequest,
) -> Found {
    // A name is nothing that a digest could be of.
    let digest = match operation {
        Operation::Setup => sha256(&open.program),
        _ => [0; 32],
    };
    let planned = owner_of(exchange).and_then(|owner| {
        let users = host.environment_users();
        let uses = matches!(
            operation,
            Operation::Setup | Operation::Execute | Operation::Evaluate | Operation::Fork
        );
        let environments = host.environments().filter(|_| !uses || users.include(owner));
        let environments = environments.ok_or_else(|| {
            let detail = format!(
                "this host's operator does not let this owner use environments; the id to be named in [environments] `owners`, unless `setup` is false, is {}",
                Owner::from(owner)
            );
            rejected(Rejection::NotOwner, detail)
        })?;
        environments.plan(Environment {
            operation,
            owner,
            // Keys of owners cost nothing where everybody may.
            network: (*users == Deployers::Everybody).then(|| call.party.network()),
            environment: open.program,
            digest,
            input: open.stdin.unwrap_or_default(),
            commitment: open.commitment,
        })
    });
    let digest = planned.as_ref().map_or(digest, Job::digest);
    let work = planned.map(|job| Work::Environment(Box::new(job)));
    (work, digest)
}

/// Work about one agent of the owner's.
fn about(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    open: &OpenRequest,
    work: impl FnOnce(Arc<Deployed>) -> Work,
) -> Found {
    let found = owner_of(exchange).and_then(|_| {
        let owner = exchange.owner();
        let name = reference(call, &open.program)?;
        let agent = host
            .agents()
            .find(name, owner.as_ref())
            .ok_or_else(|| unknown(NO_AGENT))?;
        if owner.as_ref() == Some(agent.terms.owner()) {
            Ok(agent)
        } else {
            let detail = "the agent is another owner's";
            Err(rejected(Rejection::NotOwner, detail))
        }
    });
    let digest = found.as_ref().map_or([0; 32], |agent| agent.terms.digest);
    (found.map(work), digest)
}

fn owner_of(exchange: &Exchange) -> Result<&hypervisor_protocol::PublicKey, Exit> {
    let detail = "the request has no proof of an owner's key, in `owner`";
    let owner = exchange.owner.as_ref();
    owner.ok_or_else(|| rejected(Rejection::NotOwner, detail))
}

impl Work {
    /// Whether the policy has a say: an owner may always look at an agent and remove it.
    pub(super) fn is_subject_to_policy(&self) -> bool {
        match self {
            Self::Remove(_) | Self::Logs(_) | Self::List(_) => false,
            Self::Environment(job) => job.runs(),
            _ => true,
        }
    }
}

/// What the policy is asked.
pub(super) fn action(
    call: &Call<Sealed>,
    host: &Host,
    exchange: &Exchange,
    work: &Work,
    (digest, sizes): (&[u8; 32], Sizes),
    charge: Option<Charge>,
) -> Action {
    let path = call.way.route.path.clone();
    let (action, program) = match work {
        Work::Service(agent, ..) | Work::Command(agent, ..) => {
            (invocation(host, agent, "", charge), 0)
        }
        work => {
            let (action, size) = match work {
                Work::Program(program, _) => {
                    let action = Action {
                        imports: program.imports().to_vec(),
                        ..Action::new(ActionKind::ExecuteWasm, *digest, path)
                    };
                    // What was sent may have been its name.
                    (action, program.length())
                }
                Work::Deploy(plan) => {
                    let action = plan.terms.action(ActionKind::DeployAgent, path);
                    (action, sizes.program)
                }
                _ => {
                    let action = Action::new(ActionKind::ExecuteScript, *digest, path);
                    (action, sizes.program)
                }
            };
            (Action { charge, ..action }, size)
        }
    };
    Action {
        caller: Some(exchange.session.client().to_bytes()),
        caller_owner: exchange.owner().map(|owner| owner.to_string()),
        method: Some("POST".to_owned()),
        program_bytes: program,
        input_bytes: sizes.input,
        arguments: sizes.arguments,
        argument_bytes: sizes.argument_bytes,
        ..action
    }
}
