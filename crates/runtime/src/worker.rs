//! The compiler process: `hypervisor compile-worker`, started by the host for each program it has to compile.
//!
//! A process of its own because a compilation cannot be stopped inside one: at its deadline, or when the client goes
//! away, the host ends the process. It holds no keys and sees one program.
//!
//! Standard input: a byte that says what to do ([`Task`]), `u32` big-endian seconds of processor time for it, `u64` big-endian
//! length, the program, and then nothing until the host closes it: that the host has gone is the worker's sign to end. (A
//! parent-death signal would follow the host's thread, not the host.) Standard output: `u32` big-endian length, that many
//! bytes of JSON ([`Header`]), then machine code to end of file when the header says `ok`.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use hypervisor_protocol::Rejection;
use hypervisor_protocol::agent::AgentWorld;
use hypervisor_wasm_check::{Plugins, Refusal, inspect};
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use super::adapt::{Adapted, command_component};
use super::engine::compile_settings;
use super::instrument::instrument;
use super::typed::RUNTIME;

/// First part of the worker's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Header {
    /// Machine code follows.
    Ok {
        /// Bytes of linear memory the program asks for before it starts.
        initial_memory: u64,
        /// Interfaces the component imports, after adaptation.
        imports: Vec<String>,
    },
    /// What it is as an agent.
    Agent {
        /// What it is called by.
        world: AgentWorld,
        /// Interfaces it imports. None is missing.
        imports: Vec<String>,
    },
    /// The program cannot run.
    Refused {
        /// Stable class.
        problem: Rejection,
        /// One sentence, sealed later.
        detail: String,
    },
}

/// What the host wants to know of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Its machine code.
    Compile,
    /// What it is as an agent of a host with these plugins.
    Inspect(Plugins),
}

const COMPILE: u8 = 0;
const INSPECT: u8 = 1 << 7;
const POLICY: u8 = 1;
const PAYMENTS: u8 = 2;
const HEAD: usize = 1 + 4 + 8;

impl Task {
    /// What precedes the program on standard input.
    pub(super) fn head(self, processor_time: Duration, length: usize) -> [u8; HEAD] {
        let byte = match self {
            Self::Compile => COMPILE,
            Self::Inspect(has) => {
                let policy = if has.policy { POLICY } else { 0 };
                let payments = if has.payments { PAYMENTS } else { 0 };
                INSPECT | policy | payments
            }
        };
        let whole = processor_time.as_secs();
        let seconds = whole.saturating_add(u64::from(processor_time.subsec_nanos() > 0));
        let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let mut head = [0; HEAD];
        let (task, rest) = head.split_at_mut(1);
        let (time, size) = rest.split_at_mut(4);
        task.copy_from_slice(&[byte]);
        time.copy_from_slice(&seconds.to_be_bytes());
        size.copy_from_slice(&length.to_be_bytes());
        head
    }

    fn of(byte: u8) -> Self {
        if byte & INSPECT == 0 {
            return Self::Compile;
        }
        Self::Inspect(Plugins {
            policy: byte & POLICY != 0,
            payments: byte & PAYMENTS != 0,
            rows: false,
        })
    }
}

/// Lower priority than serving: a compilation must not delay executions that are ready to run.
const NICE: i32 = 5;

/// Runs the worker on this process's standard streams. `address_space` bounds its memory, bytes. A `plugin` need not be a
/// command: the host checked its world.
pub fn main(address_space: u64, plugin: bool) -> io::Result<()> {
    setrlimit(
        Resource::As,
        Rlimit {
            current: Some(address_space),
            maximum: Some(address_space),
        },
    )?;
    nice(NICE)?;
    // Before a byte of the program is read.
    hypervisor_confine::process();

    // Built while the program is still arriving.
    let engine = Engine::new(&compile_settings()).map_err(io::Error::other)?;
    let (task, program) = receive(&mut io::stdin().lock())?;
    thread::spawn(end_with_the_host);
    let answer = match task {
        Task::Compile => compile(&engine, &program, plugin),
        Task::Inspect(plugins) => read(&program, plugins),
    };

    let mut out = io::stdout().lock();
    let (header, code) = match answer {
        Ok((header, code)) => (header, code),
        Err(Refusal { problem, detail }) => (Header::Refused { problem, detail }, Vec::new()),
    };
    let header = serde_json::to_vec(&header)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&header)?;
    out.write_all(&code)?;
    out.flush()
}

fn receive(input: &mut impl Read) -> io::Result<(Task, Vec<u8>)> {
    let (mut task, mut seconds, mut length) = ([0; 1], [0; 4], [0; 8]);
    input.read_exact(&mut task)?;
    input.read_exact(&mut seconds)?;
    input.read_exact(&mut length)?;
    let seconds = u64::from(u32::from_be_bytes(seconds));
    // The signal of the lower one tells the host why the process ended; the higher one kills.
    setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(seconds),
            maximum: Some(seconds.saturating_add(1)),
        },
    )?;
    let length = u64::from_be_bytes(length);
    let mut program = Vec::new();
    input.take(length).read_to_end(&mut program)?;
    if u64::try_from(program.len()).is_ok_and(|received| received == length) {
        let [task] = task;
        Ok((Task::of(task), program))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn read(program: &[u8], plugins: Plugins) -> Result<(Header, Vec<u8>), Refusal> {
    let agent = inspect(program)?.into_agent(plugins)?;
    let imports = agent
        .imports
        .into_iter()
        .map(|import| import.name)
        .collect();
    let world = agent.world;
    Ok((Header::Agent { world, imports }, Vec::new()))
}

/// Waits for the end of standard input.
fn end_with_the_host() {
    let _ = io::stdin().lock().read(&mut [0]);
    std::process::exit(1);
}

fn compile(engine: &Engine, program: &[u8], plugin: bool) -> Result<(Header, Vec<u8>), Refusal> {
    let Adapted {
        component,
        inspection,
    } = if plugin {
        let inspection = inspect(program)?;
        let component = if inspection.exports_interface(RUNTIME) {
            let instrumented = instrument(program);
            let refused = |e| {
                Refusal::new(
                    Rejection::InvalidComponent,
                    format!("its memory cannot be kept: {e}"),
                )
            };
            Cow::Owned(instrumented.map_err(refused)?)
        } else {
            Cow::Borrowed(program)
        };
        Adapted {
            component,
            inspection,
        }
    } else {
        command_component(program)?
    };
    let code = engine.precompile_component(&component).map_err(|e| {
        Refusal::new(
            Rejection::InvalidComponent,
            format!("the program does not compile: {e:#}"),
        )
    })?;
    let imports = inspection
        .imports
        .into_iter()
        .map(|import| import.name)
        .collect();
    Ok((
        Header::Ok {
            initial_memory: inspection.initial_memory,
            imports,
        },
        code,
    ))
}
