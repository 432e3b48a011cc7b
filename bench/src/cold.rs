//! The first execution of a program, against the time that its compilation takes by itself.

use std::hint::black_box;
use std::time::Duration;

use hypervisor_protocol::ContentFormat;
use hypervisor_runtime::compile_settings;
use wasmtime::Engine;

use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, Session, guest};
use crate::server::Process;
use crate::stats::timed;

const FORMAT: ContentFormat = ContentFormat::Cbor;
/// A filter that needs no input.
const ARGUMENTS: [&str; 2] = ["-n", "6*7"];
const EXPECTED: &[u8] = b"42\n";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let program = guest("jq.wasm")?;
    let mut section = Section::new(
        "cold",
        format!(
            "the first execution of jq ({} bytes) in a fresh session, compilation included",
            program.len()
        ),
    );
    let runtime = client_runtime()?;
    let host = Process::host()?;
    let engine = Engine::new(&compile_settings()).context("engine")?;
    let (mut total, mut compile, mut warm) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let (time, compiled) = timed(|| engine.precompile_component(&program));
        black_box(compiled.map_err(|e| Error::new(format!("compiling: {e:#}")))?);
        compile.push(time.as_secs_f64());
        let (first, second) = runtime.block_on(executions(&host, &program))?;
        total.push(first.as_secs_f64());
        warm.push(second.as_secs_f64());
    }
    let ratio = total.iter().zip(&compile).map(|(total, one)| total / one);
    let mut group = Group::new("Cranelift, on all cores");
    group.add_with_aim(
        "first execution / compilation",
        Unit::Ratio,
        ratio,
        "<= 1.2",
    );
    group.add("first execution, end to end", Unit::Seconds, total);
    group.add("compilation, in this process", Unit::Seconds, compile);
    group.add("second execution, end to end", Unit::Seconds, warm);
    section.push(group);
    Ok(section)
}

async fn executions(host: &Process, program: &[u8]) -> Result<(Duration, Duration)> {
    let mut connection = Connection::open(host.address()).await?;
    let session = Session::open(&mut connection).await?;
    let first = execution(&mut connection, &session, program).await?;
    let second = execution(&mut connection, &session, program).await?;
    Ok((first, second))
}

async fn execution(
    connection: &mut Connection,
    session: &Session,
    program: &[u8],
) -> Result<Duration> {
    let Ready { body, pending } = session.seal(FORMAT, program, &ARGUMENTS)?;
    let started = std::time::Instant::now();
    let answer = connection.post(EXECUTE, FORMAT, body).await?;
    let time = started.elapsed();
    session.check(FORMAT, &pending, &answer, EXPECTED)?;
    Ok(time)
}
