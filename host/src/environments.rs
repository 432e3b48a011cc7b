//! Environments on this host: their settings, and what of the protocol asks for them.

use std::sync::Arc;
use std::time::Duration;

use hypervisor_egress::Senders;
pub use hypervisor_environments::Environments;
use hypervisor_environments::{Network, Settings, TABLES};
use hypervisor_protocol::environment::CallLimits;

use crate::agents::{Deployers, not_sent};
use crate::config::Config;
use crate::error::Error;
use crate::executor::Executor;
use crate::metrics;
use crate::state::State;

/// Takes up the environments that were set up before a restart; none where nobody may use any.
pub(crate) fn open(
    config: &Config,
    executor: &Arc<Executor>,
    (state, senders): (&State, Arc<Senders>),
) -> Result<Option<Arc<Environments>>, Error> {
    if config.environments.users() == Deployers::Nobody {
        return Ok(None);
    }
    let failed = |e: &dyn std::fmt::Display| Error::Environments(e.to_string());
    let rows = state.store("environments", &TABLES)?;
    let network = Network {
        senders,
        outgoing: config.environments.allowed()?,
        per_call: config.agents.connections_per_call,
        noted: |outcome| {
            metrics::environment_outgoing(outcome);
            if outcome != "sent" {
                not_sent(outcome);
            }
        },
    };
    let settings = (settings(config), network);
    let opened = Environments::open(Arc::clone(executor), rows, settings);
    opened.map(Some).map_err(|e| failed(&e))
}

fn settings(config: &Config) -> Settings {
    let ours = &config.environments;
    let limits = &config.limits;
    Settings {
        environments: ours.environments,
        per_owner: ours.per_owner,
        stored: ours.stored.as_u64(),
        stored_per_owner: ours.stored_per_owner.as_u64(),
        cached: ours.cached.as_u64(),
        idle: ours.idle,
        lifetime: ours.lifetime,
        limits: call_limits(ours.cpu, ours.wall, ours.memory.as_u64()),
        most: call_limits(limits.cpu, limits.wall, limits.memory.as_u64()),
        output: limits.output.as_u64(),
        log_rows: ours.log,
        log_keep: ours.log_keep,
    }
}

fn call_limits(cpu: Duration, wall: Duration, memory: u64) -> CallLimits {
    let millis = |time: Duration| u64::try_from(time.as_millis()).ok();
    CallLimits {
        cpu_ms: millis(cpu),
        wall_ms: millis(wall),
        memory_bytes: Some(memory),
    }
}
