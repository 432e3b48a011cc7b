//! Agents that other hosts deployed, replaced and removed, where hosts share the store.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use hypervisor_runtime::PolicyEngine;
use hypervisor_store::Fingerprint;

use crate::agents::Agents;
use crate::error::StoreError;
use crate::name::Address;
use crate::store::{Store, Stored};

impl Agents {
    /// Takes up what other hosts deployed, and lets go of what they removed. Reads nothing but a sum where the store did not
    /// change, and does nothing where it is this host's alone.
    ///
    /// What may not be taken up (its owner may not deploy here, the policy forbids it) is named in the log once, and not answered
    /// by this host.
    ///
    /// # Errors
    /// [`StoreError::Rows`]; what was there answers as before.
    pub async fn follow(&self, policy: Option<&PolicyEngine>) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let seen = *self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.read(move |store| store.fingerprint()).await? == seen {
            return Ok(());
        }
        // Nothing of this host's own comes between what is read and what is done about it.
        let _changing = self.changing.lock().await;
        let read = |store: &Store| Ok((store.fingerprint()?, store.list()?));
        let (now, kept): (Fingerprint, Stored) = self.read(read).await?;
        for damaged in kept.damaged {
            tracing::error!(error = %damaged, "an agent cannot be read");
        }
        let mut there = HashMap::new();
        for head in &kept.agents {
            there.insert(head.address(), head.writing);
        }
        self.let_go(&there).await;
        for head in kept.agents {
            let address = head.address();
            let current = self.set().get(&address).cloned();
            if current.is_some_and(|it| it.writing.get() == Some(&head.writing)) {
                continue;
            }
            if let Err(reason) = self.take_up_kept(policy, head).await {
                tracing::error!(reason, "an agent of another host is not taken up");
                // What it was before is not there any more.
                self.drop_agent(&address).await;
            }
        }
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    /// Lets go of agents that are not in the store any more.
    async fn let_go(&self, there: &HashMap<Address, [u8; 16]>) {
        let gone: Vec<Address> = {
            let set = self.set();
            let all = set.all().map(|agent| &agent.terms.address);
            all.filter(|it| !there.contains_key(it)).cloned().collect()
        };
        for address in gone {
            self.drop_agent(&address).await;
        }
    }

    async fn drop_agent(&self, address: &Address) {
        let removed = self.set_mut().remove(address);
        if let Some(agent) = removed {
            self.forget(&agent).await;
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|_| StoreError::Unfinished)?
    }
}
