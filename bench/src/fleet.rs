//! Hosts of a fleet over a real PostgreSQL on this machine: what a hop, a shared payment, a deployment and the loss of a host take.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use hypervisor_protocol::ContentFormat;
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::payments::Address;
use hypervisor_tests::payments::faulty::Facilitator;
use hypervisor_tests::peers::Peers;
use hypervisor_tests::postgres::Postgres;
use tokio::task::JoinSet;

use crate::agents::{deploy, owner};
use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::payments::{AT_ONCE, Buyer, EACH, config, offer};
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, Session, guest};
use crate::server::Process;
use crate::stats::{micros, percentile};

const FORMAT: ContentFormat = ContentFormat::Cbor;
/// Executions of each kind in a round, in turns of [`TURN`].
const REQUESTS: usize = 100;
const TURN: usize = 10;
/// Writes that are timed each time.
const WAITS: usize = 10;
/// The pause between two looks for something that happens on another host.
const LOOK: Duration = Duration::from_millis(10);
/// After this it did not happen.
const LATE: Duration = Duration::from_secs(60);

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "fleet",
        "hosts that share a PostgreSQL on this machine, whose commits wait for the disk",
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(hop(rounds))?);
    section.push(runtime.block_on(paid(rounds))?);
    for by_peers in [true, false] {
        section.push(runtime.block_on(agents(rounds, by_peers))?);
    }
    section.push(join(rounds)?);
    section.push(runtime.block_on(loss(rounds.min(3)))?);
    section.push(runtime.block_on(more(rounds))?);
    Ok(section)
}

/// A host of a fleet, with more of a configuration.
fn host(fleet: &Fleet, config: &str) -> Result<Process> {
    let section = fleet.section();
    Process::configured(&format!("{config}{section}advertise = '127.0.0.1:0'\n"))
}

/// Two hosts of a fleet, a session of the first, and a connection to each.
struct Apart {
    _fleet: Fleet,
    own: Process,
    _other: Process,
    direct: Connection,
    through: Connection,
    session: Session,
    hello: Vec<u8>,
}

impl Apart {
    async fn new() -> Result<Self> {
        let fleet = Fleet::over(Postgres::durable());
        let (own, other) = (host(&fleet, "")?, host(&fleet, "")?);
        let mut direct = Connection::open(own.address()).await?;
        Ok(Self {
            session: Session::open(&mut direct).await?,
            through: Connection::open(other.address()).await?,
            direct,
            hello: guest("hello.wasm")?,
            own,
            _other: other,
            _fleet: fleet,
        })
    }
}

/// Sealed runs at the host that has the session, and through another.
async fn hop(rounds: u32) -> Result<Group> {
    let mut apart = Apart::new().await?;
    let (mut at_home, mut forwarded, mut ratio) = (vec![], vec![], vec![]);
    for round in 0..=rounds {
        let (mut of_direct, mut of_through) = (vec![], vec![]);
        for _ in 0..REQUESTS / TURN {
            for (connection, times) in [
                (&mut apart.direct, &mut of_direct),
                (&mut apart.through, &mut of_through),
            ] {
                for _ in 0..TURN {
                    times.push(hello_over(connection, &apart.session, &apart.hello).await?);
                }
            }
        }
        if round > 0 {
            let (a, b) = (
                percentile(&mut of_direct, 50.0),
                percentile(&mut of_through, 50.0),
            );
            at_home.push(a);
            forwarded.push(b);
            ratio.push(b / a);
        }
    }
    let mut group = Group::new("hello.wasm, 50 kB, sealed and sent whole");
    group.add("at the session's host, p50", Unit::Microseconds, at_home);
    group.add("through another, p50", Unit::Microseconds, forwarded);
    group.add_with_aim("through another over direct", Unit::Ratio, ratio, "<= 1.5");
    Ok(group)
}

async fn hello_over(connection: &mut Connection, session: &Session, hello: &[u8]) -> Result<f64> {
    let Ready { body, pending } = session.seal(FORMAT, hello, &[])?;
    let started = Instant::now();
    let answer = connection.post(EXECUTE, FORMAT, body).await?;
    let time = micros(started.elapsed());
    session.check(FORMAT, &pending, &answer, b"hello\n")?;
    Ok(time)
}

