//! Taking up after a start what was deployed before it.

use std::sync::Arc;

use hypervisor_agents::{Address, Owner};

use super::Agents;
use super::deployed::{Code, Persistence};
use super::plan::Refused;
use super::terms::{Terms, limits, listed};
use crate::error::Error;

impl Agents {
    /// Takes up what was deployed before a restart. What cannot be taken up is named in the log and left where it is.
    pub(super) fn take_up(&self) -> Result<(), Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Agents(e.to_string());
        let stored = self.store.list().map_err(|e| failed(&e))?;
        for damaged in stored.damaged {
            tracing::error!(error = %damaged, "an agent cannot be read");
        }
        for head in stored.agents {
            let about = serde_json::from_slice(&head.details);
            let limits = limits(&head.manifest, &self.limits);
            let listed = listed(&head.manifest);
            let (Ok(about), Ok(limits), Ok(listed)) = (about, limits, listed) else {
                tracing::error!("an agent does not fit this host's configuration any more");
                continue;
            };
            let offers = match self.priced(&head.manifest) {
                Ok(offers) => offers,
                Err(reason) => {
                    tracing::error!(reason, "an agent cannot be paid for any more");
                    continue;
                }
            };
            let terms = Terms {
                address: head.address(),
                digest: head.digest,
                sha384: head.sha384,
                about,
                limits,
                listed: Arc::new(listed),
                offers,
                manifest: head.manifest,
            };
            self.enter(terms, head.deployed_at, Code::Store, Persistence::Sealed);
        }
        for (name, deployed_at) in self.store.deployed_names().map_err(|e| failed(&e))? {
            let address = Address {
                name: name.clone(),
                owner: Owner::Operator,
            };
            if self.set().get(&address).is_some() {
                // The sealed store had it: what was deployed stays.
                continue;
            }
            match self.plan_registered(name.as_str()) {
                Ok(plan) => self.enter(
                    plan.terms,
                    deployed_at,
                    Code::Registry,
                    Persistence::Registry,
                ),
                Err(Refused::There(_)) => {}
                Err(Refused::Unknown) => {
                    tracing::error!(%name, "an agent that was deployed is not in the registry any more");
                }
                Err(Refused::Unfit(reason)) => {
                    tracing::error!(%name, reason, "an agent of the registry cannot be taken up");
                }
            }
        }
        Ok(())
    }

    fn enter(&self, terms: Terms, deployed_at: u64, code: Code, persistence: Persistence) {
        let agent = self.make(terms, deployed_at, code, persistence);
        self.index(&agent);
        self.set_mut().insert(Arc::new(agent));
    }
}
