//! Slots: how many executions run at once, and how many requests may wait for their turn.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{Full, Party, Place};
use crate::executor::Held;

/// The right to run one execution, until dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _host: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
}

impl Held for Slot {}

impl Party {
    /// A slot, if one is free now. For callers that hold one already: if they waited, two could wait for each other.
    pub(crate) fn try_enter(&self) -> Result<Slot, Full> {
        let own = Arc::clone(&self.own.slots);
        let host = Arc::clone(&self.host.slots);
        Ok(Slot {
            _own: Some(own.try_acquire_owned().map_err(|_| Full)?),
            _host: host.try_acquire_owned().map_err(|_| Full)?,
        })
    }

    /// A slot. Waits in the order of arrival: first for one of the peer's own, then for one of the host's. A full queue is
    /// refused at once.
    pub(crate) async fn enter(&self) -> Result<Slot, Full> {
        if let Ok(slot) = self.try_enter() {
            return Ok(slot);
        }
        let _own_place = Place::take(&self.own.waiting)?;
        let _place = Place::take(&self.host.waiting)?;
        let own = Arc::clone(&self.own.slots);
        let own = own.acquire_owned().await.map_err(|_| Full)?;
        let host = Arc::clone(&self.host.slots);
        Ok(Slot {
            _own: Some(own),
            _host: host.acquire_owned().await.map_err(|_| Full)?,
        })
    }

    /// A slot for work that runs no component, so that owners can take their agents out of a host that is full.
    pub(crate) async fn manage(&self) -> Result<Slot, Full> {
        let turns = Arc::clone(&self.host.managing);
        let turn = match Arc::clone(&turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                let _own_place = Place::take(&self.own.waiting)?;
                let _place = Place::take(&self.host.waiting)?;
                turns.acquire_owned().await.map_err(|_| Full)?
            }
        };
        Ok(Slot {
            _own: None,
            _host: turn,
        })
    }
}
