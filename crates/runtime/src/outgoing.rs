//! Requests that a component sends: handed to whoever decides where they may go.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::WasiHttpHooks;

use super::plugins::PluginSet;
use super::policy::Action;

pub use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions as HttpTimeouts, WasiBody as HttpBody,
};

/// What a request gave: the response, and what drives its connection.
pub type Sent = (http::Response<HttpBody>, Connection);

/// Drives a connection until its response is read.
pub type Connection = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

/// A request on its way.
pub type Sending = Pin<Box<dyn Future<Output = Result<Sent, HttpError>> + Send>>;

/// Decides where a component's requests may go, and sends them.
pub trait Egress: Send + Sync {
    /// Sends `request`. `chain` is how the component came to run.
    fn send(
        &self,
        request: Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        chain: Chain,
    ) -> Sending;

    /// Requests that one instance may have under way at once.
    fn per_call(&self) -> usize {
        16
    }

    /// A request was refused because there is no room for more.
    fn crowded(&self) {}
}

/// What the host was when a call entered it, kept for everything that the call leads to.
pub trait Moment: Any + Send + Sync {
    /// The plugins in use then.
    fn plugins(&self) -> &PluginSet;
}

/// The calls that led to a call: agents that called agents.
#[derive(Clone, Default)]
pub struct Chain {
    /// Who called, the first caller first, the component itself last; none where nobody did.
    callers: Option<Arc<[u64]>>,
    deadline: Option<Instant>,
    moment: Option<Arc<dyn Moment>>,
    by: Option<Arc<dyn Any + Send + Sync>>,
}

impl Chain {
    /// The chain of a call that enters the host now.
    pub fn entering(moment: Arc<dyn Moment>) -> Self {
        Self {
            moment: Some(moment),
            ..Self::default()
        }
    }

    /// The same, which this one sent.
    #[must_use]
    pub fn by(self, who: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            by: Some(who),
            ..self
        }
    }

    /// Who sent the first call of the chain, in the host's own type.
    pub fn sender<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.by.clone()?.downcast().ok()
    }

    /// What the host was when the first call of the chain entered, in the host's own type.
    pub fn moment<T: Moment>(&self) -> Option<Arc<T>> {
        let moment: Arc<dyn Any + Send + Sync> = self.moment.clone()?;
        moment.downcast().ok()
    }

    /// The plugins in use when the first call of the chain entered.
    pub fn plugins(&self) -> Option<&PluginSet> {
        self.moment.as_deref().map(Moment::plugins)
    }

    /// Whether the policy that the first call of the chain entered under allows what a component is about to do.
    ///
    /// # Errors
    /// Why not, in the policy's words.
    pub async fn permits(&self, action: Action) -> Result<(), String> {
        // A call that did not enter by the host has nobody to be asked, and may do nothing.
        let plugins = self.plugins().ok_or("there is nobody to ask")?;
        let Some(policy) = plugins.policy() else {
            return Ok(());
        };
        let decision = policy.authorize(action).await;
        match decision.reason {
            _ if decision.allowed => Ok(()),
            reason => Err(reason.unwrap_or_default()),
        }
    }

    /// The chain with one more link.
    #[must_use]
    pub fn with(&self, agent: u64) -> Self {
        Self {
            callers: Some(self.callers().iter().copied().chain([agent]).collect()),
            ..self.clone()
        }
    }

    /// Whether an agent is a link already.
    pub fn has(&self, agent: u64) -> bool {
        self.callers().contains(&agent)
    }

    /// Number of links.
    pub fn len(&self) -> usize {
        self.callers().len()
    }

    /// Whether nobody called yet.
    pub fn is_empty(&self) -> bool {
        self.callers().is_empty()
    }

    fn callers(&self) -> &[u64] {
        self.callers.as_deref().unwrap_or_default()
    }

    /// The chain of whom this one calls: no link has more time than the one before.
    fn ending_by(&self, deadline: Option<Instant>) -> Self {
        Self {
            deadline: self.deadline.into_iter().chain(deadline).min(),
            ..self.clone()
        }
    }
}

