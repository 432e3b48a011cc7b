//! Services: components that answer HTTP requests. Each request runs in an instance of its own, unless the owner of the
//! service chose to reuse instances.
//!
//! The guest runs inside the request's own future until the head of its response is there. What it has not finished by then, and
//! most have, goes on in a task of its own, so that its deadline comes whether or not anybody reads the response; whoever
//! lets go of the response (a client that went away) thereby stops the guest. A service that works in the *background* has a task from
//! the start, and goes on whoever left.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use super::guest::Guest;
use super::idle::Idle;
use super::outcome::Exit;
use super::outgoing::{Chain, HttpBody, HttpError};
use super::sandbox::{Sandbox, Sandboxes};
use super::service_body::ServiceBody;

/// A service ready to answer.
pub struct Service {
    pre: ProxyPre<Guest>,
    sandboxes: Sandboxes,
    name: [String; 1],
    sha384: [u8; 48],
    code_bytes: usize,
    /// Requests that one instance answers, one after the other.
    reuse: u32,
    /// Whether its calls go on when the client has left.
    background: bool,
    idle: Idle<Instance>,
    witness: Arc<dyn Witness>,
}

/// Is told how each call ended.
pub trait Witness: Send + Sync {
    /// A call ended.
    fn ended(&self, end: Ended);
}

/// What a call used, known once it has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Largest linear memory, bytes.
    pub peak_memory: u64,
}

/// Is held until a call has ended: a slot, or a cell for what the call used.
pub trait Held: Send + Sync + 'static {
    /// The call has ended.
    fn ended(&self, _usage: Usage, _exit: &Exit) {}
}

impl Held for Arc<OnceLock<(Usage, Exit)>> {
    fn ended(&self, usage: Usage, exit: &Exit) {
        // There is one call.
        let _ = self.set((usage, exit.clone()));
    }
}

impl Held for tokio::sync::OwnedSemaphorePermit {}

impl Held for () {}

/// How a call of an agent ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// What it wrote to standard output and to standard error, as far as the limits let it.
    pub written: [Vec<u8>; 2],
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum NoResponse {
    /// The request has no host, or not one in ASCII.
    #[error("the request has no `host` field, or one that is no text")]
    NoHost,
    /// The service ended before it gave one: it trapped, or reached a limit.
    #[error("the agent trapped or reached a limit")]
    Ended(Exit),
    /// It returned without having given one.
    #[error("the agent returned without a response")]
    NeverSet,
    /// It gave an error in its place.
    #[error("the agent gave an error in the place of a response")]
    Error,
}

/// An instance, and how much it was used.
struct Instance {
    sandbox: Sandbox,
    proxy: Option<Proxy>,
    served: u32,
}

/// The rest of a call: runs the guest to its end.
pub(super) type Running = Pin<Box<dyn Future<Output = Exit> + Send>>;

type Answer = Result<http::Response<HttpBody>, ErrorCode>;

impl Service {
    pub(super) fn new(
        pre: ProxyPre<Guest>,
        sandboxes: Sandboxes,
        (sha384, code_bytes): ([u8; 48], usize),
        (reuse, background): (u32, bool),
        idle: Arc<Semaphore>,
        witness: Arc<dyn Witness>,
    ) -> Self {
        Self {
            pre,
            sandboxes,
            name: ["agent".to_owned()],
            sha384,
            code_bytes,
            reuse: reuse.max(1),
            background,
            idle: Idle::within(idle),
            witness,
        }
    }

    /// Answers `request`. `secure` says whether it came by `https`; `chain` is who called before; `held` is held until the
    /// guest has ended, which may be after its response.
    ///
    /// # Errors
    /// [`NoResponse`]. After the head of the response, an error of its body.
    pub async fn call<B>(
        self: &Arc<Self>,
        request: http::Request<B>,
        secure: bool,
        chain: Chain,
        held: impl Held,
    ) -> Result<http::Response<ServiceBody>, NoResponse>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let bodyless = request.method() == http::Method::HEAD;
        let mut instance = self.idle.take().unwrap_or_else(|| self.instance());
        instance.sandbox.set_chain(chain);
        let scheme = if secure { Scheme::Https } else { Scheme::Http };
        let (sender, receiver) = oneshot::channel();
        let mut http = instance.sandbox.guest().http();
        let request = http
            .new_incoming_request(scheme, request)
            .map_err(|_| NoResponse::NoHost)?;
        let out = http
            .new_response_outparam(sender)
            .map_err(|error| NoResponse::Ended(instance.sandbox.exit_of(&error)))?;
        let service = Arc::clone(self);
        let cut = Arc::new(AtomicBool::new(false));
        let not_whole = Arc::clone(&cut);
        let mut running: Running = Box::pin(async move {
            let Instance { sandbox, proxy, .. } = &mut instance;
            let pre = &service.pre;
            let ended = sandbox.call(async |store| {
                if proxy.is_none() {
                    *proxy = Some(pre.instantiate_async(&mut *store).await?);
                }
                match proxy {
                    Some(proxy) => {
                        let handler = proxy.wasi_http_incoming_handler();
                        handler.call_handle(store, request, out).await
                    }
                    None => Ok(()),
                }
            });
            let exit = ended.await.err().unwrap_or(Exit::Ok);
            let was_left = not_whole.fetch_or(exit != Exit::Ok, Ordering::AcqRel);
            held.ended(instance.sandbox.usage(), &exit);
            service.end(instance, &exit, was_left);
            exit
        });
        let (answer, running) = if self.background {
            let mut task = tokio::spawn(running.in_current_span());
            let (answer, ended) = first_of_task(&mut task, receiver).await?;
            (answer, (!ended).then_some(task))
        } else {
            let (answer, ended) = first(&mut running, receiver).await?;
            let task = || tokio::spawn(running.in_current_span());
            (answer, (!ended).then(task))
        };
        let (head, body) = answer.map_err(|_| NoResponse::Error)?.into_parts();
        let status = head.status;
        let bodyless = bodyless
            || status.is_informational()
            || status == http::StatusCode::NO_CONTENT
            || status == http::StatusCode::NOT_MODIFIED;
        let mut body = ServiceBody::new(body, running, cut, (bodyless, self.background));
        // A length that the service gave itself is held against what it wrote.
        if !bodyless && !head.headers.contains_key(http::header::CONTENT_LENGTH) {
            body.look_ahead().await;
        }
        Ok(http::Response::from_parts(head, body))
    }

    fn instance(&self) -> Instance {
        let mut sandbox = self.sandboxes.make(&self.name);
        sandbox.set_program(Some(self.sha384));
        Instance {
            sandbox,
            proxy: None,
            served: 0,
        }
    }

    /// Tells how the call ended, and keeps the instance where it may serve again: not where the client left it before its end.
    fn end(&self, mut instance: Instance, exit: &Exit, was_left: bool) {
        self.witness.ended(Ended {
            exit: exit.clone(),
            written: instance.sandbox.written(),
        });
        instance.served = instance.served.saturating_add(1);
        if *exit == Exit::Ok && !was_left && instance.served < self.reuse {
            self.idle.put(instance);
        }
    }

    /// Bytes of its machine code.
    pub(super) fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Lets go of instances that nobody needed for a while.
    pub fn sweep(&self) {
        self.idle.sweep();
    }
}

