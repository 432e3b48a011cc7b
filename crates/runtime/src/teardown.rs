//! Tears sandboxes down beside the requests: giving back what a guest has touched takes longer than many guests run.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use wasmtime::Store;

use super::guest::Guest;

/// Sandboxes that may wait. Each holds a slot of the instance pool, which has room for these beside the executions.
pub(super) const MOST_WAITING: usize = 16;

/// A thread that drops stores, one after the other.
#[derive(Clone)]
pub(super) struct Teardown {
    waiting: SyncSender<Store<Guest>>,
}

impl Teardown {
    /// Starts the thread. It ends when the last clone is gone.
    pub(super) fn start() -> io::Result<Self> {
        let (waiting, stores) = sync_channel::<Store<Guest>>(MOST_WAITING);
        thread::Builder::new()
            .name("teardown".to_owned())
            .spawn(move || stores.into_iter().for_each(drop))?;
        Ok(Self { waiting })
    }

    /// Tears `store` down soon, or at once where as many as may are waiting: whoever is faster than the thread then pays.
    pub(super) fn dispose(&self, store: Store<Guest>) {
        if let Err(TrySendError::Full(store) | TrySendError::Disconnected(store)) =
            self.waiting.try_send(store)
        {
            drop(store);
        }
    }
}