/// The hooks of wasi:http in one store.
#[derive(Clone, Default)]
pub(super) struct Outgoing {
    egress: Option<Arc<dyn Egress>>,
    /// How the component came to run.
    pub(super) chain: Chain,
    /// When the call under way has to end.
    ends: Option<Instant>,
    /// Room for requests under way.
    room: Option<Arc<Semaphore>>,
}

impl Outgoing {
    pub(super) fn by(egress: Option<Arc<dyn Egress>>) -> Self {
        let room = egress.as_ref().map(|egress| egress.per_call());
        Self {
            egress,
            room: room.map(|room| Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)))),
            ..Self::default()
        }
    }

    /// A call begins, which may take `wall` if its chain leaves it that much; gives the time that it has.
    pub(super) fn begin(&mut self, wall: Duration) -> Duration {
        let now = Instant::now();
        let allowed = self.chain.deadline.map_or(wall, |deadline| {
            wall.min(deadline.saturating_duration_since(now))
        });
        self.ends = now.checked_add(allowed);
        allowed
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<HttpBody>,
        options: Option<HttpTimeouts>,
        _processed: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = wasmtime_wasi_http::Result<Sent>> + Send> {
        let (Some(egress), Some(room)) = (&self.egress, &self.room) else {
            return Box::new(async { Err(HttpError::HttpRequestDenied) });
        };
        let Ok(taken) = Arc::clone(room).try_acquire_owned() else {
            egress.crowded();
            return Box::new(async { Err(HttpError::ConnectionLimitReached) });
        };
        let sending = egress.send(request, options, self.chain.ending_by(self.ends));
        Box::new(async move {
            let (response, connection) = sending.await?;
            let connection = Box::into_pin(connection);
            // Under way until its connection ends.
            let connection: Connection = Box::new(async move {
                let _taken = taken;
                connection.await
            });
            Ok((response, connection))
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn a_chain_knows_its_links() {
        let chain = Chain::default().with(1).with(2);
        assert!(chain.has(1) && chain.has(2) && !chain.has(3));
        assert_eq!(chain.len(), 2);
    }

    #[test]
    fn no_link_has_more_time_than_the_one_before() {
        let mut outgoing = Outgoing::default();
        let second = Duration::from_secs(1);
        assert_eq!(outgoing.begin(second), second);
        outgoing.chain = outgoing.chain.ending_by(outgoing.ends);
        assert!(outgoing.begin(10 * second) <= second);
        let next = outgoing.chain.ending_by(outgoing.ends);
        assert_eq!(next.deadline, outgoing.chain.deadline.min(outgoing.ends));
    }

    /// Sends nothing and never ends; counts what was refused before it.
    #[derive(Default)]
    struct Stuck(std::sync::atomic::AtomicUsize);

    impl Egress for Stuck {
        fn send(&self, _: Request<HttpBody>, _: Option<HttpTimeouts>, _: Chain) -> Sending {
            Box::pin(std::future::pending())
        }

        fn crowded(&self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn send(
        outgoing: &mut Outgoing,
    ) -> Pin<Box<dyn Future<Output = wasmtime_wasi_http::Result<Sent>> + Send>> {
        let body = http_body_util::Empty::new().map_err(|never| match never {});
        let request = Request::new(body.boxed_unsync());
        Box::into_pin(outgoing.send_request(request, None, Box::new(async { Ok(()) })))
    }

    #[tokio::test]
    async fn one_call_has_so_many_requests_under_way() {
        let stuck = Arc::new(Stuck::default());
        let mut outgoing = Outgoing::by(Some(Arc::clone(&stuck) as _));
        let most = stuck.per_call();
        let mut under_way: Vec<_> = (0..most).map(|_| send(&mut outgoing)).collect();
        let refused = send(&mut outgoing).await.err();
        assert!(matches!(refused, Some(HttpError::ConnectionLimitReached)));
        assert_eq!(stuck.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        under_way.pop();
        let again = tokio::time::timeout(Duration::from_millis(10), send(&mut outgoing)).await;
        assert!(again.is_err(), "it is under way");
    }
}
