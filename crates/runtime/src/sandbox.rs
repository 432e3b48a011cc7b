//! One sandbox: a store with its limits, its captured streams and its meter, and names for how a call into it ended.

use std::sync::Arc;

use hypervisor_protocol::metered::Budget;
use hypervisor_protocol::{LimitKind, Stream};
use hypervisor_wasm_check::cut;
use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime::{Engine, Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

use super::budget::Purse;
use super::compile::micros;
use super::engine::as_usize;
use super::environment::CallLimits;
use super::epoch::EpochClock;
use super::guest::{Accounts, Guest, LimitReached};
use super::meter::{Meter, Metered};
use super::outcome::{Exit, Outcome};
use super::outgoing::{Chain, Egress, Outgoing};
use super::rows::Rows;
use super::said::{MAX_WORDS, Written};
use super::service::Usage;
use super::stdio::{Capture, Input, Overflow};
use super::still;
use super::tap::Tap;
use super::teardown::Teardown;
use crate::imports::crypto::{CryptoCtx, CryptoLimits, KeyRoot};
use crate::limits::Limits;
use crate::surroundings::Surroundings;

/// Frames of a trap's backtrace that go into the report.
const MAX_FRAMES: usize = 16;
/// Characters of a name that a program gave to one of its functions that go into the report.
const MAX_NAME: usize = 200;

/// A store before, during and after the calls into it.
pub(super) struct Sandbox {
    store: Store<Guest>,
    stdin: Input,
    stdout: Capture,
    stderr: Capture,
    meter: Arc<Meter>,
    limits: Limits,
    clock: Arc<EpochClock>,
    teardown: Teardown,
    purse: Option<Purse>,
}

/// A sandbox with an instance in it that lives on between calls.
pub(super) struct Live<P> {
    pub(super) sandbox: Sandbox,
    pub(super) plugin: P,
}

impl<P> Live<P> {
    /// Calls the instance under its limits. After an error it is of no use.
    pub(super) async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&P, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Exit> {
        let plugin = &self.plugin;
        self.sandbox
            .call(async |store| call(plugin, store).await)
            .await
    }
}

/// What sandboxes of one kind have in common, and where they come from.
#[derive(Clone)]
pub(super) struct Sandboxes {
    engine: Engine,
    limits: Limits,
    surroundings: Arc<dyn Surroundings>,
    key_root: KeyRoot,
    rows: Option<Arc<dyn Rows>>,
    clock: Arc<EpochClock>,
    teardown: Teardown,
    environment: Arc<[(String, String)]>,
    egress: Option<Arc<dyn Egress>>,
    /// SHA-384 of the plugin that is all that runs in them.
    program: Option<[u8; 48]>,
    /// What becomes of standard output beyond its limit.
    overflow: Overflow,
    /// Whether they begin with clocks that stand still and with fixed chance: all of them are the same then.
    alike: bool,
}

impl Sandboxes {
    pub(super) fn new(
        engine: &Engine,
        limits: Limits,
        (surroundings, key_root): (Arc<dyn Surroundings>, KeyRoot),
        clock: Arc<EpochClock>,
        teardown: Teardown,
    ) -> Self {
        Self {
            engine: engine.clone(),
            limits,
            surroundings,
            key_root,
            rows: None,
            clock,
            teardown,
            environment: Arc::default(),
            egress: None,
            program: None,
            overflow: Overflow::Stop,
            alike: false,
        }
    }

    /// The same with other limits.
    pub(super) fn with_limits(&self, limits: Limits) -> Self {
        Self {
            limits,
            ..self.clone()
        }
    }

    /// The same with environment variables, and with somebody who sends requests.
    pub(super) fn with_network(
        &self,
        environment: Vec<(String, String)>,
        egress: Arc<dyn Egress>,
    ) -> Self {
        Self {
            environment: environment.into(),
            egress: Some(egress),
            ..self.clone()
        }
    }

    /// The same for components that have rows.
    pub(super) fn with_rows(self, rows: Option<Arc<dyn Rows>>) -> Self {
        Self { rows, ..self }
    }

    /// The same for a plugin that makes statements: its SHA-384.
    pub(super) fn of(self, program: [u8; 48]) -> Self {
        Self {
            program: Some(program),
            ..self
        }
    }

    /// The same for components whose standard output is a log: beyond the limit the rest is dropped.
    pub(super) fn logging(&self) -> Self {
        Self {
            overflow: Overflow::Drop,
            ..self.clone()
        }
    }

    /// The same with clocks that stand still, and chance that is none, until [`Sandbox::awaken`].
    pub(super) fn alike(&self) -> Self {
        Self {
            alike: true,
            ..self.clone()
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn surroundings(&self) -> &dyn Surroundings {
        self.surroundings.as_ref()
    }

    /// A sandbox with what `instantiate` puts in it. `name` is all of its `argv`.
    pub(super) async fn live<P>(
        &self,
        name: &str,
        instantiate: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<P>,
    ) -> Result<Live<P>, Exit> {
        let mut sandbox = self.make(&[name.to_owned()]);
        let plugin = sandbox.call(instantiate).await?;
        Ok(Live { sandbox, plugin })
    }

    /// Calls into a sandbox of its own, which ends with the call. Gives what was written there with the answer.
    pub(super) async fn once<T>(
        &self,
        name: &str,
        call: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> (Result<T, Exit>, Written) {
        let mut sandbox = self.make(&[name.to_owned()]);
        let answer = sandbox.call(call).await;
        let written = sandbox.written();
        self.teardown.dispose(sandbox.store);
        (answer, written)
    }

    /// A sandbox with nothing in it. `arguments` is `argv`.
    pub(super) fn make(&self, arguments: &[String]) -> Sandbox {
        let limits = self.limits;
        let stdin = Input::default();
        let stdout_limit = match self.overflow {
            Overflow::Stop => limits.output,
            Overflow::Drop => limits.stderr,
        };
        let stdout = Capture::new(as_usize(stdout_limit), self.overflow);
        let stderr = Capture::new(as_usize(limits.stderr), Overflow::Drop);
        let meter = Meter::new();
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdin(stdin.clone())
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .args(arguments)
            .envs(&self.environment)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(limits.host_buffer);
        if self.alike {
            still::set(&mut wasi);
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let guest = Guest {
            wasi: wasi.build(),
            table,
            crypto: CryptoCtx::new(CryptoLimits::default()),
            key_root: self.key_root.clone(),
            rows: self.rows.clone(),
            surroundings: Arc::clone(&self.surroundings),
            program: self.program,
            accounts: Accounts::new(limits.memory, limits.table_elements, limits.instances),
            http: WasiHttpCtx::new(),
            outgoing: Outgoing::by(self.egress.clone()),
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.accounts);
        store.set_hostcall_fuel(as_usize(limits.host_buffer));
        store.set_epoch_deadline(1);
        interrupt(&mut store, &limits, (&meter, None));
        Sandbox {
            store,
            stdin,
            stdout,
            stderr,
            meter,
            limits,
            clock: Arc::clone(&self.clock),
            teardown: self.teardown.clone(),
            purse: None,
        }
    }
}

/// Has the guest ended at a tick of the clock where it has used what it may.
fn interrupt(
    store: &mut Store<Guest>,
    limits: &Limits,
    (meter, purse): (&Arc<Meter>, Option<Purse>),
) {
    let (clock, cpu, wall) = (Arc::clone(meter), limits.cpu, limits.wall);
    store.epoch_deadline_callback(move |_: StoreContextMut<'_, Guest>| {
        let over = |which, used, allowed| {
            Err(LimitReached {
                which,
                used: micros(used),
                allowed: micros(allowed),
            }
            .into())
        };
        let (cpu_used, wall_used) = (clock.cpu_within_poll(), clock.wall());
        if let Some(spent) = purse.as_ref().and_then(Purse::spent) {
            Err(spent.into())
        } else if cpu_used >= cpu {
            over(LimitKind::Cpu, cpu_used, cpu)
        } else if wall_used >= wall {
            // The runtime's own timer may be held up by this very guest.
            over(LimitKind::Wall, wall_used, wall)
        } else {
            Ok(UpdateDeadline::Yield(1))
        }
    });
}

impl Sandbox {
    /// Sets what the guest reads next from standard input.
    pub(super) fn set_stdin(&self, bytes: bytes::Bytes) {
        self.stdin.set(bytes);
    }

    /// Gives the guest the clocks and the chance of the host.
    pub(super) fn awaken(&mut self) {
        let mut wasi = WasiCtxBuilder::new();
        let mut awake = wasi.max_random_size(self.limits.host_buffer).build();
        let asleep = &mut self.store.data_mut().wasi;
        std::mem::swap(asleep.random(), awake.random());
        std::mem::swap(asleep.clocks(), awake.clocks());
    }

    /// Names the program in the sandbox to whom it makes statements.
    pub(super) fn set_program(&mut self, sha384: Option<[u8; 48]>) {
        self.store.data_mut().program = sha384;
    }

    /// Says how the next call came about: it ends by the chain's deadline.
    pub(super) fn set_chain(&mut self, chain: Chain) {
        self.store.data_mut().outgoing.chain = chain;
    }

    /// Says who sends the requests of the next call, and how it came about.
    pub(super) fn set_egress(&mut self, egress: Option<Arc<dyn Egress>>, chain: Chain) {
        self.store.data_mut().outgoing = Outgoing::by(egress);
        self.set_chain(chain);
    }

    /// Bounds the calls from here on more tightly; an error where more memory is used already.
    pub(super) fn tighten(&mut self, bounds: CallLimits) -> Result<(), Exit> {
        let CallLimits { cpu, wall, memory } = bounds;
        let limits = &mut self.limits;
        limits.cpu = cpu.map_or(limits.cpu, |cpu| cpu.min(limits.cpu));
        limits.wall = wall.map_or(limits.wall, |wall| wall.min(limits.wall));
        limits.memory = memory.map_or(limits.memory, |memory| memory.min(limits.memory));
        let memory = limits.memory;
        interrupt(&mut self.store, &self.limits, (&self.meter, None));
        let allowed = self.store.data_mut().accounts.allow(memory);
        allowed.map_err(Exit::from)
    }

    /// Says what the next call may cost.
    pub(super) fn set_budget(&mut self, budget: Option<Budget>) {
        let Some(budget) = budget else {
            return;
        };
        let purse = Purse {
            budget,
            meter: Arc::clone(&self.meter),
            peak_memory: self.store.data_mut().accounts.watch(),
            written: [self.stdout.clone(), self.stderr.clone()],
        };
        let watching = (&self.meter, Some(purse.clone()));
        interrupt(&mut self.store, &self.limits, watching);
        self.purse = Some(purse);
    }

    /// Has what the next call writes read while it runs.
    pub(super) fn set_tap(&self, tap: Option<Tap>) {
        if let Some(tap) = tap {
            self.stdout.pour(&tap, Stream::Stdout);
            self.stderr.pour(&tap, Stream::Stderr);
        }
    }

    /// The store, to put into it what the next call works on.
    pub(super) fn guest(&mut self) -> &mut Guest {
        self.store.data_mut()
    }

    /// Takes what was written to standard output and standard error.
    pub(super) fn written(&self) -> Written {
        [self.stdout.take().0, self.stderr.take().0]
    }

    /// Names an error that a call into the store's data gave.
    pub(super) fn exit_of(&self, error: &wasmtime::Error) -> Exit {
        exit_of(error, &self.store.data().accounts, &self.limits)
    }

    /// What the last call used.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            cpu: self.meter.cpu(),
            peak_memory: self.store.data().accounts.peak_memory(),
        }
    }

    /// Where standard error goes.
    pub(super) fn stderr(&self) -> &Capture {
        &self.stderr
    }

    /// Calls into the sandbox under its limits, with clocks that start now. After an error the sandbox is of no use.
    pub(super) async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Exit> {
        let _ticking = self.clock.tick();
        self.meter.restart();
        let allowed = self.store.data_mut().outgoing.begin(self.limits.wall);
        let metered = Metered::new(Arc::clone(&self.meter), Box::pin(call(&mut self.store)));
        // One place to end: the guest returns, traps, or reaches a limit, or the clock runs out while it waits.
        let ended = match self.purse.take() {
            None => tokio::time::timeout(allowed, metered).await,
            Some(purse) => tokio::time::timeout(allowed, purse.keep(metered)).await,
        };
        match ended {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(exit_of(&error, &self.store.data().accounts, &self.limits)),
            Err(_) => Err(Exit::Limit {
                which: LimitKind::Wall,
                used: micros(self.meter.wall()),
                allowed: micros(allowed),
            }),
        }
    }

    /// The memory limit, where a growth was refused.
    pub(super) fn memory_refused(&self) -> Option<Exit> {
        let limit = self.store.data().accounts.limit_reached()?;
        (limit.which == LimitKind::Memory).then(|| limit.into())
    }

    /// Gathers what is left and has the sandbox torn down.
    pub(super) fn finish(self, exit: Exit) -> Outcome {
        let peak_memory = self.store.data().accounts.peak_memory();
        let (cpu, wall) = (self.meter.cpu(), self.meter.wall());
        self.teardown.dispose(self.store);
        let (stdout, stdout_truncated) = self.stdout.take();
        let (stderr, stderr_truncated) = self.stderr.take();
        Outcome {
            exit,
            stdout,
            stderr,
            stdout_truncated,
            stderr_truncated,
            cpu,
            wall,
            peak_memory,
        }
    }
}

/// Names the end of a guest that did not return.
fn exit_of(error: &wasmtime::Error, accounts: &Accounts, limits: &Limits) -> Exit {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return match u32::try_from(*code) {
            Ok(0) => Exit::Ok,
            Ok(code) => Exit::Code { code },
            Err(_) => Exit::Code { code: 255 },
        };
    }
    let trap = error.downcast_ref::<Trap>().copied();
    match limit_of(error, trap, accounts, limits) {
        Some(limit) => limit.into(),
        None => Exit::Trap {
            reason: trap_reason(error, trap),
        },
    }
}

/// The limit that was the reason of the end, where one was.
fn limit_of(
    error: &wasmtime::Error,
    trap: Option<Trap>,
    accounts: &Accounts,
    limits: &Limits,
) -> Option<LimitReached> {
    let at = |which, used, allowed| {
        Some(LimitReached {
            which,
            used,
            allowed,
        })
    };
    // One more than there may be.
    let beyond = |which, allowed: usize| {
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        at(which, allowed.saturating_add(1), allowed)
    };
    if let Some(reached) = error.downcast_ref::<LimitReached>() {
        return Some(*reached);
    }
    if trap == Some(Trap::StackOverflow) {
        return at(LimitKind::Stack, limits.stack, limits.stack);
    }
    if let Some(reached) = accounts.limit_reached() {
        return Some(reached);
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return beyond(LimitKind::Handles, limits.handles);
    }
    if trap.is_some() {
        return None;
    }
    // Errors of the engine that have no public type; the words are checked by a test for each.
    let message = format!("{error:#}");
    if message.contains("too much data is being copied") || message.contains("requested len") {
        at(
            LimitKind::HostBuffer,
            limits.host_buffer,
            limits.host_buffer,
        )
    } else if message.contains("count too high") {
        beyond(LimitKind::Instances, limits.instances)
    } else {
        None
    }
}

/// The trap in the engine's words, then the innermost frames that have names.
fn trap_reason(error: &wasmtime::Error, trap: Option<Trap>) -> String {
    let mut reason = match trap {
        Some(trap) => trap.to_string(),
        None => cut(&error.root_cause().to_string(), MAX_WORDS).into_owned(),
    };
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map(WasmBacktrace::frames)
        .unwrap_or_default();
    for name in frames
        .iter()
        .filter_map(|frame| frame.func_name())
        .take(MAX_FRAMES)
    {
        reason.push_str("\n  at ");
        reason.push_str(&cut(name, MAX_NAME));
    }
    reason
}
