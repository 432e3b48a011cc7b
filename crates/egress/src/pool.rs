//! Sending over connections that are kept for a moment, for the next request to the same origin.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use wasmtime_wasi_http::WasiBody;

use crate::error::{Error, of_http};
use crate::origin::Origin;
use crate::send::{Sender, Timeouts, duration, handshake, prepare, readable};

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

/// A response, and what ends when its exchange does.
type Answered = (
    Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

/// A connection between two requests. Dropped, it ends.
struct Idle {
    origin: Origin,
    open: Open,
    since: Instant,
}

/// A connection, driven by a task that ends with it.
struct Open {
    requests: SendRequest<WasiBody>,
    driver: JoinHandle<Result<(), Error>>,
    opened: Instant,
}

impl Pool {
    /// What keeps the connections that `sender` makes.
    pub fn of(sender: Sender) -> Self {
        Self {
            sender,
            idle: Arc::default(),
        }
    }

    /// [`Sender::send`] as the hooks of wasi:http have it. The response's connection ends with its body, whether or not what is
    /// returned beside it is polled, and is kept where all of it was read.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_for_guest(
        &self,
        request: Request<WasiBody>,
        timeouts: Option<Timeouts>,
    ) -> Result<Answered, Error> {
        let timeouts = timeouts.unwrap_or_default();
        let (origin, mut request) = prepare(request, None)?;
        let waits = duration(timeouts.first_byte_timeout);
        if let Some(mut kept) = self.take(&origin) {
            let answered = timeout(waits, kept.requests.try_send_request(request));
            let answered = answered.await.map_err(|_| Error::ConnectionReadTimeout)?;
            match answered {
                Ok(response) => return self.answered(origin, kept, response, &timeouts),
                // The server closed it first.
                Err(mut unsent) => match unsent.take_message() {
                    Some(whole) => request = whole,
                    None => return Err(kept.why(unsent.into_error()).await),
                },
            }
        }
        let (stream, taken) = self.sender.open(&origin, timeouts.connect_timeout).await?;
        let (requests, connection) = handshake(stream).await?;
        let mut open = Open {
            requests,
            driver: tokio::spawn(async move {
                let _taken = taken;
                connection.await.map_err(|error| of_http(&error))
            }),
            opened: Instant::now(),
        };
        let answered = timeout(waits, open.requests.send_request(request));
        match answered.await.map_err(|_| Error::ConnectionReadTimeout)? {
            Ok(response) => self.answered(origin, open, response, &timeouts),
            Err(error) => Err(open.why(error).await),
        }
    }

    /// A connection to `origin` that waits, and that the server has not closed.
    fn take(&self, origin: &Origin) -> Option<Open> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
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
        let (told, ended) = tokio::sync::oneshot::channel();
        let pool = self.clone();
        tokio::spawn(async move {
            // Neither is the case after a body that was not read: its connection is closed.
            if open.requests.ready().await.is_err() {
                let _ = told.send(open.ended().await);
                return;
            }
            pool.keep(origin, open);
            let _ = told.send(Ok(()));
            sleep(LONGEST_IDLE).await;
            let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(Idle::is_good);
        });
        let ended = async move { ended.await.unwrap_or(Ok(())) };
        Ok((response, Box::new(ended)))
    }

    fn keep(&self, origin: Origin, open: Open) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// How the connection ended.
    async fn ended(self) -> Result<(), Error> {
        drop(self.requests);
        self.driver.await.unwrap_or(Ok(()))
    }

    /// Why a request got no answer: what ended the connection, where something did.
    async fn why(self, error: hyper::Error) -> Error {
        self.ended().await.err().unwrap_or_else(|| of_http(&error))
    }
}
