//! Taking up after a start what was deployed before it, as far as it may be there still.

use std::sync::Arc;

use hypervisor_agents::{Address, Head, Owner};

use super::Agents;
use super::deploy::stored;
use super::deployed::{Code, Persistence};
use super::plan::Refused;
use super::terms::{Terms, limits, listed};
use crate::error::Error;
use crate::executor::{Action, ActionKind, PolicyEngine};

/// What the policy is told that a deployment was asked for at.
const RESOURCE: &str = "/agent/deploy";

impl Agents {
    /// Takes up what was deployed before a restart. What cannot be taken up, or may not be there any more, is named in the log
    /// and left where it is.
    pub(crate) async fn take_up(&self, policy: Option<&Arc<PolicyEngine>>) -> Result<(), Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Agents(e.to_string());
        let kept = self.store.list().map_err(|e| failed(&e))?;
        for damaged in kept.damaged {
            tracing::error!(error = %damaged, "an agent cannot be read");
        }
        for head in kept.agents {
            let bytes = stored(0, 0, head.manifest_text.len())
                .saturating_add(head.component_length)
                .saturating_add(head.code_length);
            let (deployed_at, component) = (head.deployed_at, head.component_length);
            match self.terms_of(head) {
                Ok(terms) if self.is_permitted(policy, &terms, component).await => {
                    self.enter(terms, deployed_at, Code::Store, Persistence::Sealed, bytes);
                }
                Ok(_) => tracing::error!("the policy does not allow an agent any more"),
                Err(reason) => tracing::error!(reason, "an agent is not taken up"),
            }
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
                Ok(plan) => {
                    let component = u64::try_from(plan.component_bytes()).unwrap_or(u64::MAX);
                    if !self.is_permitted(policy, &plan.terms, component).await {
                        tracing::error!(%name, "the policy does not allow an agent any more");
                        continue;
                    }
                    let (code, persistence) = (Code::Registry, Persistence::Registry);
                    self.enter(plan.terms, deployed_at, code, persistence, component);
                }
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

    /// The terms of a kept agent, or why it may not be there any more.
    fn terms_of(&self, head: Head) -> Result<Terms, String> {
        if let Some(key) = &head.owner
            && !self.may_deploy(key, &Owner::from(key))
        {
            return Err(
                "its owner may not deploy any more ([agents] `deploy` and `owners`)".to_owned(),
            );
        }
        let about = serde_json::from_slice(&head.details)
            .map_err(|_| "what is known of it cannot be read".to_owned())?;
        Ok(Terms {
            address: head.address(),
            digest: head.digest,
            sha384: head.sha384,
            about,
            limits: limits(&head.manifest, &self.limits)?,
            listed: Arc::new(listed(&head.manifest)?),
            offers: self.priced(&head.manifest)?,
            manifest: head.manifest,
        })
    }

    /// Whether the policy would let the agent be deployed today.
    async fn is_permitted(
        &self,
        policy: Option<&Arc<PolicyEngine>>,
        terms: &Terms,
        component: u64,
    ) -> bool {
        let Some(policy) = policy else {
            return true;
        };
        let action = Action {
            agent: Some(terms.address.to_string()),
            method: Some("POST".to_owned()),
            imports: terms.about.import_names(),
            program_bytes: usize::try_from(component).unwrap_or(usize::MAX),
            ..Action::new(ActionKind::DeployAgent, terms.digest, RESOURCE)
        };
        policy.authorize(action).await.allowed
    }

    fn enter(
        &self,
        terms: Terms,
        deployed_at: u64,
        code: Code,
        persistence: Persistence,
        stored: u64,
    ) {
        let agent = self.make(terms, deployed_at, code, persistence, stored);
        self.index(&agent);
        self.set_mut().insert(Arc::new(agent));
    }
}
