//! Python: what a script costs beside a native interpreter, what a live instance holds, what a policy adds.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypervisor_protocol::ContentFormat;
use tokio::task::JoinSet;

use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, SCRIPT, Session, component, guest};
use crate::server::Process;
use crate::stats::{micros, percentile, timed};

const FORMAT: ContentFormat = ContentFormat::Cbor;
const HELLO: &str = "print('hello')";
/// Requests of each kind in a round, in turns of [`TURN`].
const REQUESTS: usize = 100;
const TURN: usize = 10;
/// Executions at once.
const AT_ONCE: usize = 50;
/// Imports count as overhead; prints the microseconds of its own work.
const WORK: &str = r#"
import json, re, hashlib, datetime
from time import perf_counter
began = perf_counter()
for day in range(14):
    date = datetime.date(2026, 1, 1) + datetime.timedelta(days=day)
    text = json.dumps({"date": date.isoformat(), "values": list(range(day))})
    found = re.findall(r"\d+", json.dumps(json.loads(text), sort_keys=True))
    digest = hashlib.sha256(",".join(found).encode()).hexdigest()
print((perf_counter() - began) * 1e6)
"#;
/// Touches some memory, sleeps.
const SLEEPER: &str = "
import time
table = {n: str(n) for n in range(1000)}
time.sleep(1)
print(len(table))
";
const RULES: &str = "def authorize(action): return True\n";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "python",
        "scripts and policy in a componentized CPython, sealed, over one keep-alive connection",
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(hello(rounds))?);
    section.push(runtime.block_on(work(rounds))?);
    section.push(runtime.block_on(at_once(rounds))?);
    section.push(runtime.block_on(policy(rounds))?);
    section.push(start_up(rounds)?);
    Ok(section)
}

/// The lines of a configuration that name the compiled plugin.
fn plugin() -> Result<String> {
    let path = component("policy-python.toml")?;
    fs::read_to_string(path).context(
        "target/components/policy-python.toml (make components; scripts/compile-components.sh target/release/hypervisor)",
    )
}

/// A host, a connection to it, and a session.
struct Client {
    /// Ended when dropped.
    host: Process,
    connection: Connection,
    session: Arc<Session>,
}

impl Client {
    async fn start(config: &str) -> Result<Self> {
        let host = Process::configured(config)?;
        let mut connection = Connection::open(host.address()).await?;
        let session = Arc::new(Session::open(&mut connection).await?);
        Ok(Self {
            host,
            connection,
            session,
        })
    }

    /// Time of one script, microseconds, with what it printed.
    async fn script(&mut self, script: &str) -> Result<(f64, Vec<u8>)> {
        let ready = self.session.seal_script(FORMAT, script)?;
        self.request(SCRIPT, ready).await
    }

    /// Time of one program, microseconds.
    async fn program(&mut self, program: &[u8]) -> Result<f64> {
        let ready = self.session.seal(FORMAT, program, &[])?;
        let (time, output) = self.request(EXECUTE, ready).await?;
        expect(&output, b"hello\n")?;
        Ok(time)
    }

    async fn request(&mut self, path: &str, ready: Ready) -> Result<(f64, Vec<u8>)> {
        let Ready { body, pending } = ready;
        let started = Instant::now();
        let answer = self.connection.post(path, FORMAT, body).await?;
        let time = micros(started.elapsed());
        let output = self.session.open_answer(FORMAT, &pending, &answer)?;
        Ok((time, output))
    }

    /// Adds the times of a turn of `hello`.
    async fn hellos(&mut self, times: &mut Vec<f64>) -> Result<()> {
        for _ in 0..TURN {
            let (time, output) = self.script(HELLO).await?;
            expect(&output, b"hello\n")?;
            times.push(time);
        }
        Ok(())
    }
}

fn expect(output: &[u8], expected: &[u8]) -> Result<()> {
    if output == expected {
        Ok(())
    } else {
        Err(Error::new("the script did not print what it should"))
    }
}

/// p50 and p99 of one round.
#[derive(Debug, Clone, Copy)]
struct Percentiles {
    p50: f64,
    p99: f64,
}

impl Percentiles {
    fn of(mut times: Vec<f64>) -> Self {
        Self {
            p50: percentile(&mut times, 50.0),
            p99: percentile(&mut times, 99.0),
        }
    }
}

