//! Hosts that are killed at any moment: whatever was charged has its answer, and nothing is charged twice.

use std::time::Instant;

use hypervisor_tests::payments::kills::run;
use hypervisor_tests::payments::sign::random;

/// Kills of all flows together; `HYPERVISOR_KILLS` has another number.
const KILLS: usize = 60;

#[tokio::test]
async fn hosts_killed_at_random_charge_once_for_what_they_answer() {
    let number = |name| std::env::var(name).ok().map(|it| it.parse().unwrap());
    let kills = number("HYPERVISOR_KILLS").map_or(KILLS, |it: u64| it.try_into().unwrap());
    let seed = number("HYPERVISOR_KILLS_SEED").unwrap_or_else(|| u64::from_le_bytes(random()));
    println!("HYPERVISOR_KILLS={kills} HYPERVISOR_KILLS_SEED={seed}");
    let started = Instant::now();
    let all = run(kills, seed).await.unwrap();
    println!("{all:?} in {:?}", started.elapsed());
    for series in all {
        assert_eq!(series.charged, series.answered, "{series:?}, seed {seed}");
    }
}
