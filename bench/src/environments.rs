//! Environments: what a call costs beside a program that is named by its digest, beside scripts, and beside native processes; what one keeps;
//! copies, and calls of those that are not in memory.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::Bytes;
use hypervisor_protocol::digest::name_program;
use hypervisor_protocol::environment::{
    Bundle, EnvironmentInfo, EvaluateInput, ExecuteAnswer, ExecuteInput, SetupAnswer, Terms,
    decode, encode,
};
use hypervisor_protocol::{ContentFormat, EnvironmentRequest, HexBytes, Operation, OwnerKey};
use hypervisor_runtime::sha256;
use serde::Serialize;

use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, SCRIPT, Session, component, guest};
use crate::server::Process;
use crate::stats::{micros, percentile};

const FORMAT: ContentFormat = ContentFormat::Cbor;
/// Calls of each kind in a round, in turns of [`TURN`].
const CALLS: usize = 200;
const TURN: usize = 20;
/// Environments that are set up to be weighed.
const MANY: usize = 1000;

const JAVASCRIPT: &str =
    "let calls = 0; export const handler = ({ data }) => ({ calls: ++calls, twice: data * 2 });";
const PYTHON: &str = "def handler(event, context):\n    return event['data'] * 2\n";
/// A package in one file, and what is done with it.
const PACKAGE: &str = "bottle-0.13.4-py2.py3-none-any.whl";
const RENDER: &str = "template('{{!mean}}', mean=sum([data, data + 1, data + 2]) // 3)";
/// What a program of some size imports of the standard library.
const IMPORTS: &str = "import argparse, collections, csv, dataclasses, datetime, decimal, fractions, hashlib, inspect, json, logging, re, statistics, string, textwrap, typing, urllib.parse, uuid\n";
const WORK: &str =
    "json.dumps({'mean': str(decimal.Decimal(statistics.mean([data, data + 1, data + 2])))})";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "environments",
        "handlers that were set up once, called over one keep-alive connection, sealed",
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(calls(rounds))?);
    section.push(runtime.block_on(kept(rounds))?);
    section.push(runtime.block_on(copies(rounds))?);
    Ok(section)
}

/// A host where everybody may set up environments, a connection to it, a session and an owner.
struct Client {
    /// Ended when dropped.
    host: Process,
    connection: Connection,
    session: Session,
    owner: OwnerKey,
}

impl Client {
    async fn start(config: &str) -> Result<Self> {
        let plugin = |name: &str| {
            fs::read_to_string(component(name)?).context(format_args!(
                "target/components/{name} (make components; scripts/compile-components.sh target/release/hypervisor-ctl)"
            ))
        };
        let (python, javascript) = (
            plugin("policy-python.toml")?,
            plugin("runtime-javascript.toml")?,
        );
        let host = Process::configured(&format!(
            "[environments]\nsetup = true\nper_owner = 100000\nenvironments = 100000\n{config}\n[runtime.python]\n{python}\n[runtime.javascript]\n{javascript}\n"
        ))?;
        let mut connection = Connection::open(host.address()).await?;
        let session = Session::open(&mut connection).await?;
        let (owner, _) = OwnerKey::generate().context("an owner's key")?;
        Ok(Self {
            host,
            connection,
            session,
            owner,
        })
    }

    fn seal(&self, operation: Operation, first: &[u8], input: &impl Serialize) -> Result<Ready> {
        let input = encode(input).context("encoding")?;
        let session = self.session.inner();
        let (request, pending) = session
            .seal_request(operation, first, Some(&input), &[] as &[&str])
            .context("sealing")?;
        let proof = self
            .owner
            .prove(session.public_key(), session.host(), session.id());
        let request = EnvironmentRequest::new(session.public_key(), *session.id(), proof, request);
        let body = FORMAT.encode(&request).context("encoding")?.into();
        Ok(Ready { body, pending })
    }

    fn call(&self, id: &str) -> Result<Ready> {
        let input = ExecuteInput {
            data: "21".to_owned(),
            ..ExecuteInput::default()
        };
        self.seal(Operation::Execute, id.as_bytes(), &input)
    }

    async fn post(&mut self, path: &str, body: Bytes) -> Result<(f64, Bytes)> {
        let started = Instant::now();
        let answer = self.connection.post(path, FORMAT, body).await?;
        Ok((micros(started.elapsed()), answer))
    }

    async fn set_up(&mut self, language: &str, source: &str) -> Result<(f64, EnvironmentInfo)> {
        self.set_up_with(language, source, BTreeMap::new()).await
    }

    async fn set_up_with(
        &mut self,
        language: &str,
        source: &str,
        packages: BTreeMap<String, HexBytes>,
    ) -> Result<(f64, EnvironmentInfo)> {
        let main = match language {
            "python" => "main.py",
            _ => "main.js",
        };
        let bundle = Bundle {
            language: language.to_owned(),
            main: main.to_owned(),
            modules: BTreeMap::from([(main.to_owned(), source.as_bytes().to_vec().into())]),
            packages,
            ..Bundle::default()
        };
        let bundle = encode(&bundle).context("encoding")?;
        let Ready { body, pending } = self.seal(Operation::Setup, &bundle, &Terms::default())?;
        let (time, answer) = self.post("/environments/setup", body).await?;
        let opened = self.session.open_answer(FORMAT, &pending, &answer)?;
        let answer: SetupAnswer = decode(&opened).context("decoding")?;
        let environment = answer.environment.context("an environment")?;
        Ok((time, environment))
    }

