//! Sending over connections that are kept for a moment, for the next request to the same origin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use wasmtime_wasi_http::WasiBody;

use crate::error::{Error, of_http};
use crate::origin::Origin;
use crate::send::{Answered, Sender, Timeouts, duration, handshake, prepare, readable};

/// How long a connection waits for its next request: less than any server is known to wait, so that none closes it under a request.
const LONGEST_IDLE: Duration = Duration::from_secs(1);
/// How long one is used: the addresses of its origin are looked up, and checked, again after it.
const LONGEST_USE: Duration = Duration::from_secs(60);
/// Connections that wait at once, of all origins.
const MOST_IDLE: usize = 32;

/// Sends requests as a [`Sender`] does, each over a connection that waited from an earlier one where there is one.
///
/// Whoever sees the connections learns that the requests come from one place: it is for the requests of one component. A request
/// is sent a second time only where nothing of it was sent the first time. Cloning is cheap, and clones share everything.
#[derive(Clone)]
pub struct Pool {
    sender: Sender,
    idle: Arc<Mutex<Vec<Idle>>>,
}

/// A connection between two requests. Dropped, it ends.
struct Idle {
    origin: Origin,
    open: Open,
    since: Instant,
}

/// A connection, driven by a task. Dropped, it ends at once, whatever its server still has to read or to say.
struct Open {
    requests: SendRequest<WasiBody>,
    driver: JoinHandle<Result<(), Error>>,
    opened: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pool {
    /// What keeps the connections that `sender` makes.
    pub fn of(sender: Sender) -> Self {
        Self {
            sender,
            idle: Arc::default(),
        }
    }

    /// [`Sender::send`] as the hooks of wasi:http have it. The connection needs nobody to drive it, and is kept where all of the
    /// response was read; dropping what is returned beside it ends it within a second otherwise.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_for_guest(
        &self,
        request: Request<WasiBody>,
        timeouts: Option<Timeouts>,
    ) -> Result<Answered, Error> {
        let timeouts = timeouts.unwrap_or_default();
        let (origin, mut request) = prepare(request, false)?;
        let waits = duration(timeouts.first_byte_timeout);
        loop {
            let kept = self.take(&origin);
            let was_kept = kept.is_some();
            let mut open = match kept {
                Some(open) => open,
                None => self.open(&origin, timeouts.connect_timeout).await?,
            };
            let answered = timeout(waits, open.requests.try_send_request(request));
            match answered.await.map_err(|_| Error::ConnectionReadTimeout)? {
                Ok(response) => return self.answered(origin, open, response, &timeouts),
                Err(mut unsent) => match unsent.take_message() {
                    // The server closed it while it waited.
                    Some(whole) if was_kept => request = whole,
                    _ => return Err(open.why(unsent.into_error()).await),
                },
            }
        }
    }

    /// A new connection to `origin`.
    async fn open(&self, origin: &Origin, limit: Option<Duration>) -> Result<Open, Error> {
        let (stream, taken) = self.sender.open(origin, limit).await?;
        let (requests, connection) = handshake(stream).await?;
        Ok(Open {
            requests,
            driver: tokio::spawn(async move {
                let _taken = taken;
                connection.await.map_err(|error| of_http(&error))
            }),
            opened: Instant::now(),
        })
    }

    /// A connection to `origin` that waits, and that the server has not closed.
    fn take(&self, origin: &Origin) -> Option<Open> {
        let mut idle = self.idle();
        idle.retain(Idle::is_good);
        let newest = idle.iter().rposition(|it| it.origin == *origin)?;
        Some(idle.remove(newest).open)
    }

    /// The response, and the task that keeps the connection once that is read.
    fn answered(
        &self,
        origin: Origin,
        mut open: Open,
        response: Response<Incoming>,
        timeouts: &Timeouts,
    ) -> Result<Answered, Error> {
        let response = readable(response, timeouts)?;
        let (mut told, ended) = tokio::sync::oneshot::channel();
        let pool = self.clone();
        tokio::spawn(async move {
            let is_over = tokio::select! {
                ready = open.requests.ready() => ready.is_ok(),
                // Nobody reads it any more. What was read whole is over by now, or as good as.
                () = told.closed() => {
                    let over = timeout(LONGEST_IDLE, open.requests.ready());
                    over.await.is_ok_and(|ready| ready.is_ok())
                }
            };
            if !is_over {
                let _ = told.send(open.ended().await);
                return;
            }
            pool.keep(origin, open);
            let _ = told.send(Ok(()));
            sleep(LONGEST_IDLE).await;
            pool.idle().retain(Idle::is_good);
        });
        let ended = async move { ended.await.unwrap_or(Ok(())) };
        Ok((response, Box::new(ended)))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, origin: Origin, open: Open) {
        let mut idle = self.idle();
        if idle.len() >= MOST_IDLE {
            idle.remove(0);
        }
        let since = Instant::now();
        idle.push(Idle {
            origin,
            open,
            since,
        });
    }
}

impl Idle {
    fn is_good(&self) -> bool {
        self.since.elapsed() < LONGEST_IDLE
            && self.open.opened.elapsed() < LONGEST_USE
            && self.open.requests.is_ready()
    }
}

impl Open {
    /// How the connection ended, which it has, or is about to.
    async fn ended(mut self) -> Result<(), Error> {
        match timeout(LONGEST_IDLE, &mut self.driver).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Why a request got no answer: what ended the connection, where something did.
    async fn why(self, error: hyper::Error) -> Error {
        self.ended().await.err().unwrap_or_else(|| of_http(&error))
    }
}
