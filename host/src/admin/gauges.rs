//! What there is at the moment of a scrape.

use hypervisor_account::InHand;
use hypervisor_telemetry::metrics::Gauges;

use super::fleet::Fleet;
use crate::pipeline::Host;

/// What of the account is bytes; the rest are counts.
const BYTES: &str = "bytes";

/// All of it.
pub(super) fn of(host: &Host) -> Vec<Gauges> {
    let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    let in_hand = host.account().in_hand();
    let (bytes, counts): (Vec<&InHand>, Vec<&InHand>) =
        in_hand.iter().partition(|it| it.name == BYTES);
    let used: Vec<_> = counts.iter().map(|it| (it.name, it.used)).collect();
    let most: Vec<_> = counts.iter().map(|it| (it.name, it.most)).collect();
    let slots = used.iter().find(|(name, _)| *name == "slots");
    let executions = slots.map_or(0, |(_, used)| *used);
    let holding = host.executor().holding();
    let memories = vec![("used", holding.memories), ("warm", holding.warm_memories)];
    let mut all = vec![
        Gauges::one(
            "process_start_time_seconds",
            "When the host started, in Unix time.",
            host.started_at(),
        ),
        Gauges::one(
            "hypervisor_ready",
            "Whether requests should come here: 1, or 0 for the reason that /readyz gives.",
            host.not_ready().is_none().into(),
        ),
        Gauges::one(
            "hypervisor_agents",
            "Agents deployed now.",
            number(host.agents().len()),
        ),
        Gauges::one(
            "hypervisor_executions",
            "Execution slots in use now.",
            executions,
        ),
        Gauges::one(
            "hypervisor_sessions",
            "Sessions that are held.",
            number(host.sessions().count()),
        ),
        Gauges::one(
            "hypervisor_compile_cache_programs",
            "Compiled programs in memory.",
            holding.programs,
        ),
        Gauges::one(
            "hypervisor_compile_cache_bytes",
            "What they count for in the cache.",
            holding.program_bytes,
        ),
        Gauges::one(
            "hypervisor_pool_warm_bytes",
            "Memory that slots of the instance pool keep for the next instances.",
            holding.warm_bytes,
        ),
        Gauges::of(
            "hypervisor_pool_memories",
            "Linear memories of the instance pool, in use and kept warm.",
            "state",
            memories,
        ),
        Gauges::of(
            "hypervisor_in_use",
            "Slots and turns in use, and places taken in the queues before them.",
            "what",
            used,
        ),
        Gauges::of(
            "hypervisor_in_use_limit",
            "How many of them there are.",
            "what",
            most,
        ),
        Gauges::of(
            "hypervisor_held_bytes_by_peers",
            "Bytes of requests and answers that are held, by the class of the peers that caused them.",
            "peers",
            host.account().bytes_by_peer().to_vec(),
        ),
        Gauges::of(
            "hypervisor_build_info",
            "The version that runs.",
            "version",
            vec![(env!("CARGO_PKG_VERSION"), 1)],
        ),
    ];
    for bytes in bytes {
        all.push(Gauges::one(
            "hypervisor_held_bytes",
            "Bytes of requests and answers that are held.",
            bytes.used,
        ));
        all.push(Gauges::one(
            "hypervisor_held_bytes_limit",
            "How many may be held.",
            bytes.most,
        ));
    }
    if let Some(answers) = host.shares() {
        all.push(Gauges::one(
            "hypervisor_fleet_store_up",
            "Whether the database that the fleet shares answers: 1, or 0.",
            answers.into(),
        ));
    }
    if let Some(environments) = host.environments() {
        let count = number(environments.count());
        all.push(Gauges::one(
            "hypervisor_environments",
            "Environments there are.",
            count,
        ));
    }
    if let Some(fleet) = Fleet::of(host) {
        all.push(Gauges::of(
            "hypervisor_fleet_nodes",
            "Nodes of the fleet, as this one sees them.",
            "state",
            fleet.by_state(),
        ));
        all.push(Gauges::one(
            "hypervisor_fleet_takeovers",
            "Dead nodes whose work this one took over since its start.",
            fleet.takeovers,
        ));
    }
    if let Some(expires) = host.collateral_expires_at() {
        let help = "When the collateral that goes with quotes expires; 0 where it cannot be read.";
        all.push(Gauges::one(
            "hypervisor_collateral_expiry_timestamp_seconds",
            help,
            expires,
        ));
    }
    if let Some(waiting) = host.quotes_waiting() {
        let waiting = waiting.map(|(class, waiting)| (class, number(waiting)));
        all.push(Gauges::of(
            "hypervisor_quotes_waiting",
            "What waits for a quote.",
            "class",
            waiting.to_vec(),
        ));
    }
    all
}