/// Paid runs with the ledger in a file and in the database, in turns; then many at once with the latter.
async fn paid(rounds: u32) -> Result<Group> {
    let facilitator = Facilitator::start(None).await;
    let pay_to = Address::random();
    let config = config(&facilitator.url(), pay_to)?;
    let fleet = Fleet::over(Postgres::durable());
    let (alone, shared) = (Process::configured(&config)?, host(&fleet, &config)?);
    let (hello, offer) = (guest("hello.wasm")?, offer(pay_to));
    let (mut embedded, mut database, mut disk) = (vec![], vec![], vec![]);
    let (mut more, mut beyond, mut together) = (vec![], vec![], vec![]);
    for round in 0..=rounds {
        let mut times = [vec![], vec![]];
        let mut waits = vec![];
        for _ in 0..3 {
            waits.extend(waits_for_the_disk(&fleet.database.data())?);
            for (host, times) in [&alone, &shared].into_iter().zip(&mut times) {
                let buyer = Buyer::new(host, &hello, &offer).await?;
                let started = Instant::now();
                buyer.buy().await?;
                times.push(micros(started.elapsed()) / 1e3 / EACH as f64);
            }
        }
        let mut buyers = Vec::new();
        for _ in 0..AT_ONCE {
            buyers.push(Buyer::new(&shared, &hello, &offer).await?);
        }
        let started = Instant::now();
        let mut tasks: JoinSet<_> = buyers.into_iter().map(Buyer::buy).collect();
        while let Some(bought) = tasks.join_next().await {
            bought.context("a buyer")??;
        }
        let rate = (AT_ONCE * EACH) as f64 / started.elapsed().as_secs_f64();
        if round > 0 {
            let [file, rows] = times.map(|mut times| percentile(&mut times, 50.0));
            let wait = percentile(&mut waits, 50.0) / 1e3;
            disk.push(wait);
            beyond.push(rows - file - wait);
            embedded.push(file);
            database.push(rows);
            more.push(rows - file);
            together.push(rate);
        }
    }
    let mut group = Group::new("hello.wasm, sealed, paid for; the facilitator answers at once");
    group.add("ledger in a file", Unit::Milliseconds, embedded);
    group.add("ledger in the database", Unit::Milliseconds, database);
    group.add("more", Unit::Milliseconds, more);
    group.add(
        "8 KiB written and waited for, in the database's folder",
        Unit::Milliseconds,
        disk,
    );
    group.add_with_aim(
        "more, beyond one such wait",
        Unit::Milliseconds,
        beyond,
        "<= 0.5 ms",
    );
    group.add_with_aim("16 at once", Unit::PerSecond, together, ">= 500");
    Ok(group)
}

/// Microseconds that writes take which wait for the disk, as a commit of the database does.
fn waits_for_the_disk(folder: &Path) -> Result<Vec<f64>> {
    let path = folder.join("waits-for-the-disk");
    let mut file = File::create(&path).context("a file in the database's folder")?;
    let mut times = Vec::new();
    for _ in 0..WAITS {
        let started = Instant::now();
        file.write_all(&[0; 8 << 10])
            .and_then(|()| file.sync_data())
            .context("writing to the database's folder")?;
        times.push(micros(started.elapsed()));
    }
    fs::remove_file(&path).context("a file in the database's folder")?;
    Ok(times)
}

/// How soon an agent is on another host, and what its first call there takes beyond the next: by peers hosts share machine code, with
/// a key file each compiles.
async fn agents(rounds: u32, by_peers: bool) -> Result<Group> {
    let peers = Peers::over(Postgres::durable(), "", "any = true");
    let host = || match by_peers {
        true => Process::configured(&peers.config("", &peers.policy)),
        false => host(&peers.fleet, ""),
    };
    let (one, other) = (host()?, host()?);
    let owner = owner()?;
    let mut connection = Connection::open(other.address()).await?;
    let (mut visible, mut first, mut next) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let name = format!("agent-{round}");
        deploy(&one, &owner, &name, "").await?;
        let deployed = Instant::now();
        let info = format!("/agents/{name}");
        eventually("the agent on the other host", async || {
            connection.get(&info).await.is_ok()
        })
        .await?;
        visible.push(deployed.elapsed().as_secs_f64());
        let path = format!("/agents/{name}/");
        for times in [&mut first, &mut next] {
            let started = Instant::now();
            connection.get(&path).await?;
            times.push(micros(started.elapsed()) / 1e3);
        }
    }
    let mut group = Group::new(match by_peers {
        true => {
            "an agent of 87 kB, deployed on one host and called on another, with a key by peers"
        }
        false => "the same with a key file",
    });
    group.add_with_aim("found after", Unit::Seconds, visible, "<= 1.5 s");
    match by_peers {
        true => group.add_with_aim("its first call", Unit::Milliseconds, first, "<= 21 ms"),
        false => group.add("its first call, compiled", Unit::Milliseconds, first),
    }
    group.add("the next call", Unit::Milliseconds, next);
    Ok(group)
}

