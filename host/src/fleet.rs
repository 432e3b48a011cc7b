//! The host's place among the hosts that are one service.

use std::sync::Arc;

use hypervisor_fleet::{Address, NODES, Settings};
use hypervisor_telemetry::metrics;

use crate::attestation::Attestation;
use crate::config::Config;
use crate::error::Error;
use crate::state::State;

pub(crate) use hypervisor_fleet::{
    FORWARDED, Fleet, Head, Node, NotForwarded, Proved, Tag, Vitals,
};
pub(crate) use hypervisor_peers::{Member, Phase};

/// Where other hosts reach this one, whose port is known by now; none where they do not.
pub(crate) fn address(config: &Config) -> Result<Option<Address>, Error> {
    let mut address = config.fleet.address()?;
    if let Some(Address::Tcp(address)) = &mut address
        && address.port() == 0
    {
        address.set_port(config.listening.port());
    }
    if config.tls.is_on() && matches!(address, Some(Address::Tcp(_))) {
        return Err(Error::value(
            "fleet.advertise",
            "the public port speaks TLS, and hosts speak plain HTTP among each other: name a socket, `unix:/path`, or end TLS in the balancer",
        ));
    }
    Ok(address)
}

/// Joins the fleet of the configuration; none where it names none.
pub(crate) async fn join(
    config: &Config,
    state: &State,
    address: Option<Address>,
    attestation: Option<&Attestation>,
) -> Result<Option<Arc<Fleet>>, Error> {
    if !config.fleet.is_on() {
        return Ok(None);
    }
    let rows = Arc::new(state.store("nodes", &[NODES])?);
    let settings = Settings {
        // One client's are as large a part of all as its places in the queue.
        share: (config.limits.peer().queue, config.limits.queue),
        ..Settings::new(address.clone(), env!("CARGO_PKG_VERSION"))
    };
    let fleet = Fleet::join(rows, settings).await;
    let fleet = fleet.map_err(|error| Error::NoPlace(error.to_string()))?;
    if let (Some(member), Some(address)) = (state.member(), &address) {
        member.enter(fleet.tag(), address)?;
        if let Some(attestation) = attestation {
            member.settle(&fleet, attestation).await?;
        }
    }
    Ok(Some(fleet))
}

/// What became of a request that was forwarded, or was not.
pub(crate) fn relayed<T>(end: &Result<T, NotForwarded>) {
    let outcome = end.as_ref().map_or_else(|why| why.name(), |_| "answered");
    metrics::forwarded(outcome);
}
