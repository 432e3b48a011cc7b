//! `kill -9` in a loop, with payments under way.

use std::time::Instant;

use hypervisor_bench::error::{Context, Result};
use hypervisor_bench::report::{Group, Unit};
use hypervisor_tests::payments::kills;
use hypervisor_tests::payments::sign::random;

use super::Scenario;
use crate::outcome::{Outcome, hold};

pub(super) async fn run(kills: usize) -> Result<Outcome> {
    let seed = u64::from_le_bytes(random());
    let started = Instant::now();
    let ran = tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(kills::run(kills, seed))
    });
    let ran = ran.await.context("the hosts that are killed")?;
    let mut section = Scenario::Kill.section(format!(
        "hosts killed at random, {} payments under way at each kill; seed {seed}",
        kills::AT_ONCE
    ));
    let mut faults = Vec::new();
    match ran {
        Err(lost) => faults.push(lost),
        Ok(all) => {
            let mut group = Group::new("in all");
            let sum = |of: fn(&kills::Series) -> usize| all.iter().map(of).sum::<usize>() as f64;
            group.add("kills", Unit::Count, [sum(|it| it.kills)]);
            group.add(
                "payments, each answered",
                Unit::Count,
                [sum(|it| it.answered)],
            );
            group.add("payments on the chain", Unit::Count, [sum(|it| it.charged)]);
            group.add("took", Unit::Seconds, [started.elapsed().as_secs_f64()]);
            section.push(group);
            for series in all {
                hold(&mut faults, series.charged == series.answered, || {
                    format!("{series:?}, seed {seed}")
                });
            }
        }
    }
    Ok(Outcome::of(section, faults))
}
