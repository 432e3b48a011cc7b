//! What tools ask a host for: runs, and calls of agents.

use http::Request;
use hypervisor_client::agents::{PaidServiceAnswer, Reference, ServiceAnswer};
use hypervisor_client::payment::{Payer, Payment};
use hypervisor_client::protocol::OwnerKey;
use hypervisor_client::{Error, Execution, Inputs, Program, Session};

use super::arguments::Given;
use crate::desk::Job;
use crate::run::paid;

/// A run, and what became of paying for it.
pub(super) type Ran = (Execution, Option<Payment>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Wasm,
    Python,
    Javascript,
}

/// A program or script.
pub(super) struct Run {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
    pub(super) given: Given,
}

/// A call of an agent that is a command.
pub(super) struct Command<'a> {
    pub(super) agent: Reference,
    pub(super) given: Given,
    pub(super) owner: Option<&'a OwnerKey>,
}

/// A call of an agent that is a service.
pub(super) struct Service<'a> {
    pub(super) agent: Reference,
    pub(super) request: Request<Vec<u8>>,
    pub(super) owner: Option<&'a OwnerKey>,
}

impl Given {
    fn inputs(&self) -> Inputs<'_> {
        let inputs = Inputs::new().arguments(self.args.iter().map(String::as_bytes));
        match &self.stdin {
            Some(stdin) => inputs.stdin(stdin.as_bytes()),
            None => inputs,
        }
    }
}

impl Job for Run {
    type Done = Ran;

    fn sold_at(&self) -> Option<&'static str> {
        Some(match self.kind {
            Kind::Wasm => "x402_execute/test/wasm",
            Kind::Python => "x402_policy/unsafe/python",
            Kind::Javascript => "x402_policy/unsafe/javascript",
        })
    }

    async fn on(&self, session: &Session, payer: Option<&Payer>) -> Result<Ran, Error> {
        let program = Program::with_inputs(&self.bytes, self.given.inputs());
        Ok(match (self.kind, payer) {
            (Kind::Wasm, None) => (session.run_wasm(program).await?, None),
            (Kind::Python, None) => (session.run_python(program).await?, None),
            (Kind::Javascript, None) => (session.run_javascript(program).await?, None),
            (Kind::Wasm, Some(payer)) => paid(session.run_wasm_paid(program, payer).await?),
            (Kind::Python, Some(payer)) => paid(session.run_python_paid(program, payer).await?),
            (Kind::Javascript, Some(payer)) => {
                paid(session.run_javascript_paid(program, payer).await?)
            }
        })
    }
}

impl Job for Command<'_> {
    type Done = Ran;

    fn sold_at(&self) -> Option<&'static str> {
        None
    }

    async fn on(&self, session: &Session, payer: Option<&Payer>) -> Result<Ran, Error> {
        let (agent, inputs) = (&self.agent, self.given.inputs());
        let Some(payer) = payer else {
            let execution = session.call_command(agent, inputs, self.owner).await?;
            return Ok((execution, None));
        };
        let called = session.call_command_paid(agent, inputs, self.owner, payer);
        Ok(paid(called.await?))
    }
}

impl Job for Service<'_> {
    type Done = (ServiceAnswer, Option<Payment>);

    fn sold_at(&self) -> Option<&'static str> {
        None
    }

    async fn on(&self, session: &Session, payer: Option<&Payer>) -> Result<Self::Done, Error> {
        let (agent, request) = (&self.agent, self.request.clone());
        let Some(payer) = payer else {
            let answer = session.call_service(agent, request, self.owner).await?;
            return Ok((answer, None));
        };
        let called = session.call_service_paid(agent, request, self.owner, payer);
        let PaidServiceAnswer { answer, payment } = called.await?;
        Ok((answer, Some(payment)))
    }
}
