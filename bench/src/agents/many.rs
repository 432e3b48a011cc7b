//! A thousand agents: memory, the start, and the first request to one whose code is on the disk.

use std::time::Instant;

use crate::error::Result;
use crate::http::Connection;
use crate::report::{Group, Unit};
use crate::server::Process;
use crate::stats::percentile;

use super::{deploy, owner};

const AGENTS: usize = 1_000;
/// Agents that get their first request.
const COLD: usize = 50;

/// The seed gives a sealing key, so the agents survive the restart. `loaded` is small enough that none stays by chance.
const CONFIG: &str = "[agents]\ndeployed = 2000\nper_owner = 2000\n[attestation]\nbackend = 'simulated'\nsimulated_seed = 'bench'\n";

pub(super) async fn measure(rounds: u32) -> Result<Group> {
    let mut host = Process::configured(CONFIG)?;
    let owner = owner()?;
    let empty = host.memory("VmRSS")?;
    let started = Instant::now();
    for number in 0..AGENTS {
        deploy(&host, &owner, &format!("agent-{number}"), "").await?;
    }
    let deploying = started.elapsed().as_secs_f64() * 1e3 / AGENTS as f64;
    let loaded = host.memory("VmRSS")?;
    let (mut starts, mut rss, mut first, mut worst) = (vec![], vec![], vec![], vec![]);
    for round in 0..rounds.min(5) as usize {
        starts.push(host.restart()?.as_secs_f64() * 1e3);
        rss.push(host.memory("VmRSS")?);
        let mut times = Vec::new();
        for number in 0..COLD {
            let mut connection = Connection::open(host.address()).await?;
            let path = format!("/agents/agent-{}/", number * 7 + round);
            let started = Instant::now();
            connection.get(&path).await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        first.push(percentile(&mut times, 50.0));
        worst.push(percentile(&mut times, 100.0));
    }
    let mut group = Group::new("1,000 agents of 85 kB each, sealed on the disk");
    group.add(
        "a deployment, compilation included",
        Unit::Milliseconds,
        [deploying],
    );
    group.add("resident memory without agents", Unit::Mebibytes, [empty]);
    group.add(
        "resident memory, all of them loaded",
        Unit::Mebibytes,
        [loaded],
    );
    group.add(
        "start of the host with all of them",
        Unit::Milliseconds,
        starts,
    );
    group.add("resident memory after that", Unit::Mebibytes, rss);
    group.add_with_aim(
        "first request to a cold agent, p50",
        Unit::Milliseconds,
        first,
        "< 20 ms",
    );
    group.add_with_aim(
        "first request to a cold agent, slowest of 50",
        Unit::Milliseconds,
        worst,
        "< 20 ms",
    );
    Ok(group)
}