/// What a host that gets the fleet's key from another one takes to serve, beyond one that is alone: where quotes are made at once, and
/// where each takes a second, as on hardware.
fn join(rounds: u32) -> Result<Group> {
    let mut group = Group::new("a host that joins by peers, from its start until it serves");
    for (delay, name, aim) in [
        ("0s", "more than alone, quotes made at once", Some("<= 2 s")),
        ("1s", "more than alone, a second for each quote", None),
    ] {
        let quotes = format!("simulated_delay = '{delay}'\n");
        let peers = Peers::over(Postgres::durable(), &quotes, "any = true");
        let config = peers.config("", &peers.policy);
        let _member = Process::configured(&config)?;
        let mut more = vec![];
        for _ in 0..rounds {
            let took = |config: &str| {
                let started = Instant::now();
                let host = Process::configured(config)?;
                let took = started.elapsed().as_secs_f64();
                drop(host);
                Ok::<_, Error>(took)
            };
            let alone = took(peers.attests())?;
            more.push(took(&config)? - alone);
        }
        match aim {
            Some(aim) => group.add_with_aim(name, Unit::Seconds, more, aim),
            None => group.add(name, Unit::Seconds, more),
        }
    }
    Ok(group)
}

/// How long the sessions of a host that was killed are not known to be lost.
async fn loss(rounds: u32) -> Result<Group> {
    let mut lost = vec![];
    for _ in 0..rounds {
        let mut apart = Apart::new().await?;
        hello_over(&mut apart.through, &apart.session, &apart.hello).await?;
        drop(apart.own);
        let killed = Instant::now();
        eventually("the end of the session", async || {
            let tried = hello_over(&mut apart.through, &apart.session, &apart.hello).await;
            tried.is_err_and(|error| error.to_string().contains("unknown-session"))
        })
        .await?;
        lost.push(killed.elapsed().as_secs_f64());
    }
    let mut group = Group::new("a host that is killed");
    group.add_with_aim(
        "its sessions are known to be lost, and its payments taken over, after",
        Unit::Seconds,
        lost,
        "<= 15 s",
    );
    Ok(group)
}

/// Free and paid runs a second of one, two and three hosts over one database, with eight clients each.
async fn more(rounds: u32) -> Result<Group> {
    let facilitator = Facilitator::start(None).await;
    let pay_to = Address::random();
    let config = config(&facilitator.url(), pay_to)?;
    let fleet = Fleet::over(Postgres::durable());
    let hosts = [
        host(&fleet, &config)?,
        host(&fleet, &config)?,
        host(&fleet, &config)?,
    ];
    let (hello, offer) = (guest("hello.wasm")?, offer(pay_to));
    let mut rates = [const { Vec::new() }; 6];
    for _ in 0..rounds {
        for (count, [free, paid]) in (1..=hosts.len()).zip(pairs(&mut rates)) {
            let mut clients = Vec::new();
            let mut buyers = Vec::new();
            for host in hosts.iter().take(count) {
                for _ in 0..8 {
                    buyers.push(Buyer::new(host, &hello, &offer).await?);
                    let address = host.address();
                    let hello = hello.clone();
                    let mut connection = Connection::open(address).await?;
                    let session = Session::open(&mut connection).await?;
                    hello_over(&mut connection, &session, &hello).await?;
                    clients.push(async move {
                        for _ in 0..REQUESTS {
                            hello_over(&mut connection, &session, &hello).await?;
                        }
                        Ok::<_, Error>(())
                    });
                }
            }
            let started = Instant::now();
            let all = clients.len() * REQUESTS;
            let mut clients: JoinSet<_> = clients.into_iter().collect();
            while let Some(done) = clients.join_next().await {
                done.context("a client")??;
            }
            free.push(all as f64 / started.elapsed().as_secs_f64());
            let started = Instant::now();
            let all = buyers.len() * EACH;
            let mut buying: JoinSet<_> = buyers.into_iter().map(Buyer::buy).collect();
            while let Some(bought) = buying.join_next().await {
                bought.context("a buyer")??;
            }
            paid.push(all as f64 / started.elapsed().as_secs_f64());
        }
    }
    let mut group =
        Group::new("hosts on this machine, which has two cores for all of them and their clients");
    let names = [
        ["one host, free", "one host, paid"],
        ["two hosts, free", "two hosts, paid"],
        ["three hosts, free", "three hosts, paid"],
    ];
    for (name, rate) in names.into_iter().flatten().zip(rates) {
        group.add(name, Unit::PerSecond, rate);
    }
    Ok(group)
}

/// Those of one count of hosts: free and paid.
fn pairs(rates: &mut [Vec<f64>; 6]) -> impl Iterator<Item = [&mut Vec<f64>; 2]> {
    let mut rates = rates.iter_mut();
    std::iter::from_fn(move || Some([rates.next()?, rates.next()?]))
}

/// Looks until something is so.
async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !look().await {
        if began.elapsed() > LATE {
            return Err(Error::new(format!("in vain: {what}")));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
