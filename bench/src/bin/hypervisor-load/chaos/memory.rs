//! Memory that runs out: programs that take all they may, many at once; and a host that the kernel ends for it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hypervisor_bench::error::{Context, Result};
use hypervisor_bench::report::{Group, Unit};
use hypervisor_client::Program;
use hypervisor_client::protocol::{Exit, LimitKind};
use hypervisor_tests::payments::kills::settings;
use hypervisor_tests::payments::orders::{FLOWS, Order, Said};
use hypervisor_tests::payments::{Chain, Facilitator, Payment};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, eventually};
use tokio::task::JoinSet;

use super::Scenario;
use crate::market::{hold_serving, serves};
use crate::outcome::{Outcome, hold, hold_paid};
use crate::watch::{Watch, now};

const SLOTS: usize = 16;
/// Memory of one execution, MiB.
const EACH: usize = 64;
const AT_ONCE: usize = 64;
/// What the host may have beside what programs have, MiB.
const BESIDE: f64 = 256.0;
/// What the kernel lets a host have that is to be ended.
const KERNELS: usize = 320 << 20;
/// SIGKILL, which only the kernel sends it here.
const KILL: i32 = 9;

pub(super) async fn run(rounds: usize) -> Result<Outcome> {
    let mut section = Scenario::Memory.section(format!(
        "{AT_ONCE} programs at once that take {EACH} MiB and ask for more, {SLOTS} slots; then a host that the kernel ends"
    ));
    let mut faults = Vec::new();
    section.push(guests(rounds, &mut faults).await?);
    section.push(ended(rounds, &mut faults).await?);
    Ok(Outcome::of(section, faults))
}

/// Each ends by its own limit, and the host has no more than all slots may.
async fn guests(rounds: usize, faults: &mut Vec<String>) -> Result<Group> {
    let config = format!(
        "[limits]\nexecutions = {SLOTS}\npeer_executions = {SLOTS}\nmemory = '{EACH} MiB'\n"
    );
    let host = Host::logging("warn", &config);
    serves(&host).await?;
    let session = Arc::new(host.session().await);
    let watch = Watch::start(&host, Duration::from_millis(100));
    let (mut named, mut after) = (0, vec![]);
    for _ in 0..rounds {
        let mut running = JoinSet::new();
        for _ in 0..AT_ONCE {
            let session = Arc::clone(&session);
            running.spawn(async move {
                let oom = guest("oom");
                session.run_wasm(Program::new(&oom)).await
            });
        }
        while let Some(ran) = running.join_next().await {
            let ran = ran.context("a client")?.context("a run")?;
            let is_named = matches!(
                ran.report.exit,
                Exit::Limit {
                    which: LimitKind::Memory,
                    ..
                }
            );
            named += usize::from(is_named);
            hold(faults, is_named, || format!("{:?}", ran.report.exit));
        }
        hold_serving(faults, "after programs that took all memory", &host).await;
        after.push(now(&host).resident);
    }
    let samples = watch.end()?;
    let most = samples.most(|sample| sample.resident + sample.children);
    let allowed = (SLOTS * EACH) as f64 + BESIDE;
    hold(faults, most < allowed, || {
        format!("{most:.0} MiB, where the slots make {allowed:.0} MiB")
    });
    let mut group = Group::new("programs that take all they may");
    group.add("ended by the limit of memory", Unit::Count, [named as f64]);
    group.add("most memory of the host", Unit::Mebibytes, [most]);
    group.add("memory after each round", Unit::Mebibytes, after);
    Ok(group)
}

/// The kernel's own bound on the memory of some processes (cgroup v1 or v2); gone when dropped.
struct Bound(PathBuf);

impl Bound {
    fn of(host: &Host, bytes: usize) -> std::io::Result<Self> {
        let name = format!("hypervisor-load-{}", host.pid());
        let (folder, file) = match fs::exists("/sys/fs/cgroup/memory")? {
            true => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            false => ("/sys/fs/cgroup", "memory.max"),
        };
        let folder = PathBuf::from(folder).join(name);
        fs::create_dir(&folder)?;
        let bound = Self(folder);
        fs::write(bound.0.join(file), bytes.to_string())?;
        fs::write(bound.0.join("cgroup.procs"), host.pid().to_string())?;
        Ok(bound)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Empty as soon as the host is gone.
        let _ = fs::remove_dir(&self.0);
    }
}

/// The kernel ends a host that is paid; started again it has lost nothing.
async fn ended(rounds: usize, faults: &mut Vec<String>) -> Result<Group> {
    let mut group = Group::new("a host that the kernel ends for its memory");
    let [flow, ..] = FLOWS;
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let paid = settings(flow, 4, &chain, facilitator.url(), chain.rpc_url());
    let mut host = Host::logging("warn", &paid);
    let offer = Order::offer(flow, &host).await;
    let (mut answered, mut kills) = (0, 0);
    for round in 0..rounds {
        let bound = match Bound::of(&host, KERNELS) {
            Ok(bound) => bound,
            Err(_) => {
                group.add("left out: no memory cgroup", Unit::Count, [1.0]);
                return Ok(group);
            }
        };
        let mut orders = Vec::new();
        for number in 0..4 {
            let payment = Payment::for_offer(chain.payer(0), &offer);
            orders.push(Order::new(flow, &host, round * 10 + number, payment).await);
        }
        let session = Arc::new(host.session().await);
        let mut running = JoinSet::new();
        for _ in 0..AT_ONCE {
            let session = Arc::clone(&session);
            running.spawn(async move {
                let oom = guest("oom");
                let _ = session.run_wasm(Program::new(&oom)).await;
            });
        }
        let mut under_way = JoinSet::new();
        for order in orders {
            under_way.spawn(async move { (order.sent().await, order) });
        }
        kills += usize::from(host.wait().signal() == Some(KILL));
        drop(running);
        let ended = under_way.join_all().await;
        host.kill_and_restart();
        drop(bound);
        for (said, order) in ended {
            answered += finish(said, order, &host, faults).await;
        }
    }
    let charged = chain.transfers().await.len();
    hold_paid(faults, charged, answered);
    hold(faults, kills == rounds, || {
        format!("the kernel ended {kills} hosts of {rounds}")
    });
    hold_serving(faults, "afterwards", &host).await;
    group.add("ended by the kernel", Unit::Count, [kills as f64]);
    group.add(
        "payments that were answered",
        Unit::Count,
        [answered as f64],
    );
    group.add("payments on the chain", Unit::Count, [charged as f64]);
    Ok(group)
}

/// Brings an order until it is answered; whether it was.
async fn finish(
    said: Result<Said, String>,
    order: Order,
    host: &Host,
    faults: &mut Vec<String>,
) -> usize {
    let mut next = Some((said, order));
    let came = eventually("what was paid for is answered", async || {
        let (said, order) = next.take()?;
        match said {
            Ok(Said::Answered) => Some(Ok(())),
            Ok(Said::Refused(why)) => Some(Err(format!("a good payment was refused: {why}"))),
            Err(lost) => Some(Err(lost)),
            Ok(said) => {
                let order = order.after(said, host).await?;
                next = Some((order.sent().await, order));
                None
            }
        }
    })
    .await;
    match came {
        Ok(()) => 1,
        Err(fault) => {
            faults.push(fault);
            0
        }
    }
}
