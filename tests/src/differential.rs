//! Programs that nobody wrote, inside a host and in the bare engine under the same limits: they have to end the same way.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use hypervisor_client::protocol::{Exit, LimitKind};
use hypervisor_client::{Program, Session};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, ResourceLimiter, Store, StoreLimits, StoreLimitsBuilder, Trap};

use crate::Host;

const MEMORY: usize = 4 << 20;
const TABLE: usize = 10_000;
const STACK: usize = 512 << 10;
/// What a host allows, in the words of its configuration.
const LIMITS: &str =
    "[limits]\ncpu = '500ms'\nmemory = '4 MiB'\ntable_elements = 10000\nstack = '512 KiB'\n";
/// What stands for the host's limit of processor time in the bare engine: a quarter of it, or less.
const FUEL: u64 = 100_000_000;
/// A program that takes so long in the bare engine without running out of fuel is too near to the host's limit to compare.
const NEAR: Duration = Duration::from_millis(100);
const RUN: &str = "wasi:cli/run@0.2.6";

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It returned success, or none.
    Returned(bool),
    /// It trapped, in the engine's words.
    Trapped(String),
    /// A limit ended it.
    Limit(String),
    /// It is no program that the engine takes.
    Refused,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(true) => f.write_str("returned ok"),
            Self::Returned(false) => f.write_str("returned an error"),
            Self::Trapped(words) => f.write_str(words),
            Self::Limit(which) => write!(f, "limit: {which}"),
            Self::Refused => f.write_str("refused"),
        }
    }
}

/// Programs one behind another: the number of each and its length, of eight bytes each in big-endian order, and the program. (What makes them
/// is in `fuzz/`: `programs`.)
pub fn next(from: &mut impl Read) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [[0; 8]; 2];
    match from.read_exact(head.as_flattened_mut()) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let [seed, length] = head.map(u64::from_be_bytes);
    let mut program = Vec::new();
    from.take(length).read_to_end(&mut program)?;
    Ok(Some((seed, program)))
}

/// The engine by itself.
pub struct Bare(Engine);

impl Default for Bare {
    fn default() -> Self {
        let mut config = Config::new();
        config.consume_fuel(true).max_wasm_stack(STACK);
        Self(Engine::new(&config).unwrap())
    }
}

impl Bare {
    /// How a program ends, and how long that took.
    pub fn run(&self, component: &[u8]) -> (End, Duration) {
        let Ok(component) = Component::new(&self.0, component) else {
            return (End::Refused, Duration::ZERO);
        };
        let limits = StoreLimitsBuilder::new();
        let limits = limits.memory_size(MEMORY).table_elements(TABLE).build();
        let refused = None;
        let mut store = Store::new(&self.0, Noted { limits, refused });
        store.limiter(|noted| noted);
        store.set_fuel(FUEL).unwrap();
        let began = Instant::now();
        let called = call(&self.0, &component, &mut store);
        let took = began.elapsed();
        let error = match called {
            Ok(returned) => return (End::Returned(returned), took),
            Err(error) => error,
        };
        let limit = |which: LimitKind| End::Limit(which.to_string());
        let end = match (error.downcast_ref::<Trap>(), store.data().refused) {
            (Some(Trap::StackOverflow), _) => limit(LimitKind::Stack),
            (Some(Trap::OutOfFuel), _) => limit(LimitKind::Cpu),
            (_, Some(which)) => limit(which),
            (Some(trap), None) => End::Trapped(trap.to_string()),
            (None, None) => End::Trapped(error.root_cause().to_string()),
        };
        (end, took)
    }
}

fn call(
    engine: &Engine,
    component: &Component,
    store: &mut Store<Noted>,
) -> wasmtime::Result<bool> {
    let instance = Linker::new(engine).instantiate(&mut *store, component)?;
    let exports = instance.get_export_index(&mut *store, None, RUN).unwrap();
    let run = instance.get_export_index(&mut *store, Some(&exports), "run");
    let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, run.unwrap())?;
    let (returned,) = run.call(store, ())?;
    Ok(returned.is_ok())
}

/// The engine's own limits, which note what they refused.
struct Noted {
    limits: StoreLimits,
    refused: Option<LimitKind>,
}

impl Noted {
    /// What the program's own declaration refuses is no limit.
    fn note(&mut self, which: LimitKind, is_allowed: bool, desired: usize, own: Option<usize>) {
        if !is_allowed && own.is_none_or(|own| desired <= own) {
            // Of memory and tables, memory is named first.
            let first = self.refused.filter(|refused| *refused == LimitKind::Memory);
            self.refused = first.or(Some(which));
        }
    }
}

impl ResourceLimiter for Noted {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let is_allowed = self.limits.memory_growing(current, desired, maximum)?;
        self.note(LimitKind::Memory, is_allowed, desired, maximum);
        Ok(is_allowed)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let is_allowed = self.limits.table_growing(current, desired, maximum)?;
        self.note(LimitKind::Table, is_allowed, desired, maximum);
        Ok(is_allowed)
    }
}

/// A host with the same limits.
pub fn host() -> Host {
    Host::logging("error", LIMITS)
}

/// How a program ends in a session of a host, sealed.
pub async fn inside(session: &Session, component: &[u8]) -> End {
    let execution = session.run_wasm(Program::new(component)).await.unwrap();
    match execution.report.exit {
        Exit::Ok => End::Returned(true),
        Exit::Code { .. } => End::Returned(false),
        // Behind the engine's words is where it was.
        Exit::Trap { reason } => End::Trapped(reason.lines().next().unwrap_or_default().to_owned()),
        Exit::Limit { which, .. } => End::Limit(which.to_string()),
        Exit::Rejected { .. } => End::Refused,
        Exit::Denied { reason } => panic!("{reason}"),
    }
}

/// What came of many programs.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many ended so in both.
    pub agreed: BTreeMap<End, usize>,
    /// How many came too near to the limit of time to be compared.
    pub near: usize,
    /// Numbers of programs that ended otherwise inside: in the bare engine, and inside.
    pub differ: Vec<(u64, End, End)>,
}

impl Tally {
    /// Runs the program of a number in both.
    pub async fn compare(&mut self, bare: &Bare, session: &Session, seed: u64, component: &[u8]) {
        let (expected, took) = bare.run(component);
        let is_fuel = expected == End::Limit(LimitKind::Cpu.to_string());
        if took >= NEAR && !is_fuel {
            self.near += 1;
            return;
        }
        let got = inside(session, component).await;
        if got == expected {
            *self.agreed.entry(got).or_default() += 1;
        } else {
            self.differ.push((seed, expected, got));
        }
    }
}