async fn hello(rounds: u32) -> Result<Group> {
    let (plugin, interpreter) = (plugin()?, interpreter()?);
    let mut pooled = Client::start(&format!("[runtime.python]\n{plugin}")).await?;
    let mut unpooled = Client::start(&format!("[runtime.python]\nready = 0\n{plugin}")).await?;
    // Both have run before the clock starts.
    pooled.hellos(&mut Vec::new()).await?;
    unpooled.hellos(&mut Vec::new()).await?;
    let (mut with, mut without, mut native) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let (mut of_with, mut of_without, mut of_native) = (vec![], vec![], vec![]);
        for _ in 0..REQUESTS / TURN {
            pooled.hellos(&mut of_with).await?;
            unpooled.hellos(&mut of_without).await?;
            for _ in 0..TURN {
                let (time, ended) = timed(|| native_hello(&interpreter));
                ended?;
                of_native.push(micros(time));
            }
        }
        with.push(Percentiles::of(of_with));
        without.push(Percentiles::of(of_without));
        native.push(Percentiles::of(of_native));
    }
    let mut group = Group::new("print('hello'), end to end");
    let ratio = |of: &[Percentiles]| -> Vec<f64> {
        let pairs = of.iter().zip(&native);
        pairs.map(|(one, native)| one.p50 / native.p50).collect()
    };
    let (of_with, of_without) = (ratio(&with), ratio(&without));
    for (name, times) in [
        ("instances ready (default)", &with),
        ("no instance ready (ready = 0)", &without),
        ("native: python3 -I -S -c, spawn and wait", &native),
    ] {
        let p50 = times.iter().map(|t| t.p50);
        group.add(format!("{name}: p50"), Unit::Microseconds, p50);
        let p99 = times.iter().map(|t| t.p99);
        group.add(format!("{name}: p99"), Unit::Microseconds, p99);
    }
    group.add_with_aim(
        "instances ready / native, p50",
        Unit::Ratio,
        of_with,
        "<= 0.3",
    );
    group.add_with_aim("none ready / native, p50", Unit::Ratio, of_without, "< 1");
    Ok(group)
}

/// The interpreter itself: `python3` on the path may be a script that looks for it.
fn interpreter() -> Result<PathBuf> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable, end='')"])
        .output()
        .context("starting python3")?;
    let path = String::from_utf8(output.stdout).context("the path of python3")?;
    Ok(path.into())
}

fn native_hello(interpreter: &Path) -> Result<()> {
    let output = Command::new(interpreter)
        .args(["-I", "-S", "-c", HELLO])
        .stdin(Stdio::null())
        .output()
        .context("starting python3")?;
    expect(&output.stdout, b"hello\n")
}

async fn work(rounds: u32) -> Result<Group> {
    let mut client = Client::start(&format!("[runtime.python]\n{}", plugin()?)).await?;
    let (mut whole, mut inside, mut beyond) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let (mut times, mut works, mut overheads) = (vec![], vec![], vec![]);
        for _ in 0..REQUESTS {
            let (time, output) = client.script(WORK).await?;
            let work: f64 = std::str::from_utf8(&output)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .context("the script did not print its time")?;
            times.push(time);
            works.push(work);
            overheads.push(time - work);
        }
        whole.push(percentile(&mut times, 50.0) / 1e3);
        inside.push(percentile(&mut works, 50.0) / 1e3);
        beyond.push(percentile(&mut overheads, 50.0) / 1e3);
    }
    let mut group = Group::new("json, re, hashlib, datetime: some work of its own");
    group.add("whole path, p50", Unit::Milliseconds, whole);
    group.add("in the script, p50", Unit::Milliseconds, inside);
    group.add_with_aim("beyond, p50", Unit::Milliseconds, beyond, "< 5 ms");
    Ok(group)
}

async fn at_once(rounds: u32) -> Result<Group> {
    let config = format!("[runtime.python]\n{}", plugin()?);
    let (mut each, mut slept, mut quick) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        // A process of its own each time: slots of the pool that were used before hold pages already.
        let mut client = Client::start(&config).await?;
        client.script(HELLO).await?;
        let before = client.host.private_dirty()?;
        let mut tasks = connected(&client, SLEEPER, b"1000\n").await?;
        let (started, mut most) = (Instant::now(), before);
        while started.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            most = client.host.private_dirty()?.max(most);
        }
        ended(&mut tasks).await?;
        slept.push(started.elapsed().as_secs_f64());
        each.push((most - before) / AT_ONCE as f64);

        let mut tasks = connected(&client, HELLO, b"hello\n").await?;
        let started = Instant::now();
        ended(&mut tasks).await?;
        quick.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let mut group = Group::new(format!("{AT_ONCE} scripts at once"));
    group.add_with_aim(
        "Private_Dirty for each sleeping script",
        Unit::Mebibytes,
        each,
        "< 3 MiB",
    );
    group.add("sleeping 1 s: all answered after", Unit::Seconds, slept);
    group.add("hello: all answered after", Unit::Milliseconds, quick);
    Ok(group)
}

