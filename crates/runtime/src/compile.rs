//! Compiling a program in a process of its own, bounded in time, memory and number.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hypervisor_protocol::{LimitKind, Rejection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::native::TrustedCode;
use super::outcome::Exit;
use super::prepare::PrepareError;
use super::worker::Header;

/// Largest [`Header`], bytes: a refusal's detail is bounded well below it.
const MAX_HEADER: u32 = 64 << 10;
/// Time for one plugin.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(600);
/// What the allocator prints when the address-space limit is reached.
const OUT_OF_MEMORY: &[u8] = b"memory allocation of";

/// Starts compiler processes.
#[derive(Debug)]
pub(super) struct Compiler {
    executable: PathBuf,
    deadline: Duration,
    address_space: u64,
    plugins: bool,
    slots: Semaphore,
}

/// Machine code and what the host must know before loading it.
pub(super) struct Compiled {
    pub(super) code: TrustedCode,
    pub(super) initial_memory: u64,
    pub(super) imports: Vec<String>,
}

impl Compiler {
    pub(super) fn new(
        executable: PathBuf,
        deadline: Duration,
        address_space: u64,
        at_once: usize,
    ) -> Self {
        Self {
            executable,
            deadline,
            address_space,
            plugins: false,
            slots: Semaphore::new(at_once),
        }
    }

    /// A compiler for what the operator loads: any world, and time for the largest.
    pub(super) fn for_plugins(executable: PathBuf, address_space: u64) -> Self {
        Self::new(executable, PLUGIN_DEADLINE, address_space, 1).any_world()
    }

    /// For components that need not be commands: their world was checked.
    pub(super) fn any_world(self) -> Self {
        Self {
            plugins: true,
            ..self
        }
    }

    /// Compiles `program`. Dropping the future ends the process.
    pub(super) async fn compile(&self, program: &[u8]) -> Result<Compiled, PrepareError> {
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| host("the compiler is shut down"))?;
        let started = Instant::now();
        match tokio::time::timeout(self.deadline, self.run(program)).await {
            Ok(result) => result,
            Err(_) => Err(PrepareError::Program(Exit::Limit {
                which: LimitKind::CompileTime,
                used: micros(started.elapsed()),
                allowed: micros(self.deadline),
            })),
        }
    }

    async fn run(&self, program: &[u8]) -> Result<Compiled, PrepareError> {
        let mut child = Command::new(&self.executable)
            .arg("compile-worker")
            .arg("--address-space")
            .arg(self.address_space.to_string())
            .args(self.plugins.then_some("--plugin"))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| host(format!("cannot start the compiler process: {e}")))?;
        let (answer, errors) = converse(&mut child, program).await;
        let status = child
            .wait()
            .await
            .map_err(|e| host(format!("compiler process: {e}")))?;
        if !status.success() {
            return Err(self.crashed(status, &errors));
        }
        parse(answer)
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

/// Writes the program and reads both streams to their ends, all at once so that no pipe fills up.
async fn converse(child: &mut Child, program: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Kept open until the answer is here: its end tells the worker that the host has gone.
    let mut stdin = stdin;
    let write = async {
        if let Some(stdin) = &mut stdin {
            let length = u64::try_from(program.len()).unwrap_or(u64::MAX);
            // A worker that stopped reading says why on its other streams.
            if stdin.write_all(&length.to_be_bytes()).await.is_ok() {
                let _ = stdin.write_all(program).await;
                let _ = stdin.flush().await;
            }
        }
    };
    let (mut answer, mut errors) = (Vec::new(), Vec::new());
    let read_answer = async {
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_end(&mut answer).await;
        }
    };
    let read_errors = async {
        if let Some(stderr) = stderr {
            let _ = stderr
                .take(MAX_HEADER.into())
                .read_to_end(&mut errors)
                .await;
        }
    };
    tokio::join!(write, read_answer, read_errors);
    (answer, errors)
}

fn parse(mut answer: Vec<u8>) -> Result<Compiled, PrepareError> {
    let malformed = || host("the compiler process gave a malformed answer");
    let (length, rest) = answer.split_first_chunk::<4>().ok_or_else(malformed)?;
    let length = u32::from_be_bytes(*length);
    let header = usize::try_from(length.min(MAX_HEADER))
        .ok()
        .and_then(|n| rest.get(..n))
        .ok_or_else(malformed)?;
    let start = header.len().saturating_add(4);
    match serde_json::from_slice(header).map_err(|_| malformed())? {
        Header::Refused { problem, detail } => {
            Err(PrepareError::Program(Exit::Rejected { problem, detail }))
        }
        Header::Ok {
            initial_memory,
            imports,
        } => {
            let code = TrustedCode::from_compiler_process(answer.split_off(start));
            Ok(Compiled {
                code,
                initial_memory,
                imports,
            })
        }
    }
}

fn host(message: impl Into<String>) -> PrepareError {
    PrepareError::Host(message.into())
}

/// Whole microseconds, the unit of every time in a report.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
