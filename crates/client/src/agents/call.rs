//! Sealed calls of agents.

use http::{HeaderMap, HeaderValue, Request, Response};
use hypervisor_protocol::{AgentRequest, Exit, Operation, OwnerKey};

use super::{Reference, message};
use crate::error::Error;
use crate::live::{Form, Heard, Listener};
use crate::payment::{Payer, Payment, PaymentReceipt};
use crate::program::Inputs;
use crate::session::{Execution, PaidExecution, Route, Sealed, Session};

/// What came of calling a service, verified.
#[derive(Debug, Clone)]
pub struct ServiceAnswer {
    /// The agent's response, of whatever status; none when the agent gave none, and then [`hypervisor_protocol::Report::exit`]
    /// says why.
    pub response: Option<Response<Vec<u8>>>,
    /// Fields that came after the body.
    pub trailers: HeaderMap,
    /// Report, commitments and what the host attested; the result is the Binary HTTP message as it came.
    pub execution: Execution,
}

/// A service's answer, and what became of paying for it.
#[derive(Debug, Clone)]
pub struct PaidServiceAnswer {
    /// The answer, verified.
    pub answer: ServiceAnswer,
    /// The payment, by the host's word.
    pub payment: Payment,
}

/// A part of a service's response that is not whole yet.
#[derive(Debug)]
pub enum Part {
    /// Status and fields.
    Head(Response<()>),
    /// More of its body.
    Body(Vec<u8>),
}

/// Who calls a service, who pays for that, and who hears of the response while it comes.
#[derive(Default)]
pub struct ServiceCall<'a> {
    owner: Option<&'a OwnerKey>,
    payer: Option<&'a Payer>,
    payment: Option<&'a HeaderValue>,
    listener: Option<Listener>,
}

/// What came of a [`ServiceCall`], verified.
#[derive(Debug, Clone)]
pub struct ServiceReply {
    /// The answer.
    pub answer: ServiceAnswer,
    /// What the payer paid, where there is one.
    pub payment: Option<Payment>,
    /// What the host says of a payment that somebody else signed: PAYMENT-RESPONSE.
    pub settlement: Option<HeaderValue>,
}

impl<'a> ServiceCall<'a> {
    /// By the owner whose private agents may be called, and at the expense of a payer where the host asks for payment.
    pub fn new(owner: Option<&'a OwnerKey>, payer: Option<&'a Payer>) -> Self {
        Self {
            owner,
            payer,
            ..Self::default()
        }
    }

    /// The same, with a payment that somebody else signed, the value of PAYMENT-SIGNATURE. Where there is a payer it stays here.
    #[must_use]
    pub fn carrying(self, payment: Option<&'a HeaderValue>) -> Self {
        Self { payment, ..self }
    }

    /// The same, whose caller hears of the response while it comes, where the host lets it out. Each part is authentic and in its place;
    /// that nothing is missing is known when the call gave its reply, which has all of it. What came with the reply is in the reply alone.
    #[must_use]
    pub fn hearing(self, told: impl Fn(Part) + Send + Sync + 'static) -> Self {
        let listener = Listener::new(move |heard| match heard {
            Heard::Head(head) => told(Part::Head(head)),
            Heard::Output(_, body) => told(Part::Body(body.to_vec())),
        });
        Self {
            listener: Some(listener),
            ..self
        }
    }
}

impl ServiceAnswer {
    /// The response.
    ///
    /// # Errors
    /// [`Error::Agent`] with the agent's end when there is none.
    pub fn into_response(self) -> Result<Response<Vec<u8>>, Error> {
        let exit = self.execution.report.exit;
        self.response.ok_or_else(|| Error::Agent(Box::new(exit)))
    }

    fn new(execution: Execution) -> Result<Self, Error> {
        let (response, trailers) = match execution.report.exit {
            Exit::Ok => {
                let (response, trailers) = message::response(&execution.result)?;
                (Some(response), trailers)
            }
            _ => (None, HeaderMap::new()),
        };
        Ok(Self {
            response,
            trailers,
            execution,
        })
    }
}

impl PaidServiceAnswer {
    /// The receipt, if something was paid.
    pub fn receipt(&self) -> Option<&PaymentReceipt> {
        self.payment.receipt()
    }
}

