//! A disk that is full while payments come.

use std::sync::Arc;
use std::time::Instant;

use hypervisor_bench::error::Result;
use hypervisor_bench::report::Unit;
use hypervisor_tests::disk::Small;
use hypervisor_tests::payments::kills::settings;
use hypervisor_tests::payments::orders::FLOWS;
use hypervisor_tests::payments::{Chain, Facilitator};
use hypervisor_tests::{Host, eventually};

use super::buyers::{Buyers, Wares};
use super::{BROKEN, Scenario, WHOLE};
use crate::market::hold_serving;
use crate::outcome::Outcome;

const BUYERS: usize = 4;
/// The disk that the state is on.
const MEBIBYTES: usize = 24;

pub(super) async fn run(rounds: usize) -> Result<Outcome> {
    let mut section = Scenario::DiskFull.section(format!(
        "a disk of {MEBIBYTES} MiB, filled {rounds} times for {} s; {BUYERS} buyers",
        BROKEN.as_secs()
    ));
    let mut faults = Vec::new();
    for flow in FLOWS {
        let chain = Arc::new(Chain::start());
        let facilitator = Facilitator::start(&chain);
        let config = settings(flow, BUYERS, &chain, facilitator.url(), chain.rpc_url());
        let mut host = Host::logging("warn", &config);
        host.kill();
        let disk = match Small::of(MEBIBYTES, &host.state()) {
            Ok(disk) => disk,
            Err(why) => return Ok(Outcome::skipped(section, why)),
        };
        host.kill_and_restart();
        let host = Arc::new(host);
        let wares = Wares::of(flow, &host, &chain).await;
        let buyers = Buyers::start(BUYERS, &wares);
        let (mut unready, mut ready) = (vec![], vec![]);
        for _ in 0..rounds {
            tokio::time::sleep(WHOLE).await;
            let full = Instant::now();
            disk.fill();
            says(&host, 503).await;
            unready.push(full.elapsed().as_secs_f64());
            tokio::time::sleep(BROKEN).await;
            let freed = Instant::now();
            disk.empty();
            says(&host, 200).await;
            ready.push(freed.elapsed().as_secs_f64());
        }
        tokio::time::sleep(WHOLE).await;
        let bought = buyers.end().await?;
        let (mut group, more) = bought.check(format!("{flow:?}"), &chain).await;
        group.add("full, until it says so", Unit::Seconds, unready);
        group.add("free, until it says so", Unit::Seconds, ready);
        section.push(group);
        faults.extend(more);
        hold_serving(&mut faults, "afterwards", &host).await;
        // What was kept is whole: the host starts on it again.
        drop(wares);
        match Arc::try_unwrap(host) {
            Ok(mut host) => {
                host.kill_and_restart();
                hold_serving(&mut faults, "started again", &host).await;
            }
            Err(_) => faults.push("somebody still has the host".to_owned()),
        }
        drop(disk);
    }
    Ok(Outcome::of(section, faults))
}

async fn says(host: &Host, status: u16) {
    let url = format!("{}/readyz", host.admin());
    eventually("readiness follows the disk", async || {
        let answer = reqwest::get(&url).await.ok()?;
        (answer.status().as_u16() == status).then_some(())
    })
    .await;
}
