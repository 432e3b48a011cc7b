//! The way of management in the open: deploying an agent of the operator's registry by its name.

use std::sync::Arc;

use hypervisor_account::Slot;
use hypervisor_protocol::{DeployResponse, PaymentReceipt, ProblemType};

use super::authorize::permit;
use super::route::DEPLOY;
use super::{Call, Host, Input, Kept, Refusal, Way};
use crate::agents::{Plan, Refused, deploy, words};
use crate::executor::{Action, ActionKind, Charge, PrepareError};

/// A request to deploy an agent of the registry. Doing it again changes nothing.
pub(crate) struct Registered {
    pub(crate) name: String,
}

/// What there is to do.
pub(crate) enum Planned {
    There(Box<DeployResponse>),
    Deploy(Box<Plan>),
}

impl Way for Registered {
    type Received = ();
    type Opened = ();
    type Ready = Planned;
    type Ran = DeployResponse;
    type Answer = DeployResponse;

    async fn receive(_: &Call<Self>, _: &Host, _: Input) -> Result<(), Refusal> {
        Ok(())
    }

    fn fingerprint(_: &Call<Self>, (): &()) -> [u8; 32] {
        [0; 32]
    }

    fn open(_: &Call<Self>, _: &Host, (): ()) -> Result<(), Refusal> {
        Ok(())
    }

    async fn authorize(
        call: &Call<Self>,
        host: &Host,
        (): (),
        _: Option<Charge>,
    ) -> Result<Planned, Refusal> {
        let name = &call.way.name;
        let plan = match tokio::task::block_in_place(|| host.agents().plan_registered(name)) {
            Ok(plan) => plan,
            Err(Refused::There(agent)) => {
                return Ok(Planned::There(Box::new(DeployResponse {
                    message: format!("{name} is deployed already"),
                    agent: host.agents().info(&agent),
                })));
            }
            Err(Refused::Unknown) => return Err(Refusal::no_agent()),
            Err(Refused::Unfit(detail)) => {
                return Err(Refusal::new(ProblemType::AgentRefused, detail));
            }
        };
        let asked = || Action {
            method: Some("POST".to_owned()),
            program_bytes: plan.component.len(),
            ..plan.terms.action(ActionKind::DeployAgent, DEPLOY.path)
        };
        permit(host, &call.snapshot, asked).await?;
        Ok(Planned::Deploy(Box::new(plan)))
    }

    fn will_run(_: &Planned) -> bool {
        true
    }

    async fn run(
        call: &mut Call<Self>,
        host: &Arc<Host>,
        ready: Planned,
        _slot: Slot,
    ) -> Result<DeployResponse, Refusal> {
        let plan = match ready {
            Planned::There(answer) => return Ok(*answer),
            Planned::Deploy(plan) => plan,
        };
        let teller = call.snapshot.teller.as_ref();
        let agent = deploy(host.agents(), *plan, teller).await;
        let agent = agent.map_err(|error| match error {
            PrepareError::Program(exit) => Refusal::new(ProblemType::AgentRefused, words(&exit)),
            error => error.into(),
        })?;
        Ok(DeployResponse {
            message: format!("{} is deployed at {}", call.way.name, agent.path),
            agent,
        })
    }

    fn is_charged(_: &Call<Self>, _: &DeployResponse, _: bool) -> bool {
        false
    }

    fn seal(
        _: &Call<Self>,
        _: &Host,
        ran: DeployResponse,
        _: Option<&PaymentReceipt>,
    ) -> Result<DeployResponse, Refusal> {
        Ok(ran)
    }

    fn keep(_: &DeployResponse) -> Result<Kept, Refusal> {
        Err(Refusal::internal("a deployment is not for sale"))
    }

    fn recall(_: &Call<Self>, _: Kept) -> Result<DeployResponse, Refusal> {
        Err(Refusal::internal("a deployment is not for sale"))
    }

    async fn attest(
        _: &Call<Self>,
        _: &Host,
        answer: DeployResponse,
    ) -> Result<DeployResponse, Refusal> {
        Ok(answer)
    }
}
