//! Compiling a program in a process of its own, bounded in time, memory and number.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hypervisor_protocol::{LimitKind, Rejection};
use hypervisor_wasm_check::{AgentInspection, Import, MAX_IMPORTS, MAX_NAME, Plugins};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::gate::{Client, Gate};
use super::native::TrustedCode;
use super::outcome::Exit;
use super::prepare::PrepareError;
use super::worker::{Header, Task};

/// Largest [`Header`], bytes: as many imports as may be, each of its longest name, every byte escaped.
const MAX_HEADER: usize = 4_096 + MAX_IMPORTS * (MAX_NAME * 6 + 8);
/// What the compiler process may say on its standard error, bytes.
const MAX_ERRORS: u64 = 64 << 10;
/// Processor time for one plugin.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(600);
/// Processor time for reading an agent.
const INSPECTION: Duration = Duration::from_secs(10);
/// How much longer a compilation may take than its processor time, on a machine that is busy.
pub(super) const SLACK: u32 = 4;
/// What the allocator prints when the address-space limit is reached.
const OUT_OF_MEMORY: &[u8] = b"memory allocation of";

/// Starts compiler processes.
#[derive(Debug)]
pub(super) struct Compiler {
    executable: PathBuf,
    address_space: u64,
    /// Most machine code of what is not the operator's, bytes.
    most_code: u64,
    compilations: Gate,
    inspections: Gate,
}

/// What is compiled, and by when.
pub(super) struct Job<'a> {
    pub(super) program: &'a [u8],
    /// It need not be a command: its world was judged.
    pub(super) any_world: bool,
    /// Processor time.
    pub(super) deadline: Duration,
}

/// Machine code and what the host must know before loading it.
pub(super) struct Compiled {
    pub(super) code: TrustedCode,
    pub(super) initial_memory: u64,
    pub(super) imports: Vec<String>,
}

impl Compiler {
    /// `at_once` compilations of clients, `of_peer` of those of one peer, each of which waits for no longer than `patience`.
    pub(super) fn new(
        executable: PathBuf,
        address_space: u64,
        most_code: u64,
        (at_once, of_peer): (usize, usize),
        patience: Duration,
    ) -> Self {
        Self {
            executable,
            address_space,
            most_code,
            compilations: Gate::new(at_once, of_peer, patience),
            inspections: Gate::new(at_once, of_peer, patience),
        }
    }

    /// Compiles what a client sent, when it is that client's turn. Dropping the future ends the process.
    pub(super) async fn compile(
        &self,
        client: Client,
        job: Job<'_>,
    ) -> Result<Compiled, PrepareError> {
        let _place = self.compilations.enter(client).await?;
        self.compiled(job, self.most_code).await
    }

    /// Compiles what the operator loads: any world, and time for the largest. It waits for no client.
    pub(super) async fn compile_plugin(&self, program: &[u8]) -> Result<Compiled, PrepareError> {
        let job = Job {
            program,
            any_world: true,
            deadline: PLUGIN_DEADLINE,
        };
        self.compiled(job, u64::MAX).await
    }

    /// Reads a component that is to become an agent.
    pub(super) async fn inspect_agent(
        &self,
        client: Client,
        program: &[u8],
        plugins: Plugins,
    ) -> Result<AgentInspection, PrepareError> {
        let _place = self.inspections.enter(client).await?;
        let job = Job {
            program,
            any_world: true,
            deadline: INSPECTION,
        };
        match self.bounded(Task::Inspect(plugins), &job, 0).await? {
            (Header::Agent { world, imports }, _) => {
                let judged = imports
                    .iter()
                    .take(MAX_IMPORTS)
                    .map(|name| Import::judge(name).for_agent_of(plugins))
                    .collect();
                Ok(AgentInspection {
                    world,
                    imports: judged,
                })
            }
            _ => Err(malformed()),
        }
    }

    async fn compiled(&self, job: Job<'_>, most_code: u64) -> Result<Compiled, PrepareError> {
        match self.bounded(Task::Compile, &job, most_code).await? {
            (
                Header::Ok {
                    initial_memory,
                    imports,
                },
                code,
            ) => Ok(Compiled {
                code: TrustedCode::from_compiler_process(code),
                initial_memory,
                imports,
            }),
            _ => Err(malformed()),
        }
    }

