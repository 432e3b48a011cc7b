//! One execution: a fresh instance, its limits, and what came of it.

use std::sync::Arc;

use hypervisor_protocol::{LimitKind, Rejection};
use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime::{Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use super::compile::micros;
use super::engine::as_usize;
use super::guest::{Accounts, Guest, LimitReached};
use super::meter::{Meter, Metered};
use super::outcome::{Exit, Job, Outcome};
use super::stdio::{Capture, Overflow};
use crate::config::Limits;
use crate::imports::crypto::{CryptoCtx, CryptoLimits};

/// Frames of a trap's backtrace that go into the report.
const MAX_FRAMES: usize = 16;

/// Runs `job` to its end or to a limit. Dropping the future stops the guest.
pub(super) async fn run(pre: &CommandPre<Guest>, job: Job, limits: &Limits) -> Outcome {
    let stdout = Capture::new(as_usize(limits.output.as_u64()), Overflow::Stop);
    let stderr = Capture::new(as_usize(limits.stderr.as_u64()), Overflow::Drop);
    let meter = Meter::new();
    let mut store = store(pre, &job, limits, &meter, &stdout, &stderr);

    // One place to end: the guest returns, traps, or reaches a limit, or the clock runs out while it waits.
    let guest = async {
        let command = pre.instantiate_async(&mut store).await?;
        command.wasi_cli_run().call_run(&mut store).await
    };
    let metered = Metered::new(Arc::clone(&meter), guest);
    let ended = tokio::time::timeout(limits.wall, metered).await;
    let exit = match ended {
        Ok(Ok(Ok(()))) => Exit::Ok,
        Ok(Ok(Err(()))) => Exit::Code { code: 1 },
        Ok(Err(error)) => exit_of(&error, &store.data().accounts, limits),
        Err(_) => wall_limit(&meter, limits),
    };

    let peak_memory = store.data().accounts.peak_memory();
    drop(store);
    let (stdout, stdout_truncated) = stdout.take();
    let (stderr, stderr_truncated) = stderr.take();
    Outcome {
        exit,
        stdout,
        stderr,
        stdout_truncated,
        stderr_truncated,
        cpu: meter.cpu(),
        wall: meter.wall(),
        peak_memory,
    }
}

fn store(
    pre: &CommandPre<Guest>,
    job: &Job,
    limits: &Limits,
    meter: &Arc<Meter>,
    stdout: &Capture,
    stderr: &Capture,
) -> Store<Guest> {
    let host_buffer = as_usize(limits.host_buffer.as_u64());
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(MemoryInputPipe::new(job.stdin.clone()))
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .args(&job.arguments)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(limits.host_buffer.as_u64());
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles);
    let accounts = Accounts::new(
        limits.memory.as_u64(),
        limits.table_elements,
        limits.instances,
    );
    let mut store = Store::new(
        pre.engine(),
        Guest {
            wasi: wasi.build(),
            table,
            crypto: CryptoCtx::new(CryptoLimits::default()),
            accounts,
        },
    );
    store.limiter(|guest| &mut guest.accounts);
    store.set_hostcall_fuel(host_buffer);
    store.set_epoch_deadline(1);
    let (meter, cpu, wall) = (Arc::clone(meter), limits.cpu, limits.wall);
    store.epoch_deadline_callback(move |_: StoreContextMut<'_, Guest>| {
        let over = |which, used, allowed| {
            Err(LimitReached {
                which,
                used: micros(used),
                allowed: micros(allowed),
            }
            .into())
        };
        let (cpu_used, wall_used) = (meter.cpu_within_poll(), meter.wall());
        if cpu_used >= cpu {
            over(LimitKind::Cpu, cpu_used, cpu)
        } else if wall_used >= wall {
            // The runtime's own timer may be held up by this very guest.
            over(LimitKind::Wall, wall_used, wall)
        } else {
            Ok(UpdateDeadline::Yield(1))
        }
    });
    store
}

fn wall_limit(meter: &Meter, limits: &Limits) -> Exit {
    Exit::Limit {
        which: LimitKind::Wall,
        used: micros(meter.wall()),
        allowed: micros(limits.wall),
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
    if let Some(LimitReached {
        which,
        used,
        allowed,
    }) = error.downcast_ref().copied()
    {
        return Exit::Limit {
            which,
            used,
            allowed,
        };
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::StackOverflow) {
        let allowed = limits.stack.as_u64();
        return Exit::Limit {
            which: LimitKind::Stack,
            used: allowed,
            allowed,
        };
    }
    if let Some(LimitReached {
        which,
        used,
        allowed,
    }) = accounts.limit_reached()
    {
        return Exit::Limit {
            which,
            used,
            allowed,
        };
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        let allowed = u64::try_from(limits.handles).unwrap_or(u64::MAX);
        return Exit::Limit {
            which: LimitKind::Handles,
            used: allowed.saturating_add(1),
            allowed,
        };
    }
    let message = format!("{error:#}");
    if trap.is_none() {
        // Errors of the engine that have no public type; the words are checked by a test for each.
        if message.contains("too much data is being copied") || message.contains("requested len") {
            let allowed = limits.host_buffer.as_u64();
            return Exit::Limit {
                which: LimitKind::HostBuffer,
                used: allowed,
                allowed,
            };
        }
        if message.contains("count too high") {
            let allowed = u64::try_from(limits.instances).unwrap_or(u64::MAX);
            return Exit::Limit {
                which: LimitKind::Instances,
                used: allowed.saturating_add(1),
                allowed,
            };
        }
    }
    Exit::Trap {
        reason: trap_reason(error, trap),
    }
}

/// The trap in the engine's words, then the innermost frames that have names.
fn trap_reason(error: &wasmtime::Error, trap: Option<Trap>) -> String {
    let mut reason = trap.map_or_else(|| error.root_cause().to_string(), |trap| trap.to_string());
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
        reason.push_str(name);
    }
    reason
}

/// WASI passes arguments as strings, and C programs end them at a zero byte: anything else is refused, not altered.
pub fn arguments_from_bytes(arguments: Vec<Vec<u8>>) -> Result<Vec<String>, Exit> {
    let mut argv = Vec::with_capacity(arguments.len().saturating_add(1));
    argv.push(PROGRAM_NAME.to_owned());
    for (index, argument) in arguments.into_iter().enumerate() {
        let refuse = |what: &str| Exit::Rejected {
            problem: Rejection::InvalidArgument,
            detail: format!(
                "argument {} {what}; pass binary data on standard input",
                index.saturating_add(1)
            ),
        };
        let text = String::from_utf8(argument)
            .map_err(|_| refuse("is not UTF-8, and WASI passes arguments as strings"))?;
        if text.contains('\0') {
            return Err(refuse("contains a zero byte"));
        }
        argv.push(text);
    }
    Ok(argv)
}

/// `argv[0]` of every program.
const PROGRAM_NAME: &str = "program";
