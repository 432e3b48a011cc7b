//! The host, and the one session with it that everything sealed uses: of `hv mcp` and of `hv proxy`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_client::payment::Payer;
use hypervisor_client::protocol::{OwnerKey, ProblemType, Stream};
use hypervisor_client::{Client, Error, Session};
use indicatif::ProgressBar;
use tokio::sync::Mutex;

use crate::Failure;
use crate::session::Wanted;

/// A session is not begun to be used so shortly before its end, seconds.
const MARGIN: u64 = 10;
/// How often a host is asked what it cannot tell yet, and how long it has in between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Something sealed that a host is asked for.
pub(crate) trait Job: Sync {
    /// What comes of it.
    type Done: Send;

    /// Where the host sells it, if it has a route of its own there.
    fn sold_at(&self) -> Option<&'static str>;

    /// Asks for it once.
    fn on(
        &self,
        session: &Session,
        payer: Option<&Payer>,
    ) -> impl Future<Output = Result<Self::Done, Error>> + Send;
}

/// Who is told what runs write while they run.
pub(crate) type Listener = fn(Stream, &[u8]);

/// Where a host is asked.
pub(crate) struct Desk {
    client: Client,
    wanted: Wanted,
    payer: Option<Payer>,
    owner: Option<OwnerKey>,
    session: Mutex<Option<Arc<Session>>>,
    /// Whether the host failed verification, ever.
    was_refused: AtomicBool,
    listener: Option<Listener>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("{0}")]
    Failed(#[from] Failure),
    /// It costs something, and nobody is to pay.
    #[error(
        "this costs {price}, and nothing was paid: `hv mcp` pays when it is started with --pay KEYFILE --max-price AMOUNT"
    )]
    Price { price: String },
    /// Payments are not signed twice for one call.
    #[error("the session with the host had ended, and this was not done; call again")]
    Ended,
    /// What was asked for is not what the tool takes.
    #[error("{0}")]
    Arguments(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Desk {
    pub(crate) fn new(
        server: &str,
        wanted: Wanted,
        payer: Option<Payer>,
        owner: Option<OwnerKey>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::new(server)?,
            wanted,
            payer,
            owner,
            session: Mutex::default(),
            was_refused: AtomicBool::new(false),
            listener: None,
        })
    }

    /// The same, which tells what runs write while they run.
    pub(crate) fn streaming(self, listener: Option<Listener>) -> Self {
        Self { listener, ..self }
    }

    /// The same, which takes answers of up to so many bytes.
    pub(crate) fn with_largest_answer(self, bytes: usize) -> Self {
        let client = self.client.with_largest_answer(bytes);
        Self { client, ..self }
    }

    /// Whose private agents may be called.
    pub(crate) fn owner(&self) -> Option<&OwnerKey> {
        self.owner.as_ref()
    }

    /// Whether somebody is to pay.
    pub(crate) fn pays(&self) -> bool {
        self.payer.is_some()
    }

    pub(crate) fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    /// For what is asked in plaintext: a host that has to prove something has done so.
    pub(crate) async fn client(&self) -> Result<&Client, Trouble> {
        if self.wanted.is_some() {
            self.session().await?;
        }
        Ok(&self.client)
    }

    /// The session, opened where there is none or its time is over.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Trouble> {
        let mut open = self.session.lock().await;
        match &*open {
            Some(session) if session.expires_at() > now().saturating_add(MARGIN) => {
                Ok(Arc::clone(session))
            }
            _ => self.open(&mut open).await,
        }
    }

    /// Another one in place of one that the host does not know any more.
    async fn again(&self, ended: &Arc<Session>) -> Result<Arc<Session>, Trouble> {
        let mut open = self.session.lock().await;
        match &*open {
            Some(session) if !Arc::ptr_eq(session, ended) => Ok(Arc::clone(session)),
            _ => self.open(&mut open).await,
        }
    }

    async fn open(&self, place: &mut Option<Arc<Session>>) -> Result<Arc<Session>, Trouble> {
        *place = None;
        let opened = self.wanted.open(&self.client, &ProgressBar::hidden()).await;
        let session = opened.inspect_err(|failure| self.notice(failure))?;
        let session = match self.listener {
            Some(listener) => session.with_output(listener),
            None => session,
        };
        let session = Arc::new(session);
        *place = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Has the host do it, and pays where it may. A session that ended meanwhile is opened again.
    pub(crate) async fn run<J: Job>(&self, job: &J) -> Result<J::Done, Trouble> {
        let session = self.session().await?;
        let payer = self.payer.as_ref();
        let signed = payer.map(Payer::signed);
        let mut done = job.on(&session, payer).await;
        if is_refused(&done, ProblemType::UnknownSession) {
            let session = self.again(&session).await?;
            // The host can say so after it was sent a payment, too: another one is not signed without being asked for.
            if payer.map(Payer::signed) != signed {
                return Err(Trouble::Ended);
            }
            done = job.on(&session, payer).await;
        }
        match done {
            Ok(done) => Ok(done),
            Err(error) => Err(self.explain(job, error).await),
        }
    }

    /// An error, with the price where that is what is missing.
    async fn explain<J: Job>(&self, job: &J, error: Error) -> Trouble {
        let is_gone = matches!(&error, Error::Refused(problem)
            if problem.problem_type() == Some(ProblemType::NotFound));
        let is_sold = matches!(error, Error::PaymentDemanded(_)) || is_gone;
        let route = job.sold_at().filter(|_| self.payer.is_none() && is_sold);
        let failure = match route {
            None => error.into(),
            Some(route) => match self.price(route).await {
                Ok(Some(price)) => return Trouble::Price { price },
                Ok(None) => error.into(),
                // That it costs something is known, and why nobody says what.
                Err(error) => error.into(),
            },
        };
        self.notice(&failure);
        failure.into()
    }

    /// What a route costs; none where it is not sold, or nobody understands the price. A host that has just been started may not know it
    /// yet, and one that refused a request before it had read all of it may end the connection that this goes over: it is asked a few
    /// times, and an error is what came of the last.
    async fn price(&self, route: &str) -> Result<Option<String>, Error> {
        let mut left = TRIES;
        loop {
            match self.client.prices(route).await {
                Ok(prices) if prices.is_empty() => return Ok(None),
                Ok(prices) => return Ok(Some(prices.join(", or "))),
                Err(Error::Challenge { .. }) => return Ok(None),
                Err(error) if left == 0 => return Err(error),
                Err(Error::Refused(_)) => tokio::time::sleep(PAUSE).await,
                Err(_) => {}
            }
            left = left.saturating_sub(1);
        }
    }

    fn notice(&self, failure: &Failure) {
        if failure.is_verification_failure() {
            self.was_refused.store(true, Ordering::Relaxed);
        }
    }
}

fn is_refused<T>(done: &Result<T, Error>, why: ProblemType) -> bool {
    matches!(done, Err(Error::Refused(problem)) if problem.problem_type() == Some(why))
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