    /// Has a process do it, within its time.
    async fn bounded(
        &self,
        task: Task,
        job: &Job<'_>,
        most_code: u64,
    ) -> Result<(Header, Vec<u8>), PrepareError> {
        let started = Instant::now();
        let late = || {
            PrepareError::Program(Exit::Limit {
                which: LimitKind::CompileTime,
                used: micros(started.elapsed().max(job.deadline)),
                allowed: micros(job.deadline),
            })
        };
        let elapsed = job.deadline.saturating_mul(SLACK);
        match tokio::time::timeout(elapsed, self.run(task, job, most_code)).await {
            Ok(answer) => answer?.ok_or_else(late),
            Err(_) => Err(late()),
        }
    }

    /// None where the process used up its processor time.
    async fn run(
        &self,
        task: Task,
        job: &Job<'_>,
        most_code: u64,
    ) -> Result<Option<(Header, Vec<u8>)>, PrepareError> {
        let mut child = Command::new(&self.executable)
            .arg("compile-worker")
            .arg("--address-space")
            .arg(self.address_space.to_string())
            .args(job.any_world.then_some("--plugin"))
            .env_clear()
            // Each arena of the C library, of which the compiler's threads use next to nothing, takes 64 MiB of its address space.
            .env("MALLOC_ARENA_MAX", "1")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| host(format!("cannot start the compiler process: {e}")))?;
        let most = most_code.saturating_add(u64::try_from(MAX_HEADER).unwrap_or(u64::MAX));
        let (answer, errors) = converse(&mut child, task, job, most).await;
        if u64::try_from(answer.len()).is_ok_and(|length| length > most) {
            return Err(PrepareError::Program(Exit::Limit {
                which: LimitKind::CompileMemory,
                used: most_code.saturating_add(1),
                allowed: most_code,
            }));
        }
        let status = child
            .wait()
            .await
            .map_err(|e| host(format!("compiler process: {e}")))?;
        if status.signal() == Some(Signal::XCPU.as_raw()) {
            return Ok(None);
        }
        if !status.success() {
            return Err(self.crashed(status, &errors));
        }
        parse(answer).map(Some)
    }

    /// The compiler died on this program: its report says so, and whether memory was why.
    fn crashed(&self, status: ExitStatus, errors: &[u8]) -> PrepareError {
        let out_of_memory = errors
            .windows(OUT_OF_MEMORY.len())
            .any(|window| window == OUT_OF_MEMORY);
        PrepareError::Program(if out_of_memory {
            Exit::Limit {
                which: LimitKind::CompileMemory,
                used: self.address_space,
                allowed: self.address_space,
            }
        } else {
            Exit::Rejected {
                problem: Rejection::InvalidComponent,
                detail: format!("the compiler did not survive this program ({status})"),
            }
        })
    }
}

/// Writes the program and reads both streams to their ends, all at once so that no pipe fills up. Of the answer it reads one byte
/// more than `most`, at most.
async fn converse(child: &mut Child, task: Task, job: &Job<'_>, most: u64) -> (Vec<u8>, Vec<u8>) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Kept open until the answer is here: its end tells the worker that the host has gone.
    let mut stdin = stdin;
    let write = async {
        if let Some(stdin) = &mut stdin {
            let head = task.head(job.deadline, job.program.len());
            // A worker that stopped reading says why on its other streams.
            if stdin.write_all(&head).await.is_ok() {
                let _ = stdin.write_all(job.program).await;
                let _ = stdin.flush().await;
            }
        }
    };
    let (mut answer, mut errors) = (Vec::new(), Vec::new());
    let read_answer = async {
        if let Some(stdout) = stdout {
            let mut stdout = stdout.take(most.saturating_add(1));
            let _ = stdout.read_to_end(&mut answer).await;
        }
    };
    let read_errors = async {
        if let Some(stderr) = stderr {
            let _ = stderr.take(MAX_ERRORS).read_to_end(&mut errors).await;
        }
    };
    tokio::join!(write, read_answer, read_errors);
    (answer, errors)
}

fn parse(mut answer: Vec<u8>) -> Result<(Header, Vec<u8>), PrepareError> {
    let (length, rest) = answer.split_first_chunk::<4>().ok_or_else(malformed)?;
    let header = usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .filter(|length| *length <= MAX_HEADER)
        .and_then(|n| rest.get(..n))
        .ok_or_else(malformed)?;
    let start = header.len().saturating_add(4);
    match serde_json::from_slice(header).map_err(|_| malformed())? {
        Header::Refused { problem, detail } => {
            Err(PrepareError::Program(Exit::Rejected { problem, detail }))
        }
        header => Ok((header, answer.split_off(start))),
    }
}

fn malformed() -> PrepareError {
    host("the compiler process gave a malformed answer")
}

fn host(message: impl Into<String>) -> PrepareError {
    PrepareError::Host(message.into())
}

/// Whole microseconds, the unit of every time in a report.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