    /// Microseconds of calls of a handler, which has to answer.
    async fn calls(&mut self, id: &str, times: &mut Vec<f64>, expected: &str) -> Result<()> {
        let ready: Vec<Ready> = (0..TURN).map(|_| self.call(id)).collect::<Result<_>>()?;
        for Ready { body, pending } in ready {
            let (time, answer) = self.post("/environments/execute", body).await?;
            times.push(time);
            let opened = self.session.open_answer(FORMAT, &pending, &answer)?;
            let answer: ExecuteAnswer = decode(&opened).context("decoding")?;
            if answer.value.as_deref() != Some(expected) {
                return Err(Error::new(format!(
                    "the handler answered {:?}",
                    answer.value
                )));
            }
        }
        Ok(())
    }
}

/// Medians of one round, microseconds.
#[derive(Default)]
struct Round {
    hello: f64,
    javascript: f64,
    python: f64,
    imports: f64,
    script: f64,
    package: f64,
    inlined: f64,
    node: f64,
    native: f64,
}

async fn calls(rounds: u32) -> Result<Group> {
    let mut client = Client::start("").await?;
    let hello = guest("hello.wasm")?;
    let name = name_program(sha256(&hello));
    let first = client.session.seal(FORMAT, &hello, &[])?;
    client.post(EXECUTE, first.body).await?;
    let (_, javascript) = client.set_up("javascript", JAVASCRIPT).await?;
    let (_, python) = client.set_up("python", PYTHON).await?;
    let handler = format!(
        "{IMPORTS}\ndef handler(event, context):\n    data = event['data']\n    return {WORK}\n"
    );
    let (_, imports) = client.set_up("python", &handler).await?;
    let script = format!("{IMPORTS}\ndata = 21\nprint({WORK})\n");
    let wheel = BTreeMap::from([(PACKAGE.to_owned(), read_package(PACKAGE)?.into())]);
    let handler = format!(
        "from bottle import template\n\ndef handler(event, context):\n    data = event['data']\n    return {RENDER}\n"
    );
    let (_, package) = client.set_up_with("python", &handler, wheel).await?;
    // Scripts bring what they import, which is not their main program for that.
    let source = String::from_utf8(read_package("bottle.py")?).context("bottle.py")?;
    let source = source.replace("if __name__ == '__main__':", "if False:");
    let inlined = format!("{source}\ndata = 21\nprint({RENDER})\n");
    let mut all = Vec::new();
    for _ in 0..rounds {
        let [mut by_name, mut js, mut py, mut imported, mut scripts] = [const { Vec::new() }; 5];
        let [mut packaged, mut whole, mut node, mut native] = [const { Vec::new() }; 4];
        for _ in 0..CALLS / TURN {
            for _ in 0..TURN {
                let Ready { body, pending } = client.session.seal(FORMAT, name.as_bytes(), &[])?;
                let (time, answer) = client.post(EXECUTE, body).await?;
                client
                    .session
                    .check(FORMAT, &pending, &answer, b"hello\n")?;
                by_name.push(time);
            }
            client
                .calls(&javascript.id, &mut js, r#"{"calls":1,"twice":42}"#)
                .await?;
            client.calls(&python.id, &mut py, "42").await?;
            client
                .calls(&imports.id, &mut imported, r#""{\"mean\": \"22\"}""#)
                .await?;
            client.calls(&package.id, &mut packaged, r#""22""#).await?;
            for (script, times, printed) in [
                (&script, &mut scripts, "{\"mean\": \"22\"}\n"),
                (&inlined, &mut whole, "22\n"),
            ] {
                let Ready { body, pending } = client.session.seal_script(FORMAT, script)?;
                let (time, answer) = client.post(SCRIPT, body).await?;
                client
                    .session
                    .check(FORMAT, &pending, &answer, printed.as_bytes())?;
                times.push(time);
            }
            node.extend(process("node", &["-e", "42"]));
            native.extend(process("python3", &["-c", "42"]));
        }
        all.push(Round {
            hello: percentile(&mut by_name, 50.0),
            javascript: percentile(&mut js, 50.0),
            python: percentile(&mut py, 50.0),
            imports: percentile(&mut imported, 50.0),
            script: percentile(&mut scripts, 50.0),
            package: percentile(&mut packaged, 50.0),
            inlined: percentile(&mut whole, 50.0),
            node: percentile(&mut node, 50.0),
            native: percentile(&mut native, 50.0),
        });
    }
    let mut group = Group::new("a call, end to end");
    let mut add = |name: &str, value: fn(&Round) -> f64| {
        group.add(name, Unit::Microseconds, all.iter().map(value));
    };
    add("hello, named by its digest", |r| r.hello);
    add("JavaScript handler", |r| r.javascript);
    add("Python handler, small", |r| r.python);
    add("Python handler with a package of 4,700 lines", |r| {
        r.package
    });
    add("the same as a script, which brings it each time", |r| {
        r.inlined
    });
    add("Python handler with 18 imports of the library", |r| {
        r.imports
    });
    add("the same as a script, which imports each time", |r| {
        r.script
    });
    add("native: `node` starts and ends", |r| r.node);
    add("native: `python3` starts and ends", |r| r.native);
    let mut ratio = |name: &str, aim, value: fn(&Round) -> f64| {
        group.add_with_aim(name, Unit::Ratio, all.iter().map(value), aim);
    };
    ratio("JavaScript / hello", "<= 2.5", |r| r.javascript / r.hello);
    ratio("Python with a package / script", "<= 0.5", |r| {
        r.package / r.inlined
    });
    ratio("Python with the library / script", "<= 1", |r| {
        r.imports / r.script
    });
    ratio("JavaScript / `node`", "<= 1", |r| r.javascript / r.node);
    Ok(group)
}

/// A file of what `scripts/setup-bench.sh` fetched.
fn read_package(name: &str) -> Result<Vec<u8>> {
    fs::read(component(&format!("../bench/{name}"))?)
        .context(format_args!("target/bench/{name} (scripts/setup-bench.sh)"))
}

/// Microseconds that a program takes to start and end; none where it is not installed.
fn process(program: &str, arguments: &[&str]) -> Option<f64> {
    let started = Instant::now();
    let ended = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ended.ok().map(|_| micros(started.elapsed()))
}

/// What many environments keep.
async fn kept(rounds: u32) -> Result<Group> {
    let mut group = Group::new(format!("{MANY} environments in JavaScript"));
    let (mut times, mut memory, mut bytes, mut disk) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.min(3) {
        let mut client = Client::start("").await?;
        client.set_up("javascript", JAVASCRIPT).await?;
        let before = client.host.private_dirty()?;
        let (mut each, mut state) = (Vec::new(), 0);
        for _ in 0..MANY {
            let (time, environment) = client.set_up("javascript", JAVASCRIPT).await?;
            each.push(time / 1e3);
            state = environment.state_bytes;
        }
        times.push(percentile(&mut each, 50.0));
        memory.push((client.host.private_dirty()? - before) * 1024.0 / MANY as f64);
        bytes.push(state as f64 / 1024.0);
        let store = client.host.file("state/store/environments.redb");
        let size = fs::metadata(store).context("the store")?.len();
        disk.push(size as f64 / 1024.0 / MANY as f64);
    }
    group.add("setting one up", Unit::Milliseconds, times);
    group.add("state of one, KiB", Unit::Count, bytes);
    group.add("memory for each, KiB", Unit::Count, memory);
    group.add("disk for each, KiB", Unit::Count, disk);
    Ok(group)
}

/// Copies, turns, and calls of states that are not in memory.
async fn copies(rounds: u32) -> Result<Group> {
    let (mut forks, mut turns, mut warm, mut thawed) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut client, mut cold) = (Client::start("").await?, Client::start("cached = 0").await?);
    let (_, environment) = client.set_up("javascript", JAVASCRIPT).await?;
    let (_, frozen) = cold.set_up("javascript", JAVASCRIPT).await?;
    for _ in 0..rounds {
        let [mut fork, mut turn, mut in_memory, mut from_store] = [const { Vec::new() }; 4];
        for _ in 0..TURN {
            let id = environment.id.as_bytes();
            let Ready { body, pending } = client.seal(Operation::Fork, id, &Terms::default())?;
            let (time, answer) = client.post("/environments/fork", body).await?;
            let opened = client.session.open_answer(FORMAT, &pending, &answer)?;
            let copy: EnvironmentInfo = decode(&opened).context("decoding")?;
            fork.push(time / 1e3);
            let input = EvaluateInput {
                source: "globalThis.n = (globalThis.n ?? 0) + 1".to_owned(),
                ..EvaluateInput::default()
            };
            let Ready { body, pending } =
                client.seal(Operation::Evaluate, copy.id.as_bytes(), &input)?;
            let (time, answer) = client.post("/environments/evaluate", body).await?;
            client.session.open_answer(FORMAT, &pending, &answer)?;
            turn.push(time / 1e3);
        }
        let expected = r#"{"calls":1,"twice":42}"#;
        client
            .calls(&environment.id, &mut in_memory, expected)
            .await?;
        cold.calls(&frozen.id, &mut from_store, expected).await?;
        forks.push(percentile(&mut fork, 50.0));
        turns.push(percentile(&mut turn, 50.0));
        warm.push(percentile(&mut in_memory, 50.0) / 1e3);
        thawed.push(percentile(&mut from_store, 50.0) / 1e3);
    }
    let mut group = Group::new("copies and turns, JavaScript");
    group.add("fork, on the disk", Unit::Milliseconds, forks);
    group.add("turn, on the disk", Unit::Milliseconds, turns);
    group.add("call, its state in memory", Unit::Milliseconds, warm);
    group.add("call, its state in the store", Unit::Milliseconds, thawed);
    Ok(group)
}
