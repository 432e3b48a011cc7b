//! Slots: how many executions run at once, and how many requests may wait for their turn.

use tokio::sync::SemaphorePermit;

use super::{Full, Party, Place};

/// The right to run one execution, or an errand that runs no component, until dropped.
#[derive(Debug)]
pub struct Slot {
    party: Party,
    is_errand: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let own = &self.party.0;
        if self.is_errand {
            own.host.managing.add_permits(1);
        } else {
            own.slots.add_permits(1);
            own.host.slots.add_permits(1);
        }
    }
}

impl Party {
    /// A slot, if one is free now. For callers that hold one already: if they waited, two could wait for each other.
    ///
    /// # Errors
    /// [`Full`].
    pub fn try_enter(&self) -> Result<Slot, Full> {
        self.try_take().map_err(|of| {
            (self.0.host.full)("slots", of);
            Full
        })
    }

    /// A slot, or whose have run out: the host's or the peer's.
    fn try_take(&self) -> Result<Slot, &'static str> {
        let own = self.0.slots.try_acquire().map_err(|_| "peer")?;
        let host = self.0.host.slots.try_acquire().map_err(|_| "host")?;
        Ok(self.slot([own, host], false))
    }

    /// A slot. Waits in the order of arrival: first for one of the peer's own, then for one of the host's. A full queue is
    /// refused at once.
    ///
    /// # Errors
    /// [`Full`].
    pub async fn enter(&self) -> Result<Slot, Full> {
        if let Ok(slot) = self.try_take() {
            return Ok(slot);
        }
        let _places = self.places()?;
        let own = self.0.slots.acquire().await.map_err(|_| Full)?;
        let host = self.0.host.slots.acquire().await.map_err(|_| Full)?;
        Ok(self.slot([own, host], false))
    }

    /// A slot for an errand, so that owners can take their agents out of a host that is full.
    ///
    /// # Errors
    /// [`Full`].
    pub async fn manage(&self) -> Result<Slot, Full> {
        let turns = &self.0.host.managing;
        if let Ok(turn) = turns.try_acquire() {
            return Ok(self.slot([turn], true));
        }
        let _places = self.places()?;
        let turn = turns.acquire().await.map_err(|_| Full)?;
        Ok(self.slot([turn], true))
    }

    /// Places in the peer's own queue and in the host's.
    fn places(&self) -> Result<[Place<'_>; 2], Full> {
        let own = Place::take(&self.0.waiting)?;
        Ok([own, Place::take(&self.0.host.waiting)?])
    }

    fn slot<const N: usize>(&self, taken: [SemaphorePermit<'_>; N], is_errand: bool) -> Slot {
        // From here on it is the slot that gives them back.
        taken.into_iter().for_each(SemaphorePermit::forget);
        Slot {
            party: self.clone(),
            is_errand,
        }
    }
}
