//! What plugins need to serve the host, kept apart from what guests use.
//!
//! A plugin's call takes place beside the executions, so it has places of its own in the instance pool. Where all are taken the call
//! waits, before its clocks start: overload is never a denial, a trap or a settlement in doubt.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls at once of one plugin by one kind of caller.
pub(crate) const PLUGIN_CALLS: usize = 64;
/// The policy and the payment component, each called by the host and by agents.
pub(crate) const PLUGIN_USERS: usize = 4;

/// Places for the calls of one plugin by one kind of caller.
#[derive(Debug, Clone)]
pub(crate) struct Reserve(Arc<Semaphore>);

/// Those of the host and those of agents, which a swap does not change.
#[derive(Debug, Default)]
pub(crate) struct Reserves {
    pub(crate) host: Reserve,
    pub(crate) agents: Reserve,
}

impl Default for Reserve {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLUGIN_CALLS)))
    }
}

impl Reserve {
    /// Waits for a place, in the order of arrival. It is never closed: none is given only where a place cannot be had at all.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}
