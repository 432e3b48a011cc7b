//! The host's place among the hosts that are one service.

use std::sync::Arc;

use hypervisor_fleet::{Address, NODES, Settings};

use crate::config::Config;
use crate::error::Error;
use crate::metrics;
use crate::state::State;

pub(crate) use hypervisor_fleet::{
    FORWARDED, Fleet, Head, Node, NotForwarded, Proved, Tag, Vitals,
};

/// Joins the fleet of the configuration; none where it names none.
pub(crate) async fn join(config: &Config, state: &State) -> Result<Option<Arc<Fleet>>, Error> {
    if !config.fleet.is_on() {
        return Ok(None);
    }
    let rows = Arc::new(state.store("nodes", &[NODES])?);
    let mut address = config.fleet.address()?;
    if let Some(Address::Tcp(address)) = &mut address
        && address.port() == 0
    {
        address.set_port(config.listening.port());
    }
    if config.tls.is_on() && matches!(address, Some(Address::Tcp(_))) {
        return Err(Error::ConfigValue {
            key: "fleet.advertise",
            message: "the public port speaks TLS, and hosts speak plain HTTP among each other: name a socket, `unix:/path`, or end TLS in the balancer".to_owned(),
        });
    }
    let settings = Settings {
        // One client's are as large a part of all as its places in the queue.
        share: (config.limits.peer().queue, config.limits.queue),
        ..Settings::new(address, env!("CARGO_PKG_VERSION"))
    };
    let joined = Fleet::join(rows, settings).await;
    joined
        .map(Some)
        .map_err(|error| Error::NoPlace(error.to_string()))
}

/// What became of a request that was forwarded, or was not.
pub(crate) fn relayed<T>(end: &Result<T, NotForwarded>) {
    let outcome = end.as_ref().map_or_else(|why| why.name(), |_| "answered");
    metrics::forwarded(outcome);
}
