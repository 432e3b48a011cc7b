//! Asking the policy of the call's snapshot, in one canonical form for every way in.
//!
//! A rule holds whatever way a call comes: an agent is named by its address, and its resource is its path under the shortest
//! name by which everybody finds it, whatever name the caller used. Of a sealed call the policy, which is the operator's, sees
//! what is outside the seal: neither method nor path within the agent.

use hypervisor_agents::Owner;
use hypervisor_protocol::{PolicyDecision, ProblemType};

use super::{Host, Refusal};
use crate::agents::{Deployed, PREFIX};
use crate::executor::{Action, ActionKind, Charge};
use crate::snapshot::Snapshot;

/// What the policy says; none where there is no policy.
pub(super) async fn ask(
    host: &Host,
    snapshot: &Snapshot,
    action: impl FnOnce() -> Action,
) -> Result<Option<PolicyDecision>, Refusal> {
    let Some(policy) = snapshot.plugins.policy() else {
        return Ok(None);
    };
    // A policy that has to share its processor time with too many others would run out of it, which denies.
    let _turn = host.account().plugin().await?;
    Ok(Some(Box::pin(policy.authorize(action())).await))
}

/// The reason of a decision that is not a yes.
pub(super) fn denial(policy: Option<&PolicyDecision>) -> Option<String> {
    let decision = policy.filter(|decision| !decision.allowed)?;
    let reason = decision.reason.clone();
    Some(reason.unwrap_or_else(|| "the policy gives no reason".to_owned()))
}

/// Asks, and refuses what is denied.
pub(super) async fn permit(
    host: &Host,
    snapshot: &Snapshot,
    action: impl FnOnce() -> Action,
) -> Result<(), Refusal> {
    match denial(ask(host, snapshot, action).await?.as_ref()) {
        None => Ok(()),
        Some(reason) => Err(Refusal::new(ProblemType::AgentDenied, reason)),
    }
}

/// A call of an agent. `path` is the path within the agent as far as the operator may see it.
pub(super) fn invocation(
    host: &Host,
    agent: &Deployed,
    path: &str,
    charge: Option<Charge>,
) -> Action {
    let resource = match agent.terms.owner() {
        Owner::Protocol => path.to_owned(),
        _ => format!("{PREFIX}{}{path}", host.agents().reference(agent)),
    };
    Action {
        charge,
        ..agent.terms.action(ActionKind::InvokeAgent, resource)
    }
}
