//! Many executions at once: ones that sleep, and short ones over many connections.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use hypervisor_protocol::ContentFormat;
use tokio::task::JoinSet;

use crate::client_runtime;
use crate::error::{Context, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, Session, guest};
use crate::server::Process;
use crate::stats::{micros, percentile};

const FORMAT: ContentFormat = ContentFormat::Cbor;
const SLEEPERS: usize = 200;
const SLEEP_MILLISECONDS: &str = "2000";
const REQUESTS: usize = 2000;
/// A sequence may be as much as 1,023 behind the highest of its session: all requests in flight are near each other.
const CONNECTIONS: usize = 64;

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "concurrency",
        format!(
            "{SLEEPERS} executions that sleep for 2 s at once; {REQUESTS} of hello over {CONNECTIONS} connections"
        ),
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(sleeping(rounds))?);
    section.push(runtime.block_on(short(rounds))?);
    Ok(section)
}

async fn sleeping(rounds: u32) -> Result<Group> {
    let program = guest("sleepy.wasm")?;
    let (mut wall, mut peak, mut errors) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        // A process of its own each time: the peak is of these executions alone.
        let host = Process::host()?;
        let mut connection = Connection::open(host.address()).await?;
        let session = Arc::new(Session::open(&mut connection).await?);
        let Ready { body, pending } = session.seal(FORMAT, &program, &["0"])?;
        let answer = connection.post(EXECUTE, FORMAT, body).await?;
        session.check(FORMAT, &pending, &answer, b"awake\n")?;

        let mut sleepers = Vec::with_capacity(SLEEPERS);
        for _ in 0..SLEEPERS {
            let connection = Connection::open(host.address()).await?;
            let request = session.seal(FORMAT, &program, &[SLEEP_MILLISECONDS])?;
            sleepers.push((connection, request));
        }
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for (mut connection, Ready { body, pending }) in sleepers {
            let session = Arc::clone(&session);
            tasks.spawn(async move {
                let answer = connection.post(EXECUTE, FORMAT, body).await?;
                session.check(FORMAT, &pending, &answer, b"awake\n")
            });
        }
        errors.push(failures(tasks).await?);
        wall.push(started.elapsed().as_secs_f64());
        peak.push(host.memory("VmHWM")?);
    }
    let mut group = Group::new(format!("{SLEEPERS} sleeping executions"));
    group.add_with_aim("all answered after", Unit::Seconds, wall, "< 4 s");
    group.add_with_aim("peak memory of the host", Unit::Mebibytes, peak, "< 1 GiB");
    group.add_with_aim("errors", Unit::Count, errors, "0");
    Ok(group)
}

async fn failures(mut tasks: JoinSet<Result<()>>) -> Result<f64> {
    let mut failed = 0.0;
    while let Some(ended) = tasks.join_next().await {
        if ended.context("a client task")?.is_err() {
            failed += 1.0;
        }
    }
    Ok(failed)
}

/// What one round over many connections gave.
#[derive(Debug)]
struct Load {
    errors: f64,
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

async fn short(rounds: u32) -> Result<Group> {
    let program = guest("hello.wasm")?;
    let (host, echo) = (Process::host()?, Process::echo()?);
    let mut connection = Connection::open(host.address()).await?;
    let session = Arc::new(Session::open(&mut connection).await?);
    let Ready { body, pending } = session.seal(FORMAT, &program, &[])?;
    let first = connection.post(EXECUTE, FORMAT, body).await?;
    session.check(FORMAT, &pending, &first, b"hello\n")?;
    let echo_path = format!("/echo/{}", first.len());

    let (mut of_host, mut of_echo) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let requests = (0..REQUESTS)
            .map(|_| session.seal(FORMAT, &program, &[]))
            .collect::<Result<Vec<Ready>>>()?;
        let bodies = || requests.iter().map(|request| request.body.clone());
        of_echo.push(load(&echo, &echo_path, bodies(), |_, _| Ok(())).await?);
        let check = |index: usize, answer: &[u8]| {
            let request = requests.get(index).context("no such request")?;
            session.check(FORMAT, &request.pending, answer, b"hello\n")
        };
        of_host.push(load(&host, EXECUTE, bodies(), check).await?);
    }

    let mut group = Group::new(format!(
        "{REQUESTS} of hello over {CONNECTIONS} connections"
    ));
    let each = |value: fn(&Load) -> f64| of_host.iter().map(value);
    group.add_with_aim("errors", Unit::Count, each(|l| l.errors), "0");
    group.add("throughput", Unit::PerSecond, each(|l| l.per_second));
    group.add("p50", Unit::Microseconds, each(|l| l.p50));
    group.add("p99", Unit::Microseconds, each(|l| l.p99));
    group.add(
        "host processor time, each",
        Unit::Microseconds,
        each(|l| l.cpu),
    );
    let echoed = |value: fn(&Load) -> f64| of_echo.iter().map(value);
    group.add(
        "echo: throughput",
        Unit::PerSecond,
        echoed(|l| l.per_second),
    );
    group.add("echo: p50", Unit::Microseconds, echoed(|l| l.p50));
    group.add("echo: p99", Unit::Microseconds, echoed(|l| l.p99));
    group.add(
        "echo: processor time, each",
        Unit::Microseconds,
        echoed(|l| l.cpu),
    );
    let ratio = of_host.iter().zip(&of_echo);
    let ratio = ratio.map(|(host, echo)| echo.per_second / host.per_second);
    group.add("echo's throughput / the host's", Unit::Ratio, ratio);
    Ok(group)
}

/// Sends all bodies, each over the first connection that is free. Answers are checked after the clock has stopped.
async fn load(
    server: &Process,
    path: &str,
    bodies: impl Iterator<Item = Bytes>,
    check: impl Fn(usize, &[u8]) -> Result<()>,
) -> Result<Load> {
    let queue: Arc<Mutex<VecDeque<(usize, Bytes)>>> =
        Arc::new(Mutex::new(bodies.enumerate().collect()));
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(server.address()).await?);
    }
    let before = server.cpu()?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let (queue, path) = (Arc::clone(&queue), path.to_owned());
        let next = move || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.pop_front()
        };
        tasks.spawn(async move {
            let mut answered = Vec::new();
            while let Some((index, body)) = next() {
                let sent = Instant::now();
                let answer = connection.post(&path, FORMAT, body).await;
                answered.push((index, micros(sent.elapsed()), answer));
            }
            answered
        });
    }
    let mut answered = Vec::with_capacity(REQUESTS);
    while let Some(ended) = tasks.join_next().await {
        answered.extend(ended.context("a client task")?);
    }
    let wall = started.elapsed();
    let cpu = server.cpu()?.saturating_sub(before);

    let well = answered
        .iter()
        .filter(|(index, _, answer)| answer.as_ref().is_ok_and(|a| check(*index, a).is_ok()))
        .count();
    let mut times: Vec<f64> = answered.iter().map(|(_, time, _)| *time).collect();
    Ok(Load {
        errors: answered.len().saturating_sub(well) as f64,
        per_second: answered.len() as f64 / wall.as_secs_f64(),
        p50: percentile(&mut times, 50.0),
        p99: percentile(&mut times, 99.0),
        cpu: micros(cpu) / answered.len().max(1) as f64,
    })
}
