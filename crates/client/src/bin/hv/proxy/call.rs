//! Sealed calls: what a client asked for, and what comes of it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use hypervisor_client::agents::{Part, Reference, ServiceCall, ServiceReply};
use hypervisor_client::payment::{Payer, Payment};
use hypervisor_client::protocol::{Exit, OwnerKey};
use hypervisor_client::{Error, Execution, Inputs, Session};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::form_urlencoded;

use super::problem::Refusal;
use super::receive::{Received, Room};
use super::worlds::Worlds;
use crate::console::{note, plain};
use crate::desk::{Desk, Job, Trouble};
use crate::{pay, run};

/// Requests under way at once.
const CALLS: usize = 64;

/// Who calls, and what all calls share.
pub(super) struct Caller {
    pub(super) desk: Arc<Desk>,
    pub(super) server: String,
    pub(super) worlds: Worlds,
    pub(super) room: Room,
    pub(super) slots: Arc<Semaphore>,
    /// Whether every answer is passed on while it comes.
    pub(super) streams: bool,
    pub(super) timeout: Duration,
}

impl Caller {
    pub(super) fn new(desk: Arc<Desk>, server: &str, streams: bool, timeout: Duration) -> Self {
        Self {
            desk,
            server: server.to_owned(),
            worlds: Worlds::default(),
            room: Room::new(),
            slots: Arc::new(Semaphore::new(CALLS)),
            streams,
            timeout,
        }
    }
}

/// A call that is under way.
pub(super) type Calling<T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send>>;

/// Begins a call. One that may be paid for goes on when nobody waits for it any more, so that it is known what became of the payment.
pub(super) fn begin<J>(desk: Arc<Desk>, job: J) -> Calling<J::Done>
where
    J: Job + Send + 'static,
    J::Done: Paid + Send + 'static,
{
    let pays = desk.pays();
    let call = async move {
        let done = desk.run(&job).await;
        tell(&done);
        done
    };
    if !pays {
        return Box::pin(call);
    }
    let call = tokio::spawn(call);
    Box::pin(async move {
        let gone = |error| {
            let error = std::io::Error::other(error);
            Trouble::Failed(crate::Failure::Io {
                what: "the call broke off".to_owned(),
                source: error,
            })
        };
        call.await.map_err(gone)?
    })
}

/// What may have been paid for.
pub(super) trait Paid {
    fn payment(&self) -> Option<&Payment>;
}

/// Says on standard error what was paid, or may have been.
fn tell<T: Paid>(done: &Result<T, Trouble>) {
    let said = match done {
        Ok(done) => match done.payment() {
            None | Some(Payment::NotAsked) => return,
            Some(payment) => pay::text(payment),
        },
        Err(Trouble::Failed(crate::Failure::Client(
            error @ (Error::PaymentUncertain { .. } | Error::PaidWithoutAnswer { .. }),
        ))) => error.to_string(),
        Err(_) => return,
    };
    let _ = note(format_args!("{}", plain(&said)));
}

/// A call of a service, or of what answers in the host's own name.
pub(super) struct Service {
    pub(super) desk: Arc<Desk>,
    pub(super) agent: Reference,
    pub(super) request: Request<Vec<u8>>,
    /// What the client itself pays.
    pub(super) payment: Option<HeaderValue>,
    /// Who hears of the response while it comes.
    pub(super) told: Option<UnboundedSender<Part>>,
    /// The room that the request's body takes up.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl Job for Service {
    type Done = ServiceReply;

    fn sold_at(&self) -> Option<&'static str> {
        None
    }

    async fn on(&self, session: &Session, payer: Option<&Payer>) -> Result<ServiceReply, Error> {
        let call = ServiceCall::new(self.desk.owner(), payer).carrying(self.payment.as_ref());
        let call = match self.told.clone() {
            None => call,
            // Who does not listen any more ends the call by that.
            Some(told) => call.hearing(move |part| drop(told.send(part))),
        };
        session
            .call_service_with(&self.agent, self.request.clone(), call)
            .await
    }
}

impl Paid for ServiceReply {
    fn payment(&self) -> Option<&Payment> {
        self.payment.as_ref()
    }
}

/// A call of a command: the body is its standard input, and each `arg` of the query an argument.
pub(super) struct Command {
    pub(super) desk: Arc<Desk>,
    pub(super) agent: Reference,
    arguments: Vec<String>,
    stdin: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// What a command gave, and what became of paying for it.
pub(super) type Ran = (Execution, Option<Payment>);

impl Command {
    pub(super) fn new(desk: Arc<Desk>, agent: Reference, query: &str, body: Received) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let arguments = pairs.filter(|(name, _)| name == "arg");
        Self {
            desk,
            agent,
            arguments: arguments.map(|(_, value)| value.into_owned()).collect(),
            stdin: body.bytes,
            _room: body.room,
        }
    }
}

impl Job for Command {
    type Done = Ran;

    fn sold_at(&self) -> Option<&'static str> {
        None
    }

    async fn on(&self, session: &Session, payer: Option<&Payer>) -> Result<Ran, Error> {
        let owner: Option<&OwnerKey> = self.desk.owner();
        let inputs = Inputs::new().arguments(self.arguments.iter().map(String::as_bytes));
        let inputs = inputs.stdin(&self.stdin);
        let Some(payer) = payer else {
            let execution = session.call_command(&self.agent, inputs, owner).await?;
            return Ok((execution, None));
        };
        let called = session.call_command_paid(&self.agent, inputs, owner, payer);
        Ok(run::paid(called.await?))
    }
}

impl Paid for Ran {
    fn payment(&self) -> Option<&Payment> {
        self.1.as_ref()
    }
}

/// The answer of a command, as the host gives it where the call is not sealed.
pub(super) fn of_command(execution: Execution) -> Result<Response<Vec<u8>>, Refusal> {
    let code = match &execution.report.exit {
        Exit::Ok => 0,
        Exit::Code { code } => *code,
        exit => return Err(Refusal::of_exit(exit)),
    };
    let mut response = Response::new(execution.result);
    if code != 0 {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert("x-exit-code", HeaderValue::from(code));
    Ok(response)
}
