//! A machine as one host, or as one host for each of its cores: what free work takes either way.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use hypervisor_protocol::ContentFormat;
use tokio::task::JoinSet;

use crate::agents::{deploy, owner};
use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, SCRIPT, Session, component, guest};
use crate::server::Process;

const FORMAT: ContentFormat = ContentFormat::Cbor;
/// Clients at once, of all hosts together; each asks one host.
const CLIENTS: usize = 16;
/// What each client asks in a round.
const HELLOS: usize = 250;
const CALLS: usize = 500;
const SCRIPTS: usize = 25;
const AGENT: &str = "hello";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "nodes",
        format!(
            "one host on two cores, and two hosts with a core each; {CLIENTS} clients on the same cores"
        ),
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(compare(rounds, Work::Hello))?);
    section.push(runtime.block_on(compare(rounds, Work::Agent))?);
    section.push(runtime.block_on(compare(rounds, Work::Python))?);
    Ok(section)
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Hello,
    Agent,
    Python,
}

impl Work {
    fn title(self) -> &'static str {
        match self {
            Self::Hello => "hello.wasm, sealed, 50 kB",
            Self::Agent => "an agent that answers hello",
            Self::Python => "a script in Python that prints hello, sealed",
        }
    }
}

/// What a round came to: how many a second, and microseconds of the hosts' processor time for each.
struct Round {
    rate: f64,
    cpu: f64,
}

async fn compare(rounds: u32, work: Work) -> Result<Group> {
    let config = match work {
        Work::Python => {
            let engine = fs::read_to_string(component("policy-python.toml")?)
                .context("target/components/policy-python.toml (make components)")?;
            format!("[runtime.python]\n{engine}")
        }
        Work::Hello | Work::Agent => String::new(),
    };
    let one = [Process::on_cores(&config, "0,1")?];
    let two = [
        Process::on_cores(&config, "0")?,
        Process::on_cores(&config, "1")?,
    ];
    for host in one.iter().chain(&two) {
        deploy(host, &owner()?, AGENT, "").await?;
    }
    let (mut rates, mut rates_of_two, mut more) = (vec![], vec![], vec![]);
    let (mut cpu, mut cpu_of_two, mut less) = (vec![], vec![], vec![]);
    for round in 0..=rounds {
        let (a, b) = (load(&one, work).await?, load(&two, work).await?);
        if round > 0 {
            more.push(b.rate / a.rate);
            less.push(a.cpu / b.cpu);
            rates.push(a.rate);
            rates_of_two.push(b.rate);
            cpu.push(a.cpu);
            cpu_of_two.push(b.cpu);
        }
    }
    let mut group = Group::new(work.title());
    group.add("one host", Unit::PerSecond, rates);
    group.add("two hosts", Unit::PerSecond, rates_of_two);
    group.add_with_aim("two over one", Unit::Ratio, more, ">= 1.3 to be worth it");
    group.add("one host, processor time of each", Unit::Microseconds, cpu);
    group.add("two hosts, the same", Unit::Microseconds, cpu_of_two);
    group.add("one over two", Unit::Ratio, less);
    Ok(group)
}

/// Has all clients ask at once, without a pause.
async fn load(hosts: &[Process], work: Work) -> Result<Round> {
    let hello: Arc<[u8]> = guest("hello.wasm")?.into();
    let mut clients = Vec::new();
    for host in hosts.iter().cycle().take(CLIENTS) {
        let mut connection = Connection::open(host.address()).await?;
        let session = Session::open(&mut connection).await?;
        let hello = Arc::clone(&hello);
        let mut client = Client {
            connection,
            session,
            hello,
        };
        client.ask(work).await?;
        clients.push(client);
    }
    let before = processor(hosts)?;
    let started = Instant::now();
    let times = match work {
        Work::Hello => HELLOS,
        Work::Agent => CALLS,
        Work::Python => SCRIPTS,
    };
    let mut asking: JoinSet<_> = (clients.into_iter())
        .map(|mut client| async move {
            for _ in 0..times {
                client.ask(work).await?;
            }
            Ok::<_, Error>(())
        })
        .collect();
    while let Some(done) = asking.join_next().await {
        done.context("a client")??;
    }
    let all = (CLIENTS * times) as f64;
    Ok(Round {
        rate: all / started.elapsed().as_secs_f64(),
        cpu: (processor(hosts)? - before) * 1e6 / all,
    })
}

/// Seconds of processor time that the hosts have had.
fn processor(hosts: &[Process]) -> Result<f64> {
    let mut sum = 0.0;
    for host in hosts {
        sum += host.cpu()?.as_secs_f64();
    }
    Ok(sum)
}

struct Client {
    connection: Connection,
    session: Session,
    hello: Arc<[u8]>,
}

impl Client {
    async fn ask(&mut self, work: Work) -> Result<()> {
        let (path, Ready { body, pending }) = match work {
            Work::Agent => {
                let path = format!("/agents/{AGENT}/");
                return self.connection.get(&path).await.map(drop);
            }
            Work::Hello => (EXECUTE, self.session.seal(FORMAT, &self.hello, &[])?),
            Work::Python => (SCRIPT, self.session.seal_script(FORMAT, "print('hello')")?),
        };
        let answer = self.connection.post(path, FORMAT, body).await?;
        self.session.check(FORMAT, &pending, &answer, b"hello\n")
    }
}
