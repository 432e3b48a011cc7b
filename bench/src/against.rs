//! This host and an earlier build of it, side by side: the same client drives both in turns, and what is printed first is a
//! ratio of the same round.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hypervisor::admin::{Place, Token};
use hypervisor::pipeline::{Plugin, Replacement};
use hypervisor_ctl::operator::{Admin, AdminUrl, TlsFiles};
use hypervisor_protocol::ContentFormat;

use crate::agents::{deploy, load, owner, policy};
use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, SCRIPT, Session, component, guest};
use crate::server::{Process, free_address, host_executable};
use crate::stats::{micros, percentile};

const FORMAT: ContentFormat = ContentFormat::Cbor;
const AIM: &str = ">= 0.98";
/// Sealed requests of one host in a turn, and turns in a round.
const TURN: usize = 25;
const TURNS: usize = 8;
/// Agents that get their first request after a restart.
const COLD: usize = 40;
/// Swaps of the policy in a round.
const SWAPS: usize = 4;
/// Gives a sealing key, so the agents survive a restart.
const SEALED: &str = "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'bench'\n";

/// A value of each host.
type Pair<T> = [T; 2];

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Sealed `hello` and `print('hello')`.
    Requests,
    /// The first execution of jq.
    First,
    /// GET of an agent.
    Agents,
    /// Agents after a restart.
    Cold,
    /// Swaps of the policy.
    Swaps,
}

pub(crate) fn measure(before: &Path, parts: &[Part], rounds: u32) -> Result<Section> {
    let hosts = [before.to_owned(), host_executable()?];
    let hosts = [hosts[0].as_path(), hosts[1].as_path()];
    let runtime = client_runtime()?;
    let mut section = Section::new(
        "against",
        format!(
            "this build of the host (after) against {} (before), in turns",
            before.display()
        ),
    );
    runtime.block_on(async {
        let wanted = |part| parts.is_empty() || parts.contains(&part);
        if wanted(Part::Requests) {
            section.push(requests(hosts, rounds).await?);
        }
        if wanted(Part::First) {
            section.push(first_requests(hosts, rounds.div_ceil(3)).await?);
        }
        if wanted(Part::Agents) {
            section.push(agents(hosts, rounds.div_ceil(2)).await?);
        }
        if wanted(Part::Cold) {
            section.push(cold_agents(hosts, rounds.div_ceil(3)).await?);
        }
        if wanted(Part::Swaps) {
            section.push(swaps(hosts, rounds.div_ceil(3)).await?);
        }
        Ok(section)
    })
}

/// Both hosts, each of them first in every other turn: who comes second finds the machine as the first left it.
fn in_turn<T>(turn: impl TryInto<usize>, both: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut both: Vec<T> = both.into_iter().collect();
    if turn.try_into().is_ok_and(|turn| turn % 2 == 1) {
        both.reverse();
    }
    both
}

/// One value a round of both hosts.
#[derive(Default)]
struct Rounds(Pair<Vec<f64>>);

impl Rounds {
    fn push(&mut self, [before, after]: Pair<f64>) {
        self.0[0].push(before);
        self.0[1].push(after);
    }

    /// Adds the ratio, above 1 where this build is the better one, and the figures.
    fn add(&self, group: &mut Group, name: &str, unit: Unit) {
        let pairs = self.0[0].iter().zip(&self.0[1]);
        let ratio = pairs.map(|(before, after)| match unit {
            Unit::PerSecond => after / before,
            _ => before / after,
        });
        group.add_with_aim(format!("{name}: speed"), Unit::Ratio, ratio, AIM);
        group.add(format!("{name}: before"), unit, self.0[0].iter().copied());
        group.add(format!("{name}: after"), unit, self.0[1].iter().copied());
    }
}

/// A host, a connection to it, and a session.
struct Client {
    /// Ended when dropped.
    host: Process,
    connection: Connection,
    session: Session,
}

impl Client {
    async fn start(executable: &Path, config: &str) -> Result<Self> {
        Self::of(Process::host_of(executable, config)?).await
    }

    async fn of(host: Process) -> Result<Self> {
        let mut connection = Connection::open(host.address()).await?;
        let session = Session::open(&mut connection).await?;
        Ok(Self {
            host,
            connection,
            session,
        })
    }

    /// Time of one request, microseconds; it has to run well.
    async fn time(&mut self, path: &str, ready: Ready) -> Result<f64> {
        let Ready { body, pending } = ready;
        let started = Instant::now();
        let answer = self.connection.post(path, FORMAT, body).await?;
        let time = micros(started.elapsed());
        self.session.open_answer(FORMAT, &pending, &answer)?;
        Ok(time)
    }

    async fn program(&mut self, program: &[u8], arguments: &[&str]) -> Result<f64> {
        let ready = self.session.seal(FORMAT, program, arguments)?;
        self.time(EXECUTE, ready).await
    }

    async fn script(&mut self, script: &str) -> Result<f64> {
        let ready = self.session.seal_script(FORMAT, script)?;
        self.time(SCRIPT, ready).await
    }
}

