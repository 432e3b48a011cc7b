//! Preparing: programs are read, compiled in a process of their own and linked; agents are compiled and linked the same way.

use std::sync::Arc;
use std::time::Instant;

use hypervisor_protocol::{LimitKind, Rejection};
use hypervisor_wasm_check::{Refusal, cut, kind_of};
use sha2::{Digest, Sha384};
use wasmtime::component::{InstancePre, Linker};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::Executor;
use super::cache::{Scope, sha256};
use super::compile::{Compiled, Compiler, Job, micros};
use super::gate::{Busy, Client};
use super::guest::Guest;
use super::native::TrustedCode;
use super::outcome::Exit;
use crate::limits::Limits;

/// Characters of the engine's words that a rejection quotes.
const MAX_WORDS: usize = 1_500;

/// A program ready to run: compiled, linked, never instantiated yet. Cheap to clone.
#[derive(Clone)]
pub struct Program {
    pub(super) prepared: Arc<Prepared>,
}

pub(super) struct Prepared {
    pub(super) pre: CommandPre<Guest>,
    digest: [u8; 32],
    /// SHA-384 of the same bytes.
    pub(super) sha384: [u8; 48],
    /// Bytes of the program.
    length: usize,
    imports: Vec<String>,
    /// Bytes of machine code.
    pub(super) size: usize,
}

impl Program {
    /// SHA-256 of the program's bytes as the client sent them.
    pub fn digest(&self) -> &[u8; 32] {
        &self.prepared.digest
    }

    /// Bytes of the program as the client sent it.
    pub fn length(&self) -> usize {
        self.prepared.length
    }

    /// Interfaces the program imports.
    pub fn imports(&self) -> &[String] {
        &self.prepared.imports
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("size", &self.prepared.size)
            .finish_non_exhaustive()
    }
}

/// Why a program or an agent was not prepared.
#[derive(Debug, Clone)]
pub enum PrepareError {
    /// The program's own fault: belongs in its sealed report.
    Program(Exit),
    /// The host's fault. The message names no part of the program.
    Host(String),
    /// More programs wait to be compiled than may: try again later.
    Busy,
}

impl From<Exit> for PrepareError {
    fn from(exit: Exit) -> Self {
        Self::Program(exit)
    }
}

impl From<Busy> for PrepareError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl From<Refusal> for PrepareError {
    fn from(refusal: Refusal) -> Self {
        Self::Program(Exit::Rejected {
            problem: refusal.problem,
            detail: refusal.detail,
        })
    }
}

/// For an error of preparing that is the program's own: its words.
pub fn refusal(error: PrepareError) -> Result<Exit, String> {
    match error {
        PrepareError::Program(exit) => Ok(exit),
        PrepareError::Host(message) => Err(message),
        PrepareError::Busy => Err("too many programs wait to be compiled".to_owned()),
    }
}

impl Executor {
    /// Compiles and links `program`, or finds it in the cache of `scope`. Programs that are asked for at the same time
    /// by the same scope compile once. `client` is whose turn it takes.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn prepare(
        &self,
        scope: Scope,
        client: Client,
        program: &[u8],
    ) -> Result<Program, PrepareError> {
        self.cache
            .get_or_prepare(scope, program, || self.compile(client, program))
            .await
    }

    /// The program of this SHA-256, where the session has sent it and it is still in the cache.
    pub async fn sent(&self, session: &[u8; 16], digest: &[u8; 32]) -> Option<Program> {
        self.cache.sent(session, digest).await
    }

    async fn compile(&self, client: Client, program: &[u8]) -> Result<Program, PrepareError> {
        let started = Instant::now();
        // All the rest is read in the compiler process.
        kind_of(program)?;
        let limits = self.sandboxes.limits();
        let job = Job {
            program,
            any_world: false,
            deadline: self.compile_time,
        };
        let Compiled { code, imports, .. } = compiled(&self.compiler, client, job, limits).await?;
        let size = code.len();
        self.sandboxes.surroundings().compiled(started.elapsed());
        tracing::debug!(
            program_bytes = program.len(),
            code_bytes = size,
            micros = micros(started.elapsed()),
            "compiled a program"
        );
        let linked = link(code, &self.linker, limits).await?;
        let pre = CommandPre::new(linked).map_err(|error| unlinkable(&error, limits))?;
        Ok(Program {
            prepared: Arc::new(Prepared {
                pre,
                digest: sha256(program),
                sha384: Sha384::digest(program).into(),
                length: program.len(),
                imports,
                size,
            }),
        })
    }
}

/// Compiles a component that runs under `limits`: what asks for more memory than that before its first instruction is refused.
pub(super) async fn compiled(
    compiler: &Compiler,
    client: Client,
    job: Job<'_>,
    limits: &Limits,
) -> Result<Compiled, PrepareError> {
    let compiled = compiler.compile(client, job).await?;
    let (used, allowed) = (compiled.initial_memory, limits.memory);
    if used > allowed {
        return Err(PrepareError::Program(Exit::Limit {
            which: LimitKind::Memory,
            used,
            allowed,
        }));
    }
    Ok(compiled)
}

/// Loads machine code and links it, away from the threads that serve.
pub(super) async fn linked(
    code: TrustedCode,
    linker: &Linker<Guest>,
) -> wasmtime::Result<InstancePre<Guest>> {
    let linker = linker.clone();
    let link = move || linker.instantiate_pre(&code.load(linker.engine())?);
    tokio::task::spawn_blocking(link).await?
}

/// The same of what is not the operator's.
pub(super) async fn link(
    code: TrustedCode,
    linker: &Linker<Guest>,
    limits: &Limits,
) -> Result<InstancePre<Guest>, PrepareError> {
    linked(code, linker).await.map_err(|error| {
        if error.is::<tokio::task::JoinError>() {
            return PrepareError::Host(format!("linking: {error}"));
        }
        unlinkable(&error, limits)
    })
}

/// What inspection cannot see: a function that the host's version of an interface lacks, or a bound of the instance pool.
pub(super) fn unlinkable(error: &wasmtime::Error, limits: &Limits) -> PrepareError {
    let message = format!("{error:#}");
    let limit = |which, before: &str, allowed: usize| {
        let used = number_before(&message, before)?;
        Some(Exit::Limit {
            which,
            used,
            allowed: u64::try_from(allowed).unwrap_or(u64::MAX),
        })
    };
    // The engine has no types for these errors; the words are checked by a test for each.
    let exit = limit(
        LimitKind::Instances,
        " core module instances",
        limits.instances,
    )
    .or_else(|| {
        limit(
            LimitKind::Table,
            " which exceeds the limit of",
            limits.table_elements,
        )
    })
    .unwrap_or_else(|| Exit::Rejected {
        problem: Rejection::InvalidComponent,
        detail: format!("the program does not link: {}", cut(&message, MAX_WORDS)),
    });
    PrepareError::Program(exit)
}

/// The number that stands right before `words` in `message`.
fn number_before(message: &str, words: &str) -> Option<u64> {
    let (before, _) = message.split_once(words)?;
    before.rsplit(' ').next()?.parse().ok()
}
