//! Taking up after a start what was deployed before it, as far as it may be there still.

use std::sync::Arc;

use hypervisor_runtime::{Action, ActionKind, PolicyEngine};

use crate::agents::Agents;
use crate::deploy::{details, stored};
use crate::deployed::Terms;
use crate::error::StoreError;
use crate::name::{Address, Name, Owner};
use crate::plan::Refused;
use crate::store::{Head, Record};

/// What the policy is told that a deployment was asked for at.
const RESOURCE: &str = "/agent/deploy";

/// The policy's word on what was deployed before.
const DENIED: &str = "the policy does not allow it any more";

impl Agents {
    /// Takes up what was deployed before a restart. What cannot be taken up, or may not be there any more, is named in the log
    /// and left where it is.
    pub(crate) async fn take_up(&self, policy: Option<&PolicyEngine>) -> Result<(), StoreError> {
        let kept = self.store.list()?;
        for damaged in kept.damaged {
            tracing::error!(error = %damaged, "an agent cannot be read");
        }
        for head in kept.agents {
            if let Err(reason) = self.take_up_kept(policy, head).await {
                tracing::error!(reason, "an agent is not taken up");
            }
        }
        for (name, deployed_at) in self.store.deployed_names()? {
            let address = Address {
                name: name.clone(),
                owner: Owner::Operator,
            };
            // What the sealed store had stays as it was deployed.
            if self.set().get(&address).is_none()
                && let Err(reason) = self.take_up_registered(policy, &name, deployed_at).await
            {
                tracing::error!(%name, reason, "an agent of the registry is not taken up");
            }
        }
        Ok(())
    }

    pub(crate) async fn take_up_kept(
        &self,
        policy: Option<&PolicyEngine>,
        head: Head,
    ) -> Result<(), String> {
        if let Some(key) = &head.owner
            && !self.settings.deployers.include(key)
        {
            return Err(
                "its owner may not deploy any more ([agents] `deploy` and `owners`)".to_owned(),
            );
        }
        let about = serde_json::from_slice(&head.details)
            .map_err(|_| "what is known of it cannot be read".to_owned())?;
        let stored = stored(0, 0, head.manifest_text.len())
            .saturating_add(head.component_length)
            .saturating_add(head.code_length);
        let (owner, digests) = (head.address().owner, (head.digest, head.sha384));
        let terms = self.terms(owner, head.manifest, about, digests)?;
        let component = usize::try_from(head.component_length).unwrap_or(usize::MAX);
        permit(policy, &terms, component).await?;
        self.sellable(&terms).await?;
        let agent = self.make(terms, head.deployed_at, stored, false);
        agent.is_kept(head.writing);
        if let Some(before) = self.enter(&Arc::new(agent)) {
            self.forget(&before).await;
        }
        Ok(())
    }

    /// Takes up an agent that only the registry has still. From here on the store has it too, until there is machine code without
    /// any.
    async fn take_up_registered(
        &self,
        policy: Option<&PolicyEngine>,
        name: &Name,
        deployed_at: u64,
    ) -> Result<(), String> {
        let plan = match self.plan_registered(name.as_str()) {
            Ok(plan) => plan,
            Err(Refused::There(_)) => return Ok(()),
            Err(Refused::Unknown) => return Err("it is not in the registry any more".to_owned()),
            Err(Refused::Unfit(reason)) => return Err(reason),
        };
        permit(policy, &plan.terms, plan.component.len()).await?;
        self.sellable(&plan.terms).await?;
        let kept = details(&plan.terms).map(|details| {
            self.store.put(&Record {
                owner: None,
                manifest_text: &plan.manifest_text,
                component: &plan.component,
                code: &[],
                code_fingerprint: "",
                deployed_at,
                details: &details,
            })
        });
        let Ok(Ok(writing)) = kept else {
            return Err("it cannot be written into the store".to_owned());
        };
        let stored = plan.stored();
        let agent = self.make(plan.terms, deployed_at, stored, true);
        agent.is_kept(writing);
        self.enter(&Arc::new(agent));
        Ok(())
    }

    /// Whether its calls can be sold, where it has a price: it is not free because they cannot.
    async fn sellable(&self, terms: &Terms) -> Result<(), String> {
        let Some(price) = &terms.manifest.price else {
            return Ok(());
        };
        let pay_to = terms.manifest.pay_to.as_deref();
        let taken = self.host.takes(price, pay_to).await;
        taken.map_err(|words| format!("`price`: {words}"))
    }
}

/// Whether the policy would let the agent be deployed today.
async fn permit(
    policy: Option<&PolicyEngine>,
    terms: &Terms,
    component: usize,
) -> Result<(), String> {
    let Some(policy) = policy else {
        return Ok(());
    };
    let action = Action {
        method: Some("POST".to_owned()),
        program_bytes: component,
        ..terms.action(ActionKind::DeployAgent, RESOURCE)
    };
    let decision = policy.authorize(action).await;
    decision.allowed.then_some(()).ok_or(DENIED.to_owned())
}