/// Sealed `hello` and `print('hello')`, compiled before, and the memory that is resident then.
async fn requests(hosts: Pair<&Path>, rounds: u32) -> Result<Group> {
    let program = guest("hello.wasm")?;
    let config = format!(
        "[runtime.python]\ncomponent = {:?}\n",
        component("policy-python.wasm")?
    );
    // The second start, which compiles, may take longer than a connection to the first may be idle.
    let [before, after] = [
        Process::host_of(hosts[0], &config)?,
        Process::host_of(hosts[1], &config)?,
    ];
    let mut clients = [Client::of(before).await?, Client::of(after).await?];
    for client in &mut clients {
        for _ in 0..TURN {
            client.program(&program, &[]).await?;
            client.script("print('hello')").await?;
        }
    }
    let (mut hello, mut python) = (Rounds::default(), Rounds::default());
    let (mut hello_cpu, mut python_cpu) = (Rounds::default(), Rounds::default());
    for _ in 0..rounds {
        let mut programs = [vec![], vec![]];
        let mut scripts = [vec![], vec![]];
        let (mut of_programs, mut of_scripts) = ([0.0; 2], [0.0; 2]);
        for turn in 0..TURNS {
            for ((client, times), cpu) in in_turn(
                turn,
                clients.iter_mut().zip(&mut programs).zip(&mut of_programs),
            ) {
                let before = client.host.cpu()?;
                for _ in 0..TURN {
                    times.push(client.program(&program, &[]).await?);
                }
                *cpu += micros(client.host.cpu()?.saturating_sub(before));
            }
            for ((client, times), cpu) in in_turn(
                turn,
                clients.iter_mut().zip(&mut scripts).zip(&mut of_scripts),
            ) {
                let before = client.host.cpu()?;
                for _ in 0..TURN / 5 {
                    times.push(client.script("print('hello')").await?);
                }
                *cpu += micros(client.host.cpu()?.saturating_sub(before));
            }
        }
        hello_cpu.push(of_programs.map(|cpu| cpu / (TURNS * TURN) as f64));
        python_cpu.push(of_scripts.map(|cpu| cpu / (TURNS * (TURN / 5)) as f64));
        hello.push(programs.map(|mut times| percentile(&mut times, 50.0)));
        python.push(scripts.map(|mut times| percentile(&mut times, 50.0)));
    }
    let mut group = Group::new("sealed requests over one connection, p50");
    hello.add(&mut group, "hello", Unit::Microseconds);
    hello_cpu.add(&mut group, "hello, processor time", Unit::Microseconds);
    python.add(&mut group, "print('hello')", Unit::Microseconds);
    python_cpu.add(
        &mut group,
        "print('hello'), processor time",
        Unit::Microseconds,
    );
    let mut memory = Rounds::default();
    let [before, after] = &clients;
    memory.push([before.host.private_dirty()?, after.host.private_dirty()?]);
    memory.add(&mut group, "private memory after them", Unit::Mebibytes);
    Ok(group)
}

/// The first execution of jq in a fresh session, compilation included.
async fn first_requests(hosts: Pair<&Path>, rounds: u32) -> Result<Group> {
    let program = guest("jq.wasm")?;
    let mut rounds_of = Rounds::default();
    for round in 0..rounds {
        let mut times = [0.0; 2];
        for (executable, time) in in_turn(round, hosts.into_iter().zip(&mut times)) {
            let mut client = Client::start(executable, "").await?;
            *time = client.program(&program, &["-n", "6*7"]).await? / 1e3;
        }
        rounds_of.push(times);
    }
    let mut group = Group::new("the first execution of jq");
    rounds_of.add(&mut group, "jq", Unit::Milliseconds);
    Ok(group)
}

/// GET of `http-hello` by `wrk`.
async fn agents(hosts: Pair<&Path>, rounds: u32) -> Result<Group> {
    let owner = owner()?;
    let processes = [
        Process::host_of(hosts[0], "")?,
        Process::host_of(hosts[1], "")?,
    ];
    for host in &processes {
        deploy(host, &owner, "hello", "").await?;
        deploy(host, &owner, "hello-again", "reuse = 128").await?;
    }
    let mut group = Group::new("GET of an agent, 32 connections");
    for (agent, name) in [
        ("hello", "an instance for each request"),
        ("hello-again", "128 requests an instance"),
    ] {
        let (mut rates, mut cpu) = (Rounds::default(), Rounds::default());
        for round in 0..rounds {
            let (mut rate, mut each) = ([0.0; 2], [0.0; 2]);
            for ((host, rate), each) in
                in_turn(round, processes.iter().zip(&mut rate).zip(&mut each))
            {
                let url = format!("http://{}/agents/{agent}/", host.address());
                let before = host.cpu()?;
                let measured = tokio::task::spawn_blocking(move || load(&url));
                let load = measured.await.context("wrk")??;
                *rate = load.requests_a_second;
                *each = micros(host.cpu()?.saturating_sub(before)) / load.requests;
            }
            rates.push(rate);
            cpu.push(each);
        }
        rates.add(&mut group, name, Unit::PerSecond);
        let name = format!("{name}, processor time");
        cpu.add(&mut group, &name, Unit::Microseconds);
    }
    let mut memory = Rounds::default();
    let [before, after] = &processes;
    memory.push([before.private_dirty()?, after.private_dirty()?]);
    memory.add(&mut group, "private memory after them", Unit::Mebibytes);
    Ok(group)
}