impl Session {
    /// Calls an agent that is a command. Private agents need the proof of their `owner`.
    ///
    /// A call that fails is no error here: [`hypervisor_protocol::Report::exit`] says how it ended, and
    /// `rejected` with `unknown-agent` that there is no such agent.
    ///
    /// # Errors
    /// [`Error::PaymentDemanded`] when the agent has a price; and as [`Self::run_wasm`].
    pub async fn call_command(
        &self,
        reference: &Reference,
        inputs: Inputs<'_>,
        owner: Option<&OwnerKey>,
    ) -> Result<Execution, Error> {
        let request = self.seal_call(reference, &inputs, owner)?;
        self.exchange(&route(reference), &request).await
    }

    /// As [`Self::call_command`], and pays for it if the host asks.
    ///
    /// # Errors
    /// As [`Self::run_wasm_paid`].
    pub async fn call_command_paid(
        &self,
        reference: &Reference,
        inputs: Inputs<'_>,
        owner: Option<&OwnerKey>,
        payer: &Payer,
    ) -> Result<PaidExecution, Error> {
        let request = self.seal_call(reference, &inputs, owner)?;
        self.exchange_paid(&route(reference), &request, payer).await
    }

    /// Calls an agent that is a service, with the request sealed (Binary HTTP, RFC 9292). The agent sees the URI's path and
    /// query; scheme and authority are its own, `http` and `REFERENCE.agent.internal`, and a field `host` is left out.
    ///
    /// # Errors
    /// [`Error::Request`] when the request can not be passed on, and nothing was sent; [`Error::Answer`] when what came is no
    /// response; [`Error::PaymentDemanded`] when the agent has a price; and as [`Self::run_wasm`].
    pub async fn call_service(
        &self,
        reference: &Reference,
        request: Request<Vec<u8>>,
        owner: Option<&OwnerKey>,
    ) -> Result<ServiceAnswer, Error> {
        let message = message::request(reference, request)?;
        let request = self.seal_call(reference, &Inputs::new().stdin(&message), owner)?;
        let route = route(reference).giving(Form::Message);
        ServiceAnswer::new(self.exchange(&route, &request).await?)
    }

    /// As [`Self::call_service`], and pays for it if the host asks.
    ///
    /// # Errors
    /// As [`Self::call_service`] and [`Self::run_wasm_paid`].
    pub async fn call_service_paid(
        &self,
        reference: &Reference,
        request: Request<Vec<u8>>,
        owner: Option<&OwnerKey>,
        payer: &Payer,
    ) -> Result<PaidServiceAnswer, Error> {
        let message = message::request(reference, request)?;
        let request = self.seal_call(reference, &Inputs::new().stdin(&message), owner)?;
        let route = route(reference).giving(Form::Message);
        let PaidExecution { execution, payment } =
            self.exchange_paid(&route, &request, payer).await?;
        match ServiceAnswer::new(execution) {
            Ok(answer) => Ok(PaidServiceAnswer { answer, payment }),
            Err(error) => Err(payment.taint(error)),
        }
    }

    /// As [`Self::call_service`], with more to be said about it.
    ///
    /// # Errors
    /// As [`Self::call_service_paid`].
    pub async fn call_service_with(
        &self,
        reference: &Reference,
        request: Request<Vec<u8>>,
        call: ServiceCall<'_>,
    ) -> Result<ServiceReply, Error> {
        let message = message::request(reference, request)?;
        let request = self.seal_call(reference, &Inputs::new().stdin(&message), call.owner)?;
        let form = match call.listener {
            Some(_) => Form::Response,
            None => Form::Message,
        };
        let route = route(reference).giving(form).told(call.listener);
        let Some(payer) = call.payer else {
            let called = self.exchange_carrying(&route, &request, call.payment);
            let (execution, settlement) = called.await?;
            return Ok(ServiceReply {
                answer: ServiceAnswer::new(execution)?,
                payment: None,
                settlement,
            });
        };
        let PaidExecution { execution, payment } =
            self.exchange_paid(&route, &request, payer).await?;
        match ServiceAnswer::new(execution) {
            Ok(answer) => Ok(ServiceReply {
                answer,
                payment: Some(payment),
                settlement: None,
            }),
            Err(error) => Err(payment.taint(error)),
        }
    }

    fn seal_call(
        &self,
        reference: &Reference,
        inputs: &Inputs<'_>,
        owner: Option<&OwnerKey>,
    ) -> Result<Sealed<AgentRequest>, Error> {
        let proof = owner.map(|owner| self.prove(owner));
        let agent = reference.sealed();
        self.seal(
            Operation::Agent,
            agent.as_bytes(),
            inputs,
            |key, id, request| AgentRequest::new(key, id, proof, request),
        )
    }
}

fn route(reference: &Reference) -> Route<'static> {
    Route::post(format!("agents/{reference}"))
}
