//! What each limit costs: the guest called in this process with everything on, and with one thing at a time left out.
//!
//! A host of a few lines, because the real one has no switch for a limit.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hypervisor_runtime::{HttpBody, HttpError, HttpTimeouts, Sent, compile_settings};
use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    StoreLimits, StoreLimitsBuilder, UpdateDeadline,
};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::error::{Context, Error, Result};
use crate::report::{Group, Unit};

use super::guest;

/// Calls of one variant in a round.
const CALLS: u32 = 4_000;
/// As the host's clock.
const TICK: Duration = Duration::from_millis(5);

/// What a call is limited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Code that looks at the epoch, and a callback that yields.
    epoch: bool,
    /// The clock read at the beginning and at the end of each poll.
    meter: Meter,
    /// A timer around the call.
    wall: bool,
    /// Memory and tables counted.
    accounts: bool,
    /// Standard output and standard error kept.
    output: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meter {
    None,
    /// What short calls are charged by.
    Monotonic,
    /// What long calls are charged by.
    Thread,
}

const ALL: Limits = Limits {
    epoch: true,
    meter: Meter::Monotonic,
    wall: true,
    accounts: true,
    output: true,
};

const VARIANTS: [(&str, Limits); 7] = [
    ("all", ALL),
    (
        "epoch: no guest computes for ever",
        Limits {
            epoch: false,
            ..ALL
        },
    ),
    (
        "processor time, by the monotonic clock",
        Limits {
            meter: Meter::None,
            ..ALL
        },
    ),
    ("wall time: a timer", Limits { wall: false, ..ALL }),
    (
        "memory and tables, counted",
        Limits {
            accounts: false,
            ..ALL
        },
    ),
    (
        "output, kept up to a bound",
        Limits {
            output: false,
            ..ALL
        },
    ),
    (
        "processor time by the thread's clock, instead",
        Limits {
            meter: Meter::Thread,
            ..ALL
        },
    ),
];

pub(super) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    limits: StoreLimits,
    hooks: NoNetwork,
}

impl State {
    pub(super) fn new(wasi: WasiCtx) -> Self {
        Self {
            wasi,
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new()
                .memory_size(256 << 20)
                .table_elements(100_000)
                .build(),
            hooks: NoNetwork,
        }
    }
}

/// The guest sends no requests.
struct NoNetwork;

impl WasiHttpHooks for NoNetwork {
    fn send_request(
        &mut self,
        _: http::Request<HttpBody>,
        _: Option<HttpTimeouts>,
        _: Box<dyn Future<Output = std::result::Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = wasmtime_wasi_http::Result<Sent>> + Send> {
        Box::new(async { Err(HttpError::HttpRequestDenied) })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// An engine with the host's settings, its code with looks at the epoch or without.
pub(super) fn engine(epoch: bool) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.pagemap_scan(if PoolingAllocationConfig::is_pagemap_scan_available() {
        Enabled::Yes
    } else {
        Enabled::No
    })
    .linear_memory_keep_resident(4 << 20)
    .table_keep_resident(64 << 10);
    let mut config: Config = compile_settings();
    config
        .epoch_interruption(epoch)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(failed)
}

pub(super) fn failed(error: wasmtime::Error) -> Error {
    Error::new(format!("{error:#}"))
}

/// An engine with its guest, ready to be called.
struct Served {
    engine: Engine,
    pre: ProxyPre<State>,
}

impl Served {
    fn new(epoch: bool) -> Result<Self> {
        let engine = engine(epoch)?;
        let component = Component::from_file(&engine, guest()?).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(failed)?;
        let pre = linker.instantiate_pre(&component).map_err(failed)?;
        let pre = ProxyPre::new(pre).map_err(failed)?;
        Ok(Self { engine, pre })
    }

    async fn call(&self, limits: Limits) -> wasmtime::Result<()> {
        let mut wasi = WasiCtxBuilder::new();
        if limits.output {
            wasi.stdout(MemoryOutputPipe::new(64 << 10))
                .stderr(MemoryOutputPipe::new(64 << 10));
        }
        let mut store = Store::new(&self.engine, State::new(wasi.build()));
        if limits.accounts {
            store.limiter(|state| &mut state.limits);
        }
        if limits.epoch {
            yielding(&mut store);
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let body = Empty::<Bytes>::new().map_err(|never| -> HttpError { match never {} });
        let request = http::Request::get("http://localhost/").body(body)?;
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let out = http.new_response_outparam(sender)?;
        let work = pin!(async {
            let proxy = self.pre.instantiate_async(&mut store).await?;
            let handler = proxy.wasi_http_incoming_handler();
            handler.call_handle(&mut store, request, out).await
        });
        let work = Metered(limits.meter, work);
        if limits.wall {
            tokio::time::timeout(Duration::from_secs(60), work).await??;
        } else {
            work.await?;
        }
        let response = receiver.await??;
        response.into_body().collect().await?;
        Ok(())
    }
}

/// Has the guest yield whenever the epoch advances.
pub(super) fn yielding(store: &mut Store<State>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
}

/// Reads a clock twice a poll.
struct Metered<F>(Meter, F);

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let meter = self.0;
        meter.read();
        let result = Pin::new(&mut self.1).poll(cx);
        meter.read();
        result
    }
}

impl Meter {
    fn read(self) {
        match self {
            Self::None => {}
            Self::Monotonic => drop(std::hint::black_box(Instant::now())),
            Self::Thread => {
                std::hint::black_box(clock_gettime(ClockId::ThreadCPUTime));
            }
        }
    }
}

/// Advances the epoch of an engine until it is dropped.
pub(super) struct Ticker(Arc<AtomicBool>);

impl Ticker {
    pub(super) fn start(engine: &Engine) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (engine, until) = (engine.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                engine.increment_epoch();
            }
        });
        Self(over)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn measure(rounds: u32) -> Result<Group> {
    let (with, without) = (Served::new(true)?, Served::new(false)?);
    let _ticker = Ticker::start(&with.engine);
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); VARIANTS.len()];
    for round in 0..=rounds.max(5) {
        for ((_, limits), times) in VARIANTS.iter().zip(&mut times) {
            let served = if limits.epoch { &with } else { &without };
            let started = Instant::now();
            for _ in 0..CALLS {
                let called = served.call(*limits).await;
                called.map_err(failed)?;
            }
            // The first round warms up.
            if round > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
            }
        }
    }
    let all = times.first().cloned().context("figures")?;
    let mut group = Group::new(
        "a call in process with an instance of its own, and what of it each limit costs",
    );
    for ((name, limits), times) in VARIANTS.iter().zip(&times) {
        let more = all.iter().zip(times).map(|(all, time)| match limits {
            limits if *limits == ALL => *all,
            Limits {
                meter: Meter::Thread,
                ..
            } => time - all,
            _ => all - time,
        });
        group.add(*name, Unit::Microseconds, more);
    }
    Ok(group)
}
