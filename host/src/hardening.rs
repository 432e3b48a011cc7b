//! What the host takes from its own process at the start: other processes of its user have no business in its memory, a core dump
//! would write it to a disk outside the protected memory, and nothing that it starts may gain rights.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::config::{Config, Hardening};
use crate::error::Error;

/// Descriptors for what is neither a client's connection nor an agent's: compilers, plugins, lookups, state, the log.
const RESERVE: u64 = 256;
/// Where the kernel names no bound: its own default for one process.
const KERNELS_OWN: u64 = 1 << 20;

/// Hardens the process, which has one thread yet. Agents' connections are cut to what there are descriptors for; gives how many
/// there are for clients' connections.
///
/// # Errors
/// Where something cannot be had that the configuration requires, and core dumps cannot be forbidden.
pub fn host(config: &mut Config) -> Result<usize, Error> {
    let mut missing: Vec<String> = hypervisor_confine::missing()
        .into_iter()
        .map(str::to_owned)
        .collect();
    // The engine looks at its own page map, which it may open no more afterwards.
    crate::executor::look_at_own_pages();
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        missing.push(format!(
            "other processes of this user can read its memory ({error})"
        ));
    }
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        missing.push(format!("child processes can gain privileges ({error})"));
    }
    limit(Resource::Core, 0).map_err(|e| Error::Io {
        what: "forbidding core dumps",
        source: e.into(),
    })?;
    // Whatever is written is the host's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if !missing.is_empty() {
        let missing = missing.join("; ");
        match config.hardening {
            Hardening::Require => return Err(Error::Hardening(missing)),
            Hardening::Warn => tracing::warn!(missing, "the process is not fully hardened"),
        }
    }
    Ok(descriptors(config, raise()))
}

fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )
}

/// Raises the number of descriptors to what the process may have; gives it.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(KERNELS_OWN);
    let raised = Rlimit {
        current: Some(most),
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => current.unwrap_or(KERNELS_OWN),
    }
}

/// Shares descriptors: half for clients' connections, a quarter for agents', the rest for everything else.
fn descriptors(config: &mut Config, available: u64) -> usize {
    let usable = available.saturating_sub(RESERVE);
    let part = |parts: u64| usize::try_from((usable / parts).max(1)).unwrap_or(usize::MAX);
    let (clients, agents) = (part(2), part(4));
    if config.limits.connections > clients || config.agents.connections > agents {
        tracing::warn!(
            available,
            clients,
            agents,
            "too few descriptors for limits.connections or agents.connections, which are cut; raise LimitNOFILE"
        );
    }
    config.agents.connections = config.agents.connections.min(agents);
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_shared_so_that_neither_side_takes_all() {
        let mut config = Config::default();
        assert_eq!(descriptors(&mut config, 1024), 384);
        assert_eq!(config.agents.connections, 192);
        let mut config = Config::default();
        assert!(descriptors(&mut config, 1 << 20) >= config.limits.connections);
        assert_eq!(
            config.agents.connections,
            Config::default().agents.connections
        );
    }

    #[test]
    fn with_hardly_any_there_is_still_one() {
        assert_eq!(descriptors(&mut Config::default(), 3), 1);
    }
}