/// Tasks that each send a script over a connection of their own; none has begun.
async fn connected(
    client: &Client,
    script: &str,
    expected: &'static [u8],
) -> Result<JoinSet<Result<()>>> {
    let mut requests = Vec::with_capacity(AT_ONCE);
    for _ in 0..AT_ONCE {
        let connection = Connection::open(client.host.address()).await?;
        requests.push((connection, client.session.seal_script(FORMAT, script)?));
    }
    let mut tasks = JoinSet::new();
    for (mut connection, Ready { body, pending }) in requests {
        let session = Arc::clone(&client.session);
        tasks.spawn(async move {
            let answer = connection.post(SCRIPT, FORMAT, body).await?;
            session.check(FORMAT, &pending, &answer, expected)
        });
    }
    Ok(tasks)
}

async fn ended(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a client task")??;
    }
    Ok(())
}

async fn policy(rounds: u32) -> Result<Group> {
    let program = guest("hello.wasm")?;
    let folder = tempfile::TempDir::new().context("temporary folder")?;
    let rules = folder.path().join("rules.py");
    fs::write(&rules, RULES).context("writing rules")?;
    let in_python = format!("[policy]\nrules = {rules:?}\n{}", plugin()?);
    // The second engine's rules are digests of programs, one a line.
    let digests = folder.path().join("digests");
    let digest = const_hex::encode(hypervisor_runtime::sha256(&program));
    fs::write(&digests, digest).context("writing rules")?;
    let engine = component("policy-rust.wasm")?;
    let in_rust = format!("[policy]\ncomponent = {engine:?}\nrules = {digests:?}\n");

    let mut hosts = [
        Client::start("").await?,
        Client::start(&in_python).await?,
        Client::start(&in_rust).await?,
    ];
    for host in &mut hosts {
        // Compiles.
        black_box(host.program(&program).await?);
    }
    let mut p50s = [vec![], vec![], vec![]];
    for _ in 0..rounds {
        let mut times = [vec![], vec![], vec![]];
        for _ in 0..2 * REQUESTS / TURN {
            for (host, times) in hosts.iter_mut().zip(&mut times) {
                for _ in 0..TURN {
                    times.push(host.program(&program).await?);
                }
            }
        }
        for (times, p50) in times.iter_mut().zip(&mut p50s) {
            p50.push(percentile(times, 50.0));
        }
    }
    let [without, python, rust] = p50s;
    let added = |with: &[f64]| -> Vec<f64> {
        let pairs = with.iter().zip(&without);
        pairs.map(|(with, without)| with - without).collect()
    };
    let (by_python, by_rust) = (added(&python), added(&rust));
    let mut group = Group::new("hello.wasm under a policy, p50");
    group.add("without a policy", Unit::Microseconds, without);
    group.add("policy-python, allows all", Unit::Microseconds, python);
    group.add("policy-rust, a list of digests", Unit::Microseconds, rust);
    let name = "added by policy-python";
    group.add_with_aim(name, Unit::Microseconds, by_python, "< 100 us");
    let name = "added by policy-rust";
    group.add_with_aim(name, Unit::Microseconds, by_rust, "< 100 us");
    Ok(group)
}

fn start_up(rounds: u32) -> Result<Group> {
    let config = format!("[runtime.python]\n{}", plugin()?);
    let mut ahead = Vec::new();
    for _ in 0..rounds {
        let (time, host) = timed(|| Process::configured(&config));
        host?;
        ahead.push(time.as_secs_f64());
    }
    let source = component("policy-python.wasm")?;
    let config = format!("[runtime.python]\ncomponent = {source:?}\n");
    let (time, host) = timed(|| Process::configured(&config));
    host?;
    let mut group = Group::new("from the process's start to `listening on`");
    let name = "Python compiled ahead of time";
    group.add_with_aim(name, Unit::Seconds, ahead, "< 1 s");
    let name = "compiled at the start (once)";
    group.add(name, Unit::Seconds, [time.as_secs_f64()]);
    Ok(group)
}
