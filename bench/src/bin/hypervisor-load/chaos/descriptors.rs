//! A host that has no descriptor left: it lives, and serves again as soon as there are some.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hypervisor_bench::error::{Context, Result};
use hypervisor_bench::report::{Group, Unit};
use hypervisor_tests::Host;
use tokio::net::TcpStream;

use super::Scenario;
use crate::market::{hold_serving, serves};
use crate::outcome::{Outcome, hold};
use crate::watch::now;

/// What it may open beyond what it has: a compiler has room, and more connections than that have not.
const LEFT: u64 = 24;
/// Connections that are held.
const HELD: usize = 64;
/// How long an answer is waited for that may not come.
const PATIENCE: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(rounds: usize) -> Result<Outcome> {
    let mut section = Scenario::Descriptors.section(format!(
        "{LEFT} descriptors are left, and {HELD} connections are opened and held; {rounds} times"
    ));
    let host = Host::logging("warn", "");
    serves(&host).await?;
    let mut faults = Vec::new();
    let (mut before, mut during, mut after) = (vec![], vec![], vec![]);
    let (mut refused, mut recovered) = (vec![], vec![]);
    for _ in 0..rounds {
        let open = host.descriptors().context("counting descriptors")?;
        let usual = host.bound_descriptors(open + LEFT);
        let held = hold_open(&host).await?;
        let mut without = 0;
        for _ in 0..4 {
            let served = tokio::time::timeout(PATIENCE, serves(&host)).await;
            without += usize::from(!matches!(served, Ok(Ok(()))));
        }
        during.push(now(&host).descriptors);
        // Without more to open: the connections end, and that is enough.
        drop(held);
        let freed = Instant::now();
        let serving = async {
            while serves(&host).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let again = tokio::time::timeout(RECOVERY, serving).await;
        hold(&mut faults, again.is_ok(), || {
            "it does not serve again after connections ended".to_owned()
        });
        recovered.push(freed.elapsed().as_secs_f64());
        host.bound_descriptors(usual);
        before.push(open as f64);
        after.push(now(&host).descriptors);
        refused.push(without as f64);
    }
    hold_serving(&mut faults, "afterwards", &host).await;
    let mut group = Group::new("each round");
    group.add("descriptors before", Unit::Count, before);
    group.add("descriptors while none is left", Unit::Count, during);
    group.add(
        "of 4 runs, without an answer meanwhile",
        Unit::Count,
        refused,
    );
    group.add("serves again after", Unit::Seconds, recovered);
    group.add("descriptors afterwards", Unit::Count, after);
    section.push(group);
    Ok(Outcome::of(section, faults))
}

async fn hold_open(host: &Host) -> Result<Vec<TcpStream>> {
    let address = host.url().strip_prefix("http://").context("no URL")?;
    let address: SocketAddr = address.parse().context("the host's address")?;
    let mut held = Vec::with_capacity(HELD);
    for _ in 0..HELD {
        held.push(TcpStream::connect(address).await.context("a connection")?);
    }
    Ok(held)
}