/// Runs the guest until it gives a response. Says with it whether the guest has ended.
///
/// The guest gives it while it is polled here, so afterwards it is there or not. It is taken without asking the runtime, which puts
/// off a task that has worked for long: what is put off would look as if the guest had given nothing.
async fn first(
    running: &mut Running,
    mut receiver: oneshot::Receiver<Answer>,
) -> Result<(Answer, bool), NoResponse> {
    std::future::poll_fn(move |cx| {
        let ended = running.as_mut().poll(cx);
        match (receiver.try_recv(), ended) {
            (Ok(answer), ended) => Poll::Ready(match ended {
                // A body that was cut off must not look whole.
                Poll::Ready(exit) if exit != Exit::Ok => Err(NoResponse::Ended(exit)),
                ended => Ok((answer, ended.is_ready())),
            }),
            (_, Poll::Ready(Exit::Ok)) => Poll::Ready(Err(NoResponse::NeverSet)),
            (_, Poll::Ready(exit)) => Poll::Ready(Err(NoResponse::Ended(exit))),
            (_, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

/// The same of a guest that runs in a task, and goes on there if nobody waits here any more.
async fn first_of_task(
    task: &mut JoinHandle<Exit>,
    mut receiver: oneshot::Receiver<Answer>,
) -> Result<(Answer, bool), NoResponse> {
    tokio::select! {
        biased;
        Ok(answer) = &mut receiver => Ok((answer, false)),
        // A task that panicked gave nothing.
        exit = &mut *task => match (receiver.try_recv(), exit) {
            (Ok(answer), Ok(Exit::Ok)) => Ok((answer, true)),
            (_, Ok(Exit::Ok)) => Err(NoResponse::NeverSet),
            (_, Ok(exit)) => Err(NoResponse::Ended(exit)),
            (_, Err(_)) => Err(NoResponse::Error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(exit: Option<Exit>) -> Running {
        Box::pin(async move {
            match exit {
                Some(exit) => exit,
                None => std::future::pending().await,
            }
        })
    }

    fn answer() -> Answer {
        Ok(http::Response::new(HttpBody::default()))
    }

    #[tokio::test]
    async fn a_guest_that_returns_without_a_response_has_set_none() {
        let (sender, receiver) = oneshot::channel();
        drop(sender);
        let first = first(&mut running(Some(Exit::Ok)), receiver).await;
        assert!(matches!(first, Err(NoResponse::NeverSet)));
    }

    #[tokio::test]
    async fn a_response_is_there_though_its_task_has_worked_for_long() {
        let (sender, receiver) = oneshot::channel();
        sender.send(answer()).unwrap();
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        let first = first(&mut running(Some(Exit::Ok)), receiver).await;
        assert!(matches!(first, Ok((Ok(_), true))));
    }

    #[tokio::test]
    async fn a_guest_that_traps_right_after_its_head_gives_no_response() {
        let (sender, receiver) = oneshot::channel();
        sender.send(answer()).unwrap();
        let trap = Exit::Trap {
            reason: "unreachable".to_owned(),
        };
        let first = first(&mut running(Some(trap.clone())), receiver).await;
        assert!(matches!(first, Err(NoResponse::Ended(exit)) if exit == trap));
    }

    #[tokio::test]
    async fn a_response_is_there_while_its_guest_goes_on() {
        let (sender, receiver) = oneshot::channel();
        sender.send(answer()).unwrap();
        let (_, ended) = first(&mut running(None), receiver).await.unwrap();
        assert!(!ended);
    }
}
