//! A host in its fleet: the place that it keeps, and how it gives it up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Host;
use crate::fleet::Vitals;

/// Time within which all nodes have seen what one says of itself.
const SEEN: Duration = Duration::from_secs(3);

/// Time between two looks for agents of other hosts.
const FOLLOW: Duration = Duration::from_secs(1);

/// Time between two looks at whether a session is left.
const LOOK: Duration = Duration::from_millis(100);

impl Host {
    /// Keeps the host's place in its fleet, as long as it runs.
    pub async fn attend_fleet(self: Arc<Self>) {
        let Some(fleet) = self.fleet().cloned() else {
            return;
        };
        let vitals = || Vitals {
            leaving: self.drain().is_on(),
            sessions: u64::try_from(self.sessions().count()).unwrap_or(u64::MAX),
        };
        let take_over = |tag| {
            let host = Arc::clone(&self);
            async move { host.take_over(tag).await }
        };
        fleet.attend(vitals, take_over).await;
    }

    /// Follows changes of its fleet's key, as long as it runs.
    pub async fn follow_key(self: Arc<Self>) {
        if let (Some(fleet), Some(member)) = (self.fleet(), self.member())
            && let Ok(attestation) = self.attestation()
        {
            member.attend(fleet, attestation).await;
        }
    }

    /// Has its fleet's key change. Gives the id of the next one, in hexadecimal.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn rotate(&self) -> Result<String, String> {
        let fleet = self
            .fleet()
            .ok_or("this host is alone: [fleet] names no store")?;
        let member = self.member().ok_or(
            "the fleet's key is in a file, and this host cannot write another one there; \
             hosts change the key that they give each other: `key = \"peers\"`",
        )?;
        let key = member
            .rotate(fleet)
            .await
            .map_err(|error| error.to_string())?;
        Ok(crate::manifest::hex(&key))
    }

    /// Takes up what other hosts of its fleet deploy and remove, as long as it runs.
    pub async fn follow_fleet(self: Arc<Self>) {
        if self.fleet().is_none() {
            return;
        }
        let mut looks = tokio::time::interval(FOLLOW);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let policy = self.snapshot().plugins.policy().cloned();
            if let Err(error) = self.agents().follow(policy.as_deref()).await {
                tracing::debug!(%error, "agents of other hosts cannot be looked at");
            }
        }
    }

    /// What a node does before it takes no more connections: it says so, and serves on, as long as it has sessions, for half of the
    /// time that it has to end; then it says that they have ended.
    pub async fn leave_fleet(self: Arc<Self>) {
        let Some(fleet) = self.fleet() else {
            return;
        };
        let serving = async {
            if let Err(error) = fleet.leave().await {
                tracing::warn!(%error, "other nodes do not know yet that this one leaves");
            }
            let mut looks = tokio::time::interval(LOOK);
            while self.sessions().sweep() > 0 {
                looks.tick().await;
            }
        };
        // Who still has a session then opens another, on another node.
        let drain = self.config().limits.drain;
        let _ = tokio::time::timeout(drain / 2, serving).await;
        if let Err(error) = fleet.close().await {
            tracing::warn!(%error, "other nodes do not know that this one closes");
        }
        // Until each of them has looked: what one sends now would meet a closed door.
        tokio::time::sleep(SEEN.min(drain / 4)).await;
    }

    /// Gives up its place: nothing that it began is left.
    pub async fn depart_fleet(&self) {
        if let Some(member) = self.member() {
            member.leave();
        }
        if let Some(fleet) = self.fleet()
            && let Err(error) = fleet.depart().await
        {
            tracing::warn!(%error, "this host's row stays in the fleet until another takes it away");
        }
    }
}
