//! A2A: a message to an agent by the front, beside the plain call of the same agent; streams at once; what finished tasks take.

use std::time::Instant;

use bytes::Bytes;
use hypervisor_protocol::ContentFormat;
use tokio::task::JoinSet;

use crate::agents::{deploy_guest, owner};
use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::component;
use crate::server::Process;
use crate::stats::{micros, percentile};

/// Calls of each kind in a round, in turns of [`TURN`].
const CALLS: usize = 200;
const TURN: usize = 20;
/// Streams at once.
const STREAMS: usize = 500;
/// Tasks that are finished and kept.
const TASKS: usize = 10_000;
const VERSION: [(&str, &str); 1] = [("a2a-version", "1.0")];
const AGENT: &str = "/agents/hello/";
const FRONT: &str = "/a2a/hello/";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "a2a",
        "messages to http-hello by the front of A2A, over keep-alive connections",
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(calls(rounds))?);
    section.push(runtime.block_on(streams())?);
    section.push(runtime.block_on(tasks())?);
    Ok(section)
}

/// A host with the front and the agent `hello`.
async fn start() -> Result<Process> {
    let front = component("a2a.wasm")?;
    let host = Process::configured(&format!(
        "[limits]\nexecutions = 2048\n[attestation]\nbackend = 'simulated'\nsimulated_seed = 'bench'\n[[protocols]]\nname = 'a2a'\ncomponent = {front:?}\npaths = ['/a2a/']\nbackground = '1m'\nstorage = '1GiB'\nenvironment = {{ A2A_TASKS_PER_CALLER = '{TASKS}' }}\n"
    ))?;
    deploy_guest(&host, &owner()?, "http-hello.wasm", "hello", "").await?;
    Ok(host)
}

fn message(method: &str, id: &str) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"message":{{"messageId":"{id}","role":"ROLE_USER","parts":[{{"text":"hi"}}]}}}}}}"#
    )
    .into()
}

/// Has the front answer a message; its task has to be completed.
async fn send(connection: &mut Connection, method: &str, id: &str) -> Result<Bytes> {
    let (json, body) = (ContentFormat::Json, message(method, id));
    let answer = connection.post_with(FRONT, json, body, &VERSION).await?;
    let is_completed = answer
        .windows(COMPLETED.len())
        .any(|part| part == COMPLETED);
    match is_completed {
        true => Ok(answer),
        false => Err(Error::new(format!(
            "not completed: {}",
            String::from_utf8_lossy(&answer)
        ))),
    }
}

const COMPLETED: &[u8] = b"TASK_STATE_COMPLETED";

async fn calls(rounds: u32) -> Result<Group> {
    let host = start().await?;
    let mut connection = Connection::open(host.address()).await?;
    let (mut plain, mut sent, mut ratio) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let mut times: [Vec<f64>; 2] = Default::default();
        for turn in 0..CALLS / TURN {
            for call in 0..TURN {
                let started = Instant::now();
                let body = Bytes::from_static(b"\"hi\"");
                connection.post(AGENT, ContentFormat::Json, body).await?;
                times[0].push(micros(started.elapsed()));
                let id = format!("{round}-{turn}-{call}");
                let started = Instant::now();
                send(&mut connection, "SendMessage", &id).await?;
                times[1].push(micros(started.elapsed()));
            }
        }
        let [mut direct, mut fronted] = times;
        let (direct, fronted) = (
            percentile(&mut direct, 50.0),
            percentile(&mut fronted, 50.0),
        );
        plain.push(direct);
        sent.push(fronted);
        ratio.push(fronted / direct);
    }
    let mut group = Group::new("one after the other");
    group.add("plain call, p50", Unit::Microseconds, plain);
    group.add("SendMessage, p50", Unit::Microseconds, sent);
    group.add_with_aim("SendMessage over plain call", Unit::Ratio, ratio, "<= 4");
    Ok(group)
}

async fn streams() -> Result<Group> {
    let host = start().await?;
    let mut connections = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        connections.push(Connection::open(host.address()).await?);
    }
    let mut streams = JoinSet::new();
    let started = Instant::now();
    for (number, mut connection) in connections.into_iter().enumerate() {
        streams.spawn(async move {
            let id = format!("stream-{number}");
            let started = Instant::now();
            send(&mut connection, "SendStreamingMessage", &id).await?;
            Ok::<f64, Error>(started.elapsed().as_secs_f64() * 1e3)
        });
    }
    let mut times = Vec::with_capacity(STREAMS);
    while let Some(time) = streams.join_next().await {
        times.push(time.context("a stream")??);
    }
    let all = started.elapsed().as_secs_f64() * 1e3;
    let mut group = Group::new("500 streams at once, each to its end");
    let slowest = percentile(&mut times.clone(), 100.0);
    group.add("p50", Unit::Milliseconds, [percentile(&mut times, 50.0)]);
    group.add("slowest", Unit::Milliseconds, [slowest]);
    group.add("all of them", Unit::Milliseconds, [all]);
    group.add("peak memory", Unit::Mebibytes, [host.memory("VmHWM")?]);
    Ok(group)
}

async fn tasks() -> Result<Group> {
    let host = start().await?;
    let mut connection = Connection::open(host.address()).await?;
    send(&mut connection, "SendMessage", "first").await?;
    let before = host.memory("VmRSS")?;
    for number in 0..TASKS {
        send(&mut connection, "SendMessage", &format!("task-{number}")).await?;
    }
    let file = host.file("state/store/protocols.redb");
    let file = std::fs::metadata(file).context("the front's rows")?.len();
    let mut group = Group::new("10,000 finished tasks");
    let more = host.memory("VmRSS")? - before;
    group.add(
        "resident memory, more than with one",
        Unit::Mebibytes,
        [more],
    );
    let mebibytes = file as f64 / f64::from(1 << 20);
    group.add("on the disk", Unit::Mebibytes, [mebibytes]);
    Ok(group)
}