/// The first request to an agent whose code is sealed on the disk.
async fn cold_agents(hosts: Pair<&Path>, rounds: u32) -> Result<Group> {
    let owner = owner()?;
    let mut processes = [
        Process::host_of(hosts[0], SEALED)?,
        Process::host_of(hosts[1], SEALED)?,
    ];
    for host in &processes {
        for number in 0..COLD {
            deploy(host, &owner, &format!("agent-{number}"), "").await?;
        }
    }
    let (mut first, mut starts) = (Rounds::default(), Rounds::default());
    let mut first_cpu = Rounds::default();
    for round in 0..rounds {
        let (mut firsts, mut start, mut cpu) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        for (((host, p50), start), cpu) in in_turn(
            round,
            processes
                .iter_mut()
                .zip(&mut firsts)
                .zip(&mut start)
                .zip(&mut cpu),
        ) {
            *start = host.restart()?.as_secs_f64() * 1e3;
            let mut times = Vec::new();
            let before = host.cpu()?;
            for number in 0..COLD {
                let mut connection = Connection::open(host.address()).await?;
                let path = format!("/agents/agent-{number}/");
                let started = Instant::now();
                connection.get(&path).await?;
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
            *cpu = micros(host.cpu()?.saturating_sub(before)) / 1e3 / COLD as f64;
            *p50 = percentile(&mut times, 50.0);
        }
        first_cpu.push(cpu);
        first.push(firsts);
        starts.push(start);
    }
    let mut group = Group::new(format!("after a restart with {COLD} agents"));
    first.add(&mut group, "first request to one, p50", Unit::Milliseconds);
    let name = "first request to one, processor time";
    first_cpu.add(&mut group, name, Unit::Milliseconds);
    starts.add(&mut group, "start", Unit::Milliseconds);
    Ok(group)
}

/// Requests while the policy that is asked about them is swapped.
async fn swaps(hosts: Pair<&Path>, rounds: u32) -> Result<Group> {
    let folder = tempfile::TempDir::new().context("temporary folder")?;
    let rules = policy(folder.path())?;
    let engine = std::fs::read(component("policy-rust.wasm")?).context("policy-rust.wasm")?;
    let start = async |executable: &Path| -> Result<(Process, Admin)> {
        let admin = free_address()?;
        let host = Process::host_of(
            executable,
            &format!("{rules}[admin]\nlistening = '{admin}'\n"),
        )?;
        // A host from before there was one has no token.
        let token = host.file("state/admin.token");
        let token = token.exists().then(|| Token::read(&token)).transpose();
        deploy(&host, &owner()?, "hello", "").await?;
        let token = token.context("the admin port's token")?;
        let url = AdminUrl::Plain(Place::Tcp(admin));
        let admin = Admin::new(url, token, &TlsFiles::default());
        Ok((host, admin.map_err(|e| Error::new(e.to_string()))?))
    };
    let running = [start(hosts[0]).await?, start(hosts[1]).await?];
    let (mut during, mut swap) = (Rounds::default(), Rounds::default());
    for round in 0..rounds {
        let (mut p99, mut took) = ([0.0; 2], [0.0; 2]);
        for (((host, admin), p99), took) in
            in_turn(round, running.iter().zip(&mut p99).zip(&mut took))
        {
            let over = Arc::new(AtomicBool::new(false));
            let load = tokio::spawn(requests_until(host.address(), Arc::clone(&over)));
            let started = Instant::now();
            for _ in 0..SWAPS {
                admin
                    .swap(
                        Plugin::Policy.name(),
                        Replacement {
                            component: Some(engine.clone().into()),
                            ..Replacement::default()
                        },
                    )
                    .await
                    .map_err(|e| Error::new(e.to_string()))?;
            }
            *took = started.elapsed().as_secs_f64() * 1e3 / SWAPS as f64;
            over.store(true, Ordering::Relaxed);
            let mut times = load.await.context("a client")??;
            *p99 = percentile(&mut times, 99.0);
        }
        during.push(p99);
        swap.push(took);
    }
    let mut group = Group::new("the policy swapped under load");
    swap.add(&mut group, "a swap", Unit::Milliseconds);
    during.add(&mut group, "requests meanwhile, p99", Unit::Microseconds);
    Ok(group)
}

/// Requests over one connection until it is over; their times.
async fn requests_until(address: std::net::SocketAddr, over: Arc<AtomicBool>) -> Result<Vec<f64>> {
    let mut connection = Connection::open(address).await?;
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let started = Instant::now();
        connection.get("/agents/hello/").await?;
        times.push(micros(started.elapsed()));
    }
    Ok(times)
}
