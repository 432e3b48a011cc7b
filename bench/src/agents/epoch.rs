//! What looking at the epoch costs a guest that computes: the same program compiled with and without it.

use std::fmt::Write;
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::{Command, CommandPre};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

use crate::error::{Context, Result};
use crate::report::{Group, Unit};

use super::limits::{State, Ticker, engine, failed, yielding};

/// Things in the list that the program reads.
const ITEMS: u32 = 30_000;

pub(super) async fn measure(rounds: u32) -> Result<Group> {
    let (with, without) = (engine(true)?, engine(false)?);
    let _ticker = Ticker::start(&with);
    let (looking, blind) = (jq(&with)?, jq(&without)?);
    let mut input = String::from("[0");
    for n in 0..ITEMS {
        // Writing to a string cannot fail.
        let _ = write!(input, ",{{\"name\":\"item {n}\",\"price\":{n}}}");
    }
    input.push(']');
    let (mut seconds, mut ratios) = (vec![], vec![]);
    for round in 0..=rounds {
        let a = run(&looking, true, &input).await?;
        let b = run(&blind, false, &input).await?;
        // The first round warms up.
        if round > 0 {
            seconds.push(a);
            ratios.push(a / b);
        }
    }
    let mut group = Group::new(format!(
        "jq over {:.1} MB of JSON: a guest that computes",
        input.len() as f64 / 1e6
    ));
    group.add("with looks at the epoch", Unit::Seconds, seconds);
    group.add("with / without", Unit::Ratio, ratios);
    Ok(group)
}

fn jq(engine: &wasmtime::Engine) -> Result<CommandPre<State>> {
    let program = crate::sealed::guest("jq.wasm")?;
    let component = Component::new(engine, program).map_err(failed)?;
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
    let pre = linker.instantiate_pre(&component).map_err(failed)?;
    CommandPre::new(pre).map_err(failed)
}

async fn run(pre: &CommandPre<State>, epoch: bool, input: &str) -> Result<f64> {
    let wasi = WasiCtxBuilder::new()
        .args(&[
            "jq",
            "-c",
            "[.[1:][] | select(.price % 3 == 0) | .price] | add",
        ])
        .stdin(MemoryInputPipe::new(input.to_owned()))
        .stdout(MemoryOutputPipe::new(64 << 10))
        .build();
    let mut store = Store::new(pre.engine(), State::new(wasi));
    if epoch {
        yielding(&mut store);
    }
    let started = Instant::now();
    let command: Command = pre.instantiate_async(&mut store).await.map_err(failed)?;
    let ended = command.wasi_cli_run().call_run(&mut store).await;
    ended
        .map_err(failed)?
        .ok()
        .context("jq ended with an error")?;
    Ok(started.elapsed().as_secs_f64())
}
