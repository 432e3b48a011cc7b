//! The host's place among the hosts that are one service.

use std::sync::Arc;
use std::time::Duration;

use hypervisor_fleet::{Address, NODES, Settings, Vitals};

use crate::config::Config;
use crate::error::Error;
use crate::metrics;
use crate::pipeline::Host;
use crate::state::State;

pub(crate) use hypervisor_fleet::{FORWARDED, Fleet, Head, Node, NotForwarded, Proved, Tag};

/// Time between two looks at whether a session is left.
const LOOK: Duration = Duration::from_millis(100);

/// Time within which all nodes have seen what one says of itself.
const SEEN: Duration = Duration::from_secs(3);

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
    let settings = Settings::new(address, env!("CARGO_PKG_VERSION"));
    let joined = Fleet::join(rows, settings).await;
    joined
        .map(Some)
        .map_err(|error| Error::NoPlace(error.to_string()))
}

/// Keeps the host's place in its fleet, as long as it runs.
pub async fn attend(app: Arc<Host>) {
    let Some(fleet) = app.fleet().cloned() else {
        return;
    };
    let vitals = || Vitals {
        leaving: app.drain().is_on(),
        sessions: u64::try_from(app.sessions().count()).unwrap_or(u64::MAX),
    };
    let take_over = |tag| {
        let app = Arc::clone(&app);
        async move { app.take_over(tag).await }
    };
    fleet.attend(vitals, take_over).await;
}

/// What a node does before it takes no more connections: it says so, and serves on, as long as it has sessions, for half of the time
/// that it has to end; then it says that they have ended.
pub async fn linger(app: Arc<Host>) {
    let Some(fleet) = app.fleet() else {
        return;
    };
    let serving = async {
        if let Err(error) = fleet.leave().await {
            tracing::warn!(%error, "other nodes do not know yet that this one leaves");
        }
        let mut looks = tokio::time::interval(LOOK);
        while app.sessions().sweep() > 0 {
            looks.tick().await;
        }
    };
    // Who still has a session then opens another, on another node.
    let drain = app.config().limits.drain;
    let _ = tokio::time::timeout(drain / 2, serving).await;
    if let Err(error) = fleet.close().await {
        tracing::warn!(%error, "other nodes do not know that this one closes");
    }
    // Until each of them has looked: what one sends now would meet a closed door.
    tokio::time::sleep(SEEN.min(drain / 4)).await;
}

/// Gives up its place: nothing that it began is left.
pub async fn depart(app: &Host) {
    if let Some(fleet) = app.fleet()
        && let Err(error) = fleet.depart().await
    {
        tracing::warn!(%error, "this host's row stays in the fleet until another takes it away");
    }
}

/// What became of a request that was forwarded, or was not.
pub(crate) fn relayed<T>(end: &Result<T, NotForwarded>) {
    let outcome = end.as_ref().map_or_else(|why| why.name(), |_| "answered");
    metrics::forwarded(outcome);
}
